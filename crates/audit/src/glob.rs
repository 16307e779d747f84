//! Patterns of names: `*` is anything within a component, `**` anything at all, `?` one character,
//! `{a,b}` one of several.

/// Whether a name fits a pattern. Components end at dots and slashes.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    alternatives(pattern).iter().any(|p| {
        let (p, n): (Vec<char>, Vec<char>) = (p.chars().collect(), name.chars().collect());
        fits(&p, &n)
    })
}

/// Most patterns that braces may stand for.
const MOST: usize = 256;

fn alternatives(pattern: &str) -> Vec<String> {
    let mut open = vec![pattern.to_owned()];
    let mut done = Vec::new();
    while let Some(text) = open.pop() {
        let braces = text.find('{').and_then(|a| text[a..].find('}').map(|b| (a, a + b)));
        match braces {
            Some((a, b)) if open.len() + done.len() < MOST => {
                open.extend(
                    text[a + 1..b]
                        .split(',')
                        .map(|choice| format!("{}{}{}", &text[..a], choice.trim(), &text[b + 1..])),
                );
            }
            _ => done.push(text),
        }
    }
    done
}

/// Dynamic programme over (pattern, name): no pattern takes longer than the product of the lengths.
fn fits(pattern: &[char], name: &[char]) -> bool {
    let mut reach = vec![false; name.len() + 1];
    reach[0] = true;
    let mut i = 0;
    while i < pattern.len() {
        let mut next = vec![false; name.len() + 1];
        let star = pattern[i] == '*';
        let double = star && pattern.get(i + 1) == Some(&'*');
        for at in 0..=name.len() {
            if star {
                let extend =
                    at > 0 && next[at - 1] && (double || !matches!(name[at - 1], '.' | '/'));
                next[at] = reach[at] || extend;
            } else if at > 0 && reach[at - 1] {
                next[at] = pattern[i] == '?' || pattern[i] == name[at - 1];
            }
        }
        reach = next;
        i += 1 + usize::from(double);
    }
    reach[name.len()]
}

/// The pattern of a name's numbers: what follows the letters of a component becomes a star.
pub(crate) fn generalise(name: &str) -> String {
    let mut text = String::new();
    for piece in name.split_inclusive(['.', '/']) {
        let (part, end) = match piece.strip_suffix(['.', '/']) {
            Some(part) => (part, &piece[part.len()..]),
            None => (piece, ""),
        };
        let stem = part.trim_end_matches(|c: char| c.is_ascii_digit());
        text += stem;
        if stem.len() < part.len() {
            text.push('*');
        }
        text += end;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_what_they_say() {
        for (pattern, name, fits) in [
            ("h.*.attn.weight", "h.11.attn.weight", true),
            ("h.*.weight", "h.11.attn.weight", false),
            ("h.**.weight", "h.11.attn.weight", true),
            ("**.bias", "a.b.bias", true),
            ("**bias", "bias", true),
            ("fc?.weight", "fc1.weight", true),
            ("{q,k,v}_proj.*", "k_proj.weight", true),
            ("{q,k,v}_proj.*", "o_proj.weight", false),
            ("*", "", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
        assert!(!matches(&"**a".repeat(50), &"ab".repeat(1000)[1..]));
        assert_eq!(generalise("layers.12.fc1.weight"), "layers.*.fc*.weight");
        assert!(matches(&generalise("dense_3/kernel"), "dense_10/kernel"));
    }
}
