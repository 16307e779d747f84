//! Names of layers: what they share, their order, and how many blocks they count.

use std::collections::BTreeMap;

/// A name with its numbers left out, which layers of one kind share.
pub(crate) fn pattern(name: &str) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut separators = Vec::new();
    let mut rest = name;
    loop {
        let end = rest.find(['.', '/']).unwrap_or(rest.len());
        let part = &rest[..end];
        // The two directions of Keras's bidirectional layers are of one kind.
        let part = part
            .strip_prefix("forward_")
            .or_else(|| part.strip_prefix("backward_"))
            .unwrap_or(part);
        let stem = part.trim_end_matches(|c: char| c.is_ascii_digit());
        parts.push(if stem.is_empty() && !part.is_empty() {
            "*".to_owned()
        } else {
            stem.trim_end_matches('_').to_owned()
        });
        match rest[end..].chars().next() {
            Some(separator) => separators.push(separator),
            None => break,
        }
        rest = &rest[end + 1..];
    }
    let mut text = String::new();
    for (i, part) in parts.iter().enumerate() {
        text += part;
        if let Some(separator) = separators.get(i) {
            text.push(*separator);
        }
    }
    text
}

/// A name with only the components that are numbers left out: the same place in every block.
pub(crate) fn block_pattern(name: &str) -> String {
    let number = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
    let mut text = String::new();
    for piece in name.split_inclusive(['.', '/']) {
        let part = piece.trim_end_matches(['.', '/']);
        text += if number(part) { "*" } else { part };
        text += &piece[part.len()..];
    }
    text
}

/// Text and numbers by turns, so that layer 10 comes after layer 9.
pub(crate) fn natural(name: &str) -> Vec<(String, u64)> {
    let mut key = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (text, tail) = rest.split_at(digits);
        let end = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
        key.push((
            text.to_owned(),
            tail[..end].parse().unwrap_or(if end == 0 { 0 } else { u64::MAX }),
        ));
        rest = &tail[end..];
    }
    key
}

/// Number of blocks: one more than the largest index of the component that counts furthest under one
/// stem; `None` below two.
pub(crate) fn depth<'a>(names: impl Iterator<Item = &'a str>) -> Option<usize> {
    let mut most: BTreeMap<String, usize> = BTreeMap::new();
    for name in names {
        let parts: Vec<&str> = name.split(['.', '/']).collect();
        for (i, part) in parts.iter().enumerate() {
            let stem = part.trim_end_matches(|c: char| c.is_ascii_digit());
            let block = stem.is_empty()
                || ["layer", "block", "layers", "blocks", "h"]
                    .iter()
                    .any(|w| stem.trim_end_matches('_').ends_with(w));
            // Parameters lie at least two levels inside a block.
            if block
                && i + 2 < parts.len()
                && let Ok(index) = part[stem.len()..].parse::<usize>()
            {
                let count = most.entry(parts[..i].join(".") + stem).or_default();
                *count = (*count).max(index.saturating_add(1));
            }
        }
    }
    most.into_values().max().filter(|n| (2..=10_000).contains(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_order_and_depth_come_from_names() {
        assert_eq!(pattern("h.11.mlp.c_fc.weight"), "h.*.mlp.c_fc.weight");
        assert_eq!(pattern("dense_3/kernel"), pattern("dense/kernel"));
        assert_eq!(pattern("fc2.weight"), "fc.weight");
        assert_eq!(block_pattern("blocks.11.fc2.weight"), "blocks.*.fc2.weight");
        assert_ne!(block_pattern("blocks.1.fc1.weight"), block_pattern("blocks.1.fc2.weight"));
        assert!(natural("l.9.w") < natural("l.10.w"));
        assert_eq!(depth(["h.0.a.w", "h.11.a.w", "wte.w"].into_iter()), Some(12));
        assert_eq!(depth(["0.weight", "2.weight"].into_iter()), None);
    }
}
