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
        }
    }

    fn terminal(&self) -> String {
        match self {
            Self::Number(value) => ascii(*value),
            Self::Text(text) => inline::plain(text),
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
                let width = widths[i.min(widths.len().saturating_sub(1))];
                let fill = " ".repeat(width.saturating_sub(cell.chars().count()));
                if numeric[i] { format!("{fill}{cell}") } else { format!("{cell}{fill}") }
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
        let escape = |text: String| text.replace('|', "\\|").replace('\n', " ");
        let line = |cells: Vec<String>| {
            format!("| {} |\n", cells.into_iter().map(escape).collect::<Vec<_>>().join(" | "))
        };
        let rule: Vec<String> = self
            .numeric_columns()
            .iter()
            .map(|n| if *n { "---:".to_owned() } else { "---".to_owned() })
            .collect();
        let mut text =
            if self.caption.is_empty() { String::new() } else { format!("{}\n\n", self.caption) };
        text += &line(self.columns.clone());
        text += &format!("| {} |\n", rule.join(" | "));
        self.rows.iter().for_each(|row| text += &line(row.iter().map(Cell::display).collect()));
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
