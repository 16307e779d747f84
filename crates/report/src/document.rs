use serde::{Deserialize, Serialize};

use crate::{Figure, Table};

/// A report: sections of blocks, and how to make it again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// Title.
    pub title: String,
    /// First paragraph.
    pub lead: String,
    /// In reading order.
    pub sections: Vec<Section>,
    /// Name and value of whatever is needed to make it again.
    pub reproducibility: Vec<(String, String)>,
}

/// A titled part of a document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Section {
    /// Anchor.
    pub id: String,
    /// Title.
    pub title: String,
    /// In reading order.
    pub blocks: Vec<Block>,
}

/// A piece of a section or card. Texts know `**bold**`, `` `code` ``, `[links](target)`, `x^2^` raised and
/// `q~0~` lowered; links lead to the web, to anchors or to files beside the page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Block {
    /// Running text.
    Paragraph(String),
    /// Items.
    List(Vec<String>),
    /// A table.
    Table(Table),
    /// A figure.
    Figure(Figure),
    /// Something that opens.
    Card(Card),
    /// More that opens: a line, and what stands beneath it.
    Fold {
        /// Shown while closed.
        summary: String,
        /// What opening shows.
        blocks: Vec<Block>,
    },
    /// Preformatted text.
    Code(String),
    /// A short text set apart.
    Callout {
        /// Its colour.
        tone: Tone,
        /// What it says.
        text: String,
    },
}

/// A box that opens: one statement with its verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Card {
    /// Anchor and label.
    pub code: String,
    /// The statement.
    pub title: String,
    /// The verdict.
    pub badge: Badge,
    /// Shown beneath the title even while closed.
    pub summary: String,
    /// What opening shows.
    pub blocks: Vec<Block>,
    /// Whether it starts open.
    pub open: bool,
}

/// A coloured word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Badge {
    /// The word.
    pub label: String,
    /// Its colour.
    pub tone: Tone,
}

/// What a badge's colour says; the word says it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tone {
    /// Yes.
    Good,
    /// No.
    Bad,
    /// Under conditions.
    Mixed,
    /// Unknown.
    Neutral,
}

impl Tone {
    /// A sign that says the same without colour.
    pub(crate) fn sign(self) -> &'static str {
        match self {
            Self::Good => "✓",
            Self::Bad => "✗",
            Self::Mixed => "±",
            Self::Neutral => "?",
        }
    }
}

impl Badge {
    /// A badge.
    pub fn new(label: impl Into<String>, tone: Tone) -> Self {
        Self { label: label.into(), tone }
    }
}

impl Document {
    /// A document without sections.
    pub fn new(title: impl Into<String>, lead: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            lead: lead.into(),
            sections: Vec::new(),
            reproducibility: Vec::new(),
        }
    }

    /// All figures, those in cards included.
    pub fn figures(&self) -> Vec<&Figure> {
        let mut found = Vec::new();
        self.sections.iter().for_each(|s| {
            walk(&s.blocks, &mut |block| {
                if let Block::Figure(figure) = block {
                    found.push(figure);
                }
            });
        });
        found
    }

    /// All tables, those in cards included.
    pub fn tables(&self) -> Vec<&Table> {
        let mut found = Vec::new();
        self.sections.iter().for_each(|s| {
            walk(&s.blocks, &mut |block| {
                if let Block::Table(table) = block {
                    found.push(table);
                }
            });
        });
        found
    }
}

fn walk<'a>(blocks: &'a [Block], visit: &mut impl FnMut(&'a Block)) {
    for block in blocks {
        visit(block);
        if let Block::Card(Card { blocks, .. }) | Block::Fold { blocks, .. } = block {
            walk(blocks, visit);
        }
    }
}

impl Section {
    /// A section without blocks.
    pub fn new(id: impl Into<String>, title: impl Into<String>) -> Self {
        Self { id: id.into(), title: title.into(), blocks: Vec::new() }
    }

    /// Appends running text; nothing if it is empty.
    pub fn paragraph(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !text.trim().is_empty() {
            self.blocks.push(Block::Paragraph(text));
        }
    }

    /// Appends a figure.
    pub fn figure(&mut self, figure: Figure) {
        self.blocks.push(Block::Figure(figure));
    }

    /// Appends a table.
    pub fn table(&mut self, table: Table) {
        self.blocks.push(Block::Table(table));
    }

    /// Appends a card.
    pub fn card(&mut self, card: Card) {
        self.blocks.push(Block::Card(card));
    }
}
