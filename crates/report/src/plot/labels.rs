//! Labels at the ends of lines, moved apart where they would overlap.

/// Tops of boxes with the given centres and heights, inside `top..bottom`, none overlapping, each as
/// near to its place as the others allow: overlapping neighbours become a stack around the mean of
/// their wishes. `None` if they do not fit.
pub(crate) fn spread(boxes: &[(f64, f64)], top: f64, bottom: f64) -> Option<Vec<f64>> {
    struct Stack {
        members: Vec<usize>,
        height: f64,
        /// Sum of the tops that the members wish the stack to have.
        wishes: f64,
        top: f64,
    }
    if boxes.iter().map(|&(_, height)| height).sum::<f64>() > bottom - top {
        return None;
    }
    let settle = |stack: &mut Stack| {
        let wish = stack.wishes / stack.members.len() as f64;
        stack.top = wish.min(bottom - stack.height).max(top);
    };
    let mut order: Vec<usize> = (0..boxes.len()).collect();
    order.sort_by(|&a, &b| boxes[a].0.total_cmp(&boxes[b].0));
    let mut stacks: Vec<Stack> = Vec::new();
    for index in order {
        let (centre, height) = boxes[index];
        let mut stack = Stack { members: vec![index], height, wishes: centre - height / 2.0, top };
        settle(&mut stack);
        while let Some(mut above) = stacks.pop_if(|above| above.top + above.height > stack.top) {
            above.wishes += stack.wishes - stack.members.len() as f64 * above.height;
            above.height += stack.height;
            above.members.append(&mut stack.members);
            settle(&mut above);
            stack = above;
        }
        stacks.push(stack);
    }
    let mut tops = vec![0.0; boxes.len()];
    for stack in stacks {
        let mut at = stack.top;
        for index in stack.members {
            tops[index] = at;
            at += boxes[index].1;
        }
    }
    Some(tops)
}

/// Boxes that are taken, as left, top, right, bottom.
#[derive(Debug, Default)]
pub(crate) struct Taken(Vec<[f64; 4]>);

impl Taken {
    /// The first of the candidate boxes that overlaps no other, or else the first; it is then taken.
    pub(crate) fn first_free(&mut self, candidates: &[[f64; 4]]) -> Option<[f64; 4]> {
        let free = |b: &&[f64; 4]| {
            !self.0.iter().any(|a| a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3])
        };
        let chosen = candidates.iter().find(free).or(candidates.first()).copied();
        self.0.extend(chosen);
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_never_overlap_and_stay_inside() {
        // A fixed scatter of 300 label sets, from a linear congruence.
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as f64 / 2_f64.powi(31)
        };
        for set in 0..300 {
            let boxes: Vec<(f64, f64)> =
                (0..set % 9).map(|_| (next() * 140.0 - 20.0, 5.0 + 5.0 * next())).collect();
            let tops = spread(&boxes, 0.0, 100.0).expect("they fit");
            let mut placed: Vec<(f64, f64)> =
                tops.iter().zip(&boxes).map(|(&top, b)| (top, top + b.1)).collect();
            placed.sort_by(|a, b| a.0.total_cmp(&b.0));
            assert!(placed.windows(2).all(|pair| pair[0].1 <= pair[1].0 + 1e-9), "{placed:?}");
            assert!(placed.iter().all(|b| b.0 >= -1e-9 && b.1 <= 100.0 + 1e-9), "{placed:?}");
        }
    }

    #[test]
    fn a_label_with_room_stays_at_its_line_and_a_pair_shares_the_way() {
        assert_eq!(spread(&[(50.0, 10.0)], 0.0, 100.0), Some(vec![45.0]));
        assert_eq!(spread(&[(50.0, 10.0), (50.0, 10.0)], 0.0, 100.0), Some(vec![40.0, 50.0]));
        assert_eq!(spread(&[(50.0, 60.0), (50.0, 60.0)], 0.0, 100.0), None);
    }
}
