//! The inline markup of texts and its three readings: HTML, Markdown and plain.

use maud::{Markup, html};

#[derive(Debug, PartialEq)]
enum Span<'a> {
    Text(&'a str),
    Code(&'a str),
    Bold(Vec<Span<'a>>),
    Raised(Vec<Span<'a>>),
    Lowered(Vec<Span<'a>>),
    Link { text: Vec<Span<'a>>, to: &'a str },
}

/// Reads `text`; signs that open nothing are text.
fn parse(text: &str) -> Vec<Span<'_>> {
    let mut spans = Vec::new();
    let (mut start, mut at) = (0, 0);
    while let Some(c) = text[at..].chars().next() {
        if let Some((span, length)) = opening(&text[at..]) {
            if start < at {
                spans.push(Span::Text(&text[start..at]));
            }
            spans.push(span);
            at += length;
            start = at;
        } else {
            at += c.len_utf8();
        }
    }
    if start < text.len() {
        spans.push(Span::Text(&text[start..]));
    }
    spans
}

/// The span that begins `text` and its length in bytes.
fn opening(text: &str) -> Option<(Span<'_>, usize)> {
    if let Some(inner) = between(text, "`", "`") {
        return Some((Span::Code(inner), inner.len() + 2));
    }
    if let Some(inner) = between(text, "**", "**") {
        return Some((Span::Bold(parse(inner)), inner.len() + 4));
    }
    // As in Pandoc, what is raised or lowered holds no space: "2^10 or 3^5" stays as it is.
    let tight = |inner: &&str| !inner.contains(char::is_whitespace);
    if let Some(inner) = between(text, "^", "^").filter(tight) {
        return Some((Span::Raised(parse(inner)), inner.len() + 2));
    }
    if let Some(inner) = between(text, "~", "~").filter(tight) {
        return Some((Span::Lowered(parse(inner)), inner.len() + 2));
    }
    let label = between(text, "[", "]")?;
    let to = between(&text[label.len() + 2..], "(", ")").filter(|to| is_safe(to))?;
    Some((Span::Link { text: parse(label), to }, label.len() + to.len() + 4))
}

/// What stands between two signs at the beginning of `text`, unless it is nothing.
fn between<'a>(text: &'a str, open: &str, close: &str) -> Option<&'a str> {
    let rest = text.strip_prefix(open)?;
    rest.find(close).filter(|&end| end > 0).map(|end| &rest[..end])
}

/// Links to the web, to an anchor, or to a file beside the document; never a script.
fn is_safe(to: &str) -> bool {
    let fits = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '"' | '<' | '>');
    let web = to.starts_with("https://") || to.starts_with("http://");
    to.chars().all(fits) && (web || !to.contains(':') && !to.starts_with("//"))
}

/// The text as HTML, escaped.
pub(crate) fn html(text: &str) -> Markup {
    html_of(&parse(text))
}

fn html_of(spans: &[Span<'_>]) -> Markup {
    html! {
        @for span in spans {
            @match span {
                Span::Text(text) => (text),
                Span::Code(text) => code { (text) },
                Span::Bold(inner) => strong { (html_of(inner)) },
                Span::Raised(inner) => sup { (html_of(inner)) },
                Span::Lowered(inner) => sub { (html_of(inner)) },
                Span::Link { text, to } => a href=(to) { (html_of(text)) },
            }
        }
    }
}

/// The text as Markdown, with everything else in it escaped.
pub(crate) fn markdown(text: &str) -> String {
    markdown_of(&parse(text))
}

fn markdown_of(spans: &[Span<'_>]) -> String {
    let write = |span: &Span<'_>| match span {
        Span::Text(text) => escape(text),
        // A bar would end a table's cell even inside code.
        Span::Code(text) => format!("`{}`", text.replace('|', "\\|")),
        Span::Bold(inner) => format!("**{}**", markdown_of(inner)),
        Span::Raised(inner) => format!("<sup>{}</sup>", markdown_of(inner)),
        Span::Lowered(inner) => format!("<sub>{}</sub>", markdown_of(inner)),
        Span::Link { text, to } => format!("[{}]({to})", markdown_of(text)),
    };
    spans.iter().map(write).collect()
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '#' => out.extend(['\\', c]),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\n' | '\r' => out.push(' '),
            _ => out.push(c),
        }
    }
    out
}

/// The words alone.
pub(crate) fn plain(text: &str) -> String {
    plain_of(&parse(text))
}

fn plain_of(spans: &[Span<'_>]) -> String {
    let write = |span: &Span<'_>| match span {
        Span::Text(text) | Span::Code(text) => (*text).to_owned(),
        Span::Bold(inner) | Span::Raised(inner) | Span::Lowered(inner) => plain_of(inner),
        Span::Link { text, .. } => plain_of(text),
    };
    spans.iter().map(write).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_has_three_readings() {
        let text = "**He `relu`**: q~0~ = σ^2^, see [He 2015](https://arxiv.org/abs/1502.01852)";
        assert_eq!(
            html(text).into_string(),
            "<strong>He <code>relu</code></strong>: q<sub>0</sub> = σ<sup>2</sup>, \
             see <a href=\"https://arxiv.org/abs/1502.01852\">He 2015</a>"
        );
        assert_eq!(plain(text), "He relu: q0 = σ2, see He 2015");
        assert_eq!(
            markdown(text),
            "**He `relu`**: q<sub>0</sub> = σ<sup>2</sup>, see [He 2015](https://arxiv.org/abs/1502.01852)"
        );
    }

    #[test]
    fn what_opens_nothing_is_text() {
        for text in
            ["2^10 or 3^5", "~5 and ~6", "a ** b", "[x]", "`", "**", "^^", "[a](b c)", "😀^", ""]
        {
            assert_eq!(plain(text), text);
        }
    }

    #[test]
    fn everything_is_escaped() {
        let nasty = "<script>alert('1')</script> & \"x\" **<b>** `<i>`";
        let out = html(nasty).into_string();
        assert!(!out.contains("<script") && !out.contains("<b>") && !out.contains("<i>"), "{out}");
        assert_eq!(markdown("a|b*c_<d>"), "a\\|b\\*c\\_&lt;d&gt;");
    }

    #[test]
    fn links_run_no_script() {
        for to in
            ["javascript:alert(1)", "data:text/html,x", "//evil.example", "JaVaScRiPt:x", "a\"b"]
        {
            assert!(!html(&format!("[x]({to})")).into_string().contains("href"), "{to}");
        }
        for to in ["#sym01", "data/x.csv", "https://example.org/a?b=c:d"] {
            assert!(html(&format!("[x]({to})")).into_string().contains("href"), "{to}");
        }
    }
}
