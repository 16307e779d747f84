//! Numbers for people.

/// Three to four significant digits with a real minus sign and superscripts: 0.4938, −1.25, 3.1×10⁻⁵.
///
/// ```
/// use gainstage_report::significant;
/// assert_eq!(significant(0.49382), "0.4938");
/// assert_eq!(significant(-1234.6), "−1235");
/// assert_eq!(significant(3.14159e-5), "3.142×10⁻⁵");
/// assert_eq!(significant(f64::INFINITY), "∞");
/// assert_eq!(significant(f64::NAN), "not a number");
/// ```
pub fn significant(value: f64) -> String {
    match plain(value) {
        Written::Word(word) => word.to_owned(),
        Written::Decimal(text) => text.replace('-', "−"),
        Written::Power(mantissa, exponent) => {
            format!("{}×10{}", mantissa.replace('-', "−"), superscript(exponent))
        }
    }
}

/// The same in ASCII, for terminals and files: 3.142e-5, inf, nan.
pub(crate) fn ascii(value: f64) -> String {
    match plain(value) {
        Written::Word("∞") => "inf".to_owned(),
        Written::Word("−∞") => "-inf".to_owned(),
        Written::Word(_) => "nan".to_owned(),
        Written::Decimal(text) => text,
        Written::Power(mantissa, exponent) => format!("{mantissa}e{exponent}"),
    }
}

enum Written {
    Word(&'static str),
    Decimal(String),
    Power(String, i32),
}

fn plain(value: f64) -> Written {
    if value.is_nan() {
        return Written::Word("not a number");
    }
    if value.is_infinite() {
        return Written::Word(if value > 0.0 { "∞" } else { "−∞" });
    }
    if value == 0.0 {
        return Written::Decimal("0".to_owned());
    }
    let scientific = format!("{value:.3e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-3..6).contains(&exponent) {
        let digits = (3 - exponent).max(0) as usize;
        return Written::Decimal(trimmed(&format!("{value:.digits$}")));
    }
    Written::Power(trimmed(mantissa), exponent)
}

/// Without zeros that only fill up decimals.
fn trimmed(text: &str) -> String {
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text.to_owned()
    }
}

pub(crate) fn superscript(exponent: i32) -> String {
    const DIGITS: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    let digit =
        |c: char| if c == '-' { '⁻' } else { DIGITS[c.to_digit(10).unwrap_or(0) as usize] };
    exponent.to_string().chars().map(digit).collect()
}

/// A power of ten.
pub(crate) fn power_of_ten(exponent: i32) -> String {
    format!("10{}", superscript(exponent))
}

/// With so many decimals and a real minus sign, for ticks, which share their decimals.
pub(crate) fn fixed(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    let zero = !text.bytes().any(|b| matches!(b, b'1'..=b'9'));
    if zero { text.trim_start_matches('-').to_owned() } else { text.replace('-', "−") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_that_is_not_zero_reads_as_zero() {
        for value in [1e-300, 1e-5, 0.0004, 0.00049999, 0.5, 999_999.0, 1e6, 1e300] {
            let text = significant(value);
            assert_ne!(text.trim_start_matches(['0', '.']), "", "{value} reads {text}");
        }
        assert_eq!(significant(0.0), "0");
        assert_eq!(ascii(-2.5e-7), "-2.5e-7");
        assert_eq!(ascii(f64::NEG_INFINITY), "-inf");
    }
}
