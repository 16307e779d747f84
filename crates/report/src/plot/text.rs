//! How much room a text takes, without a font library.

/// Width of a text in pixels: an upper bound for the usual sans-serif faces, by the advance widths of
/// DejaVu Sans, the widest of those that systems choose.
pub(crate) fn width(text: &str, size: f64) -> f64 {
    text.chars().map(advance).sum::<f64>() * size
}

fn advance(c: char) -> f64 {
    match c {
        'i' | 'j' | 'l' | '\'' | '|' | ' ' | '.' | ',' | ':' | ';' | 'I' | '!' | '/' | '\\' => 0.34,
        'f' | 't' | 'r' | '(' | ')' | '[' | ']' | '-' => 0.42,
        '⁰'..='⁹' | '²' | '³' | '¹' | '₀'..='₉' | '⁻' | '⁺' => 0.45,
        'm' | 'M' | '%' | '@' | '∞' => 0.98,
        'w' | 'W' | '×' | '−' | '+' | '=' | '<' | '>' | '≤' | '≥' | '±' | '≈' | '~' | '#' | '…'
        | '—' => 0.9,
        'O' | 'Q' | 'G' | 'D' | 'H' | 'N' | 'U' | 'V' | 'A' | 'X' | '&' => 0.79,
        'A'..='Z' => 0.71,
        'a'..='z' | '0'..='9' => 0.64,
        '\u{0300}'..='\u{036F}' => 0.0,
        '\u{0000}'..='\u{2FFF}' => 0.75,
        // Ideographs and pictures fill the square.
        _ => 1.1,
    }
}

/// Breaks a text between words into lines of at most `room` pixels; a word longer than that is cut.
pub(crate) fn wrap(text: &str, size: f64, room: f64) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        for piece in pieces(word, size, room) {
            let line = lines.last_mut().filter(|line| {
                line.is_empty()
                    || width(line, size) + width(" ", size) + width(&piece, size) <= room
            });
            match line {
                Some(line) if line.is_empty() => *line = piece,
                Some(line) => {
                    line.push(' ');
                    line.push_str(&piece);
                }
                None => lines.push(piece),
            }
        }
    }
    lines
}

/// A word in pieces that fit.
fn pieces(word: &str, size: f64, room: f64) -> Vec<String> {
    let mut pieces = vec![String::new()];
    for c in word.chars() {
        let full = pieces.last().is_some_and(|piece| {
            !piece.is_empty() && width(piece, size) + advance(c) * size > room
        });
        if full {
            pieces.push(String::new());
        }
        if let Some(piece) = pieces.last_mut() {
            piece.push(c);
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_fits_and_no_letter_is_lost() {
        let text = "second moment of pre-activations, σ² Donaudampfschifffahrtsgesellschaft 😀😀😀";
        for room in [30.0, 60.0, 120.0, 1000.0] {
            let lines = wrap(text, 14.0, room);
            assert!(lines.iter().all(|line| width(line, 14.0) <= room), "{lines:?}");
            let letters = |s: &str| s.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            assert_eq!(letters(&lines.concat()), letters(text));
        }
        assert_eq!(wrap("", 14.0, 50.0), [""]);
    }
}
