//! Documents as Markdown; figures are links to their SVG files.

use crate::{Block, Document, inline};

impl Document {
    /// The whole document, with figures expected in `figures/`.
    pub fn to_markdown(&self) -> String {
        let mut out =
            format!("# {}\n\n{}\n\n", inline::markdown(&self.title), inline::markdown(&self.lead));
        for section in &self.sections {
            out += &format!("## {}\n\n", inline::markdown(&section.title));
            blocks(&section.blocks, &mut out);
        }
        if !self.reproducibility.is_empty() {
            out += "## How to make this again\n\n";
            for (name, value) in &self.reproducibility {
                out += &format!("- {}: {}\n", inline::markdown(name), inline::markdown(value));
            }
        }
        out
    }
}

fn blocks(list: &[Block], out: &mut String) {
    for block in list {
        match block {
            Block::Paragraph(text) => *out += &format!("{}\n\n", inline::markdown(text)),
            Block::List(items) => {
                items.iter().for_each(|item| *out += &format!("- {}\n", inline::markdown(item)));
                out.push('\n');
            }
            Block::Table(table) => *out += &format!("{}\n", table.to_markdown()),
            Block::Figure(figure) => {
                let caption = inline::markdown(&figure.caption);
                let title = inline::markdown(&figure.title);
                *out += &format!(
                    "**{title}**\n\n![{title}](figures/{}.svg)\n\n{caption}\n\n",
                    figure.id
                );
            }
            Block::Card(card) => {
                let title = inline::markdown(&card.title);
                *out += &format!(
                    "### {} · {} · {title}\n\n{}\n\n",
                    card.code,
                    card.badge.label,
                    inline::markdown(&card.summary)
                );
                blocks(&card.blocks, out);
            }
            Block::Fold { summary, blocks: inner } => {
                *out += &format!("**{}**\n\n", inline::markdown(summary));
                blocks(inner, out);
            }
            Block::Callout { text, .. } => *out += &format!("> {}\n\n", inline::markdown(text)),
            Block::Code(text) => *out += &format!("```\n{text}\n```\n\n"),
        }
    }
}
