//! A document as a folder of files.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{Document, ReportError, write_text};

/// Version of `document.json`.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    version: u32,
    document: Cow<'a, Document>,
}

impl Document {
    /// Writes `index.html`, `report.md`, `document.json`, `figures/*.svg` and `data/*.csv` into a folder,
    /// each file whole or not at all.
    ///
    /// # Errors
    /// [`ReportError::Id`] for an id that cannot name its file or anchor, before anything is written;
    /// else [`ReportError`] naming the file.
    pub fn write_bundle(&self, folder: &Path) -> Result<(), ReportError> {
        self.check_ids()?;
        for figure in self.figures() {
            write_text(
                &folder.join("figures").join(format!("{}.svg", figure.id)),
                &figure.to_svg(),
            )?;
            write_text(
                &folder.join("data").join(format!("{}.csv", figure.id)),
                &figure.data(true).to_csv()?,
            )?;
        }
        for table in self.tables() {
            write_text(&folder.join("data").join(format!("{}.csv", table.id)), &table.to_csv()?)?;
        }
        let path = folder.join("document.json");
        let stored = Stored { version: VERSION, document: Cow::Borrowed(self) };
        let json = serde_json::to_string(&stored).map_err(|error| ReportError::Encode {
            what: path.display().to_string(),
            reason: error.to_string(),
        })?;
        write_text(&path, &(json + "\n"))?;
        write_text(&folder.join("report.md"), &self.to_markdown())?;
        write_text(&folder.join("index.html"), &self.to_html())
    }

    /// Ids name files, on file systems that may ignore case, and anchors of the page.
    fn check_ids(&self) -> Result<(), ReportError> {
        let figures = self.figures().into_iter().map(|figure| figure.id.as_str());
        let files: Vec<&str> =
            figures.chain(self.tables().into_iter().map(|t| t.id.as_str())).collect();
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let mut seen = BTreeSet::new();
        for &id in &files {
            let reason = if id.is_empty() || id.starts_with('.') || !id.chars().all(fits) {
                "it names a file; use ASCII letters, digits, '-', '_' and '.'"
            } else if !seen.insert(id.to_ascii_lowercase()) {
                "another figure or table has it; give each its own"
            } else {
                continue;
            };
            return Err(ReportError::Id { id: id.to_owned(), reason });
        }
        Ok(())
    }

    /// Reads the document that [`Document::write_bundle`] stored in a folder.
    ///
    /// # Errors
    /// [`ReportError::Io`] if it is not there, [`ReportError::Stored`] if it is of another version.
    pub fn read(folder: &Path) -> Result<Self, ReportError> {
        let path = folder.join("document.json");
        let text =
            std::fs::read_to_string(&path).map_err(|e| ReportError::io("read", &path, &e))?;
        let stored: Stored<'_> = serde_json::from_str(&text)
            .map_err(|e| ReportError::Stored { path: path.clone(), reason: e.to_string() })?;
        if stored.version != VERSION {
            let reason = format!("version {}, this is {VERSION}", stored.version);
            return Err(ReportError::Stored { path, reason });
        }
        Ok(stored.document.into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Axis, Badge, Block, Card, Cell, Figure, Mark, Panel, Section, Table, Tone};

    fn document() -> Document {
        let mut table = Table::new("gains", "Gains", &["activation", "gain", "verdict"]);
        table.push(vec![
            Cell::text("<relu>"),
            Cell::number(f64::INFINITY),
            Cell::badge("supported", Tone::Good),
        ]);
        let panel = Panel::new("", Axis::linear("x"), Axis::log10("y")).mark(Mark::line(
            "q",
            1,
            vec![(1.0, 0.1 + 0.2), (2.0, f64::NAN), (3.0, f64::NEG_INFINITY)],
        ));
        let mut section = Section::new("one", "One & two");
        section.paragraph("**bold** and `code`");
        section.blocks.push(Block::Callout { tone: Tone::Mixed, text: "Only <here>".into() });
        section.card(Card {
            code: "HE01".into(),
            title: "He keeps the signal".into(),
            badge: Badge::new("supported", Tone::Good),
            summary: "It does.".into(),
            blocks: vec![
                Block::Figure(Figure::new("fig", "Signal", "A line").panel(panel)),
                Block::Table(table),
            ],
            open: false,
        });
        let mut document = Document::new("A report", "Of things");
        document.sections.push(section);
        document.reproducibility.push(("seed".into(), "1".into()));
        document
    }

    #[test]
    fn a_bundle_is_read_back_and_drawn_again_to_the_same_bytes() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        document().write_bundle(dir.path()).expect("writes");
        let again = Document::read(dir.path()).expect("reads");
        assert_eq!(again.to_html(), document().to_html());
        for file in ["index.html", "report.md", "figures/fig.svg", "data/fig.csv", "data/gains.csv"]
        {
            assert!(dir.path().join(file).exists(), "{file}");
        }
        assert_eq!(
            std::fs::read_dir(dir.path()).expect("lists").count(),
            5,
            "no temporary file is left"
        );
        let csv = std::fs::read_to_string(dir.path().join("data/fig.csv")).expect("reads");
        assert!(
            csv.contains("0.30000000000000004") && csv.contains("nan") && csv.contains("-inf"),
            "{csv}"
        );
    }

    #[test]
    fn ids_that_cannot_name_a_file_are_refused_before_anything_is_written() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        for id in ["", "../up", "a b", ".hidden", "größe", "FIG"] {
            let mut document = document();
            let second = Figure::new(id, "", "");
            document.sections[0].figure(second);
            let refused = document.write_bundle(dir.path());
            assert!(matches!(refused, Err(ReportError::Id { .. })), "{id:?}: {refused:?}");
        }
        assert_eq!(std::fs::read_dir(dir.path()).expect("lists").count(), 0);
    }

    #[test]
    fn pages_are_escaped_and_self_contained() {
        let page = document().to_html();
        assert!(page.contains("&lt;relu&gt;") && !page.contains("<relu>"));
        assert!(page.contains("One &amp; two"));
        assert!(
            !page.contains("http://")
                || page.matches("http://").count() == page.matches("http://www.w3.org").count()
        );
        assert!(page.contains("<details class=\"card\" id=\"HE01\">"));
        assert!(page.contains("<p class=\"callout mixed\"><span>Only &lt;here&gt;</span></p>"));
        assert!(document().to_markdown().contains("\n> Only &lt;here&gt;\n\n"));
        for file in ["data/fig.csv", "data/gains.csv"] {
            assert!(page.contains(&format!("<a href=\"{file}\">")), "{file} is linked");
        }
    }

    #[test]
    fn other_versions_and_missing_folders_are_told() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        assert!(matches!(Document::read(dir.path()), Err(ReportError::Io { .. })));
        write_text(&dir.path().join("document.json"), "{\"version\": 1}").expect("writes");
        assert!(matches!(Document::read(dir.path()), Err(ReportError::Stored { .. })));
    }
}
