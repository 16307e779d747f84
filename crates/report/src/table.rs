use serde::{Deserialize, Serialize};

use crate::document::{Badge, Tone};
use crate::number::{ascii, significant};
use crate::{ReportError, inline};

/// A table with a caption.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Name of its CSV file.
    pub id: String,
    /// What it shows.
    pub caption: String,
    /// Column titles.
    pub columns: Vec<String>,
    /// As many cells each as there are columns.
    pub rows: Vec<Vec<Cell>>,
}

/// A cell of a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cell {
    /// Words, with inline markup.
    Text(String),
    /// A number, kept whole.
    Number(#[serde(with = "finite_or_text")] f64),
    /// A number of things.
    Count(usize),
    /// A coloured word.
    Badge(Badge),
    /// Names with what is said of each.
    Links(Vec<Link>),
}

/// A name, where it leads, and a coloured word beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The name.
    pub text: String,
    /// An anchor or address; `None` where there is none.
    pub to: Option<String>,
    /// The word.
    pub badge: Badge,
}

impl Link {
    fn inline(&self) -> String {
        match &self.to {
            Some(to) => format!("[{}]({to}) {}", self.text, self.badge.label),
            None => format!("{} {}", self.text, self.badge.label),
        }
    }
}

/// JSON has no infinity and no NaN; they are written as words.
pub(crate) mod finite_or_text {
    use serde::{Deserialize, Deserializer, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(f64),
        Word(String),
    }

    #[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
    pub(crate) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        if value.is_finite() {
            serializer.serialize_f64(*value)
        } else {
            serializer.serialize_str(&super::ascii(*value))
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Ok(match Either::deserialize(deserializer)? {
            Either::Number(value) => value,
            Either::Word(word) => word.parse().map_err(serde::de::Error::custom)?,
        })
    }
}

/// The same for lists.
pub(crate) mod all_finite_or_text {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Value(#[serde(with = "super::finite_or_text")] f64);

    pub(crate) fn serialize<S: Serializer>(values: &[f64], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(values.iter().map(|&value| Value(value)))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f64>, D::Error> {
        Ok(Vec::<Value>::deserialize(from)?.into_iter().map(|value| value.0).collect())
    }
}

impl Cell {
    /// Words.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A number.
    pub fn number(value: f64) -> Self {
        Self::Number(value)
    }

    /// A number of things.
    pub fn count(count: usize) -> Self {
        Self::Count(count)
    }

    /// A coloured word.
    pub fn badge(label: impl Into<String>, tone: Tone) -> Self {
        Self::Badge(Badge::new(label, tone))
    }

    /// Words that lead to an address on the web, an anchor, or a file beside the document.
    pub fn link(text: impl std::fmt::Display, to: impl std::fmt::Display) -> Self {
        Self::Text(format!("[{text}]({to})"))
    }

    pub(crate) fn is_numeric(&self) -> bool {
        matches!(self, Self::Number(_) | Self::Count(_))
    }

    /// For people who read Unicode.
    pub(crate) fn display(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(value) => significant(*value),
            Self::Count(count) => count.to_string(),
            Self::Badge(badge) => badge.label.clone(),
            Self::Links(links) => links.iter().map(Link::inline).collect::<Vec<_>>().join(", "),
        }
    }

    fn terminal(&self) -> String {
        match self {
            Self::Number(value) => ascii(*value),
            Self::Text(_) | Self::Links(_) => inline::plain(&self.display()),
            other => other.display(),
        }
    }

    fn exact(&self) -> String {
        match self {
            Self::Number(value) if value.is_finite() => value.to_string(),
            other => other.terminal(),
        }
    }
}

impl Table {
    /// An empty table.
    pub fn new(id: impl Into<String>, caption: impl Into<String>, columns: &[&str]) -> Self {
        let columns = columns.iter().map(|c| (*c).to_owned()).collect();
        Self { id: id.into(), caption: caption.into(), columns, rows: Vec::new() }
    }

    /// Appends a row.
    pub fn push(&mut self, row: Vec<Cell>) {
        self.rows.push(row);
    }

    /// Fixed width, for terminals.
    ///
    /// ```
    /// use gainstage_report::{Cell, Table};
    /// let mut table = Table::new("t", "Gains", &["activation", "gain"]);
    /// table.push(vec![Cell::text("relu"), Cell::number(2f64.sqrt())]);
    /// assert_eq!(table.to_text(), "Gains\nactivation   gain\nrelu        1.414\n");
    /// ```
    pub fn to_text(&self) -> String {
        let cells: Vec<Vec<String>> =
            self.rows.iter().map(|r| r.iter().map(Cell::terminal).collect()).collect();
        let width = |column: usize| {
            let longest = cells
                .iter()
                .filter_map(|r| r.get(column))
                .map(|c| c.chars().count())
                .max()
                .unwrap_or(0);
            longest.max(self.columns[column].chars().count())
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let numeric = self.numeric_columns();
        let line = |cells: &[String]| {
            let padded = cells.iter().enumerate().map(|(i, cell)| {
                let width = widths.get(i).copied().unwrap_or(0);
                let fill = " ".repeat(width.saturating_sub(cell.chars().count()));
                if numeric.get(i) == Some(&true) {
                    format!("{fill}{cell}")
                } else {
                    format!("{cell}{fill}")
                }
            });
            padded.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
        };
        let mut text = if self.caption.is_empty() {
            String::new()
        } else {
            inline::plain(&self.caption) + "\n"
        };
        text += &line(&self.columns);
        cells.iter().for_each(|row| text += &line(row));
        text
    }

    /// Columns that hold numbers and are set to the right.
    pub(crate) fn numeric_columns(&self) -> Vec<bool> {
        (0..self.columns.len())
            .map(|c| {
                let mut cells = self.rows.iter().filter_map(|r| r.get(c)).peekable();
                cells.peek().is_some() && cells.all(Cell::is_numeric)
            })
            .collect()
    }

    /// A pipe table.
    pub fn to_markdown(&self) -> String {
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let rule: Vec<String> = self
            .numeric_columns()
            .iter()
            .map(|n| if *n { "---:".to_owned() } else { "---".to_owned() })
            .collect();
        let mut text = if self.caption.is_empty() {
            String::new()
        } else {
            inline::markdown(&self.caption) + "\n\n"
        };
        text += &line(self.columns.iter().map(|c| inline::markdown(c)).collect());
        text += &format!("| {} |\n", rule.join(" | "));
        for row in &self.rows {
            text += &line(row.iter().map(|cell| inline::markdown(&cell.display())).collect());
        }
        text
    }

    /// CSV with all digits.
    ///
    /// # Errors
    /// [`ReportError::Encode`] if rows and columns do not match.
    pub fn to_csv(&self) -> Result<String, ReportError> {
        let failed =
            |reason: String| ReportError::Encode { what: format!("{}.csv", self.id), reason };
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(&self.columns).map_err(|e| failed(e.to_string()))?;
        for row in &self.rows {
            writer.write_record(row.iter().map(Cell::exact)).map_err(|e| failed(e.to_string()))?;
        }
        let bytes = writer.into_inner().map_err(|e| failed(e.to_string()))?;
        String::from_utf8(bytes).map_err(|e| failed(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: Vec<Vec<Cell>>) -> Table {
        Table { rows, ..Table::new("t", "**A** | b", &["name_x", "value"]) }
    }

    #[test]
    fn one_value_has_three_spellings() {
        let table = table(vec![
            vec![Cell::link("a|b", "#x"), Cell::number(-1.0 / 3e7)],
            vec![Cell::text("<c>"), Cell::number(f64::INFINITY)],
            vec![Cell::text("d, \"e\""), Cell::count(12)],
        ]);
        let text = table.to_text();
        assert!(text.starts_with("A | b\n") && text.is_ascii(), "{text}");
        assert!(text.contains("-3.333e-8\n") && text.contains(" inf\n"), "{text}");
        let markdown = table.to_markdown();
        assert!(markdown.starts_with("**A** \\| b\n\n| name\\_x | value |\n| --- | ---: |\n"));
        assert!(
            markdown.contains("| [a\\|b](#x) | −3.333×10⁻⁸ |\n| &lt;c&gt; | ∞ |\n"),
            "{markdown}"
        );
        let csv = table.to_csv().expect("rows match columns");
        let all_digits = csv.contains("a|b,-0.000000033333333333333334\n");
        assert!(all_digits && csv.contains("\"d, \"\"e\"\"\",12\n"), "{csv}");
    }

    #[test]
    fn rows_that_do_not_match_the_columns_are_shown_but_refused_as_csv() {
        for row in [vec![], vec![Cell::count(1); 3]] {
            let table = table(vec![row]);
            assert!(table.to_text().lines().count() == 3 && table.to_markdown().contains('|'));
            assert!(matches!(table.to_csv(), Err(ReportError::Encode { .. })));
        }
    }

    #[test]
    fn names_with_a_word_beside_them_are_links_where_they_lead_somewhere() {
        let link = |to: Option<&str>, label: &str| Link {
            text: "HE01".to_owned(),
            to: to.map(str::to_owned),
            badge: Badge::new(label, Tone::Neutral),
        };
        let links = vec![link(Some("#HE01"), "supported"), link(None, "not run")];
        let table = table(vec![vec![Cell::Links(links), Cell::count(2)]]);
        assert!(table.to_markdown().contains("| [HE01](#HE01) supported, HE01 not run | 2 |"));
        assert!(table.to_text().contains("HE01 supported, HE01 not run"), "{}", table.to_text());
        let csv = table.to_csv().expect("rows match columns");
        assert!(csv.contains("\"HE01 supported, HE01 not run\",2"), "{csv}");
    }
}
