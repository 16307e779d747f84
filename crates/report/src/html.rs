//! Documents as one self-contained HTML page.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::{Badge, Block, Card, Cell, Document, Figure, Section, Table, Tone, inline};

/// Longer data tables are left to the CSV files.
const MOST_ROWS: usize = 120;

const STYLE: &str = include_str!("page.css");

const SCRIPT: &str = include_str!("page.js");

impl Document {
    /// One page that needs nothing else.
    pub fn to_html(&self) -> String {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    title { (inline::plain(&self.title)) }
                    style { (PreEscaped(STYLE)) (PreEscaped(format!("@media screen and (prefers-color-scheme:dark){{{}}}", crate::plot::page_rules()))) }
                }
                body {
                    a.skip href="#content" { "Skip to the content" }
                    header { h1 { (inline::html(&self.title)) } p.lead { (inline::html(&self.lead)) } }
                    (self.contents())
                    main id="content" {
                        @for section in &self.sections {
                            section id=(section.id) { (heading(&section.title)) (blocks(&section.blocks)) }
                        }
                        @if !self.reproducibility.is_empty() {
                            section id="again" {
                                (heading(AGAIN))
                                dl { @for (name, value) in &self.reproducibility { dt { (inline::html(name)) } dd { (inline::html(value)) } } }
                            }
                        }
                    }
                    script { (PreEscaped(SCRIPT)) }
                }
            }
        }
        .into_string()
    }

    /// Sections and their cards, beside the text where there is room and above it where there is not.
    fn contents(&self) -> Markup {
        let tones: Vec<&Badge> = self.sections.iter().flat_map(cards).map(|c| &c.badge).collect();
        let mut legend: Vec<&Badge> = Vec::new();
        for badge in tones {
            if !legend.iter().any(|known| known.label == badge.label) {
                legend.push(badge);
            }
        }
        html! {
            nav id="contents" aria-label="Contents" {
                details open {
                    summary { "Contents" }
                    @if !legend.is_empty() {
                        p.legend { @for badge in legend { span class=(tone_class("", badge.tone)) { (badge.tone.sign()) " " (badge.label) } " " } }
                    }
                    ol { @for section in &self.sections { li {
                        a href={ "#" (section.id) } { (inline::html(&section.title)) }
                        @if cards(section).next().is_some() {
                            div.chips { @for card in cards(section) {
                                a class=(tone_class("chip", card.badge.tone)) href={ "#" (card.code) } aria-label={ (card.code) ", " (card.badge.label) }
                                    title={ (card.badge.label) ": " (inline::plain(&card.title)) } { (card.badge.tone.sign()) (card.code) } " "
                            } }
                        }
                    } }
                    @if !self.reproducibility.is_empty() { li { a href="#again" { (AGAIN) } } } }
                    @if self.sections.iter().any(|s| cards(s).next().is_some()) {
                        p { button type="button" data-cards="open" { "Open all cards" } " " button type="button" data-cards="close" { "Close all" } }
                    }
                }
            }
        }
    }
}

/// Title of the last section.
const AGAIN: &str = "How to make this again";

fn heading(title: &str) -> Markup {
    html! { h2 { (inline::html(title)) " " a.up href="#contents" { "contents" } } }
}

fn cards(section: &Section) -> impl Iterator<Item = &Card> {
    section.blocks.iter().filter_map(|block| match block {
        Block::Card(card) => Some(card),
        _ => None,
    })
}

fn blocks(list: &[Block]) -> Markup {
    html! {
        @for block in list {
            @match block {
                Block::Paragraph(text) => p { (inline::html(text)) },
                Block::List(items) => ul { @for item in items { li { (inline::html(item)) } } },
                Block::Table(table) => { (table_html(table)) p.file { a href={ "data/" (table.id) ".csv" } { "CSV" } } },
                Block::Figure(figure) => (figure_html(figure)),
                Block::Card(card) => (card_html(card)),
                Block::Fold { summary, blocks: inner } => details.fold { summary { (inline::html(summary)) } (blocks(inner)) },
                Block::Code(text) => pre tabindex="0" { code { (text) } },
                Block::Callout { tone, text } => p class=(tone_class("callout", *tone)) { span { (inline::html(text)) } },
            }
        }
    }
}

fn badge_html(badge: &Badge) -> Markup {
    html! { span class=(tone_class("badge", badge.tone)) { (badge.label) } }
}

fn tone_class(base: &str, tone: Tone) -> String {
    let tone = match tone {
        Tone::Good => "good",
        Tone::Bad => "bad",
        Tone::Mixed => "mixed",
        Tone::Neutral => "neutral",
    };
    format!("{base} {tone}").trim_start().to_owned()
}

fn card_html(card: &Card) -> Markup {
    html! {
        details.card id=(card.code) open[card.open] {
            summary {
                span.code { (card.code) } (badge_html(&card.badge)) " " (inline::html(&card.title))
                p { (inline::html(&card.summary)) }
            }
            (blocks(&card.blocks))
        }
    }
}

fn table_html(table: &Table) -> Markup {
    let numeric = table.numeric_columns();
    let class = |column: usize| if numeric.get(column) == Some(&true) { "n" } else { "" };
    html! {
        div.scroll tabindex="0" role="region" aria-label=(if table.caption.is_empty() { "Table".to_owned() } else { inline::plain(&table.caption) }) {
            table.words[numeric.iter().all(|n| !n)] {
                @if !table.caption.is_empty() { caption { span { (inline::html(&table.caption)) } } }
                thead { tr { @for (i, column) in table.columns.iter().enumerate() { th class=(class(i)) scope="col" { (inline::html(column)) } } } }
                tbody {
                    @for row in &table.rows {
                        tr { @for (i, cell) in row.iter().enumerate() { td class=(cell_class(cell).unwrap_or(class(i))) data-column=(table.columns.get(i).map(|c| inline::plain(c)).unwrap_or_default()) { (cell_html(cell)) } } }
                    }
                }
            }
        }
    }
}

/// Sentences keep a width at which they can be read, and the table scrolls instead; a badge needs no
/// name beside it on a narrow screen.
fn cell_class(cell: &Cell) -> Option<&'static str> {
    match cell {
        Cell::Text(text) if text.chars().count() > 40 => Some("long"),
        Cell::Badge(_) => Some("mark"),
        _ => None,
    }
}

fn cell_html(cell: &Cell) -> Markup {
    match cell {
        Cell::Badge(badge) => badge_html(badge),
        Cell::Text(text) => inline::html(text),
        Cell::Links(links) => html! {
            @for link in links {
                span.link {
                    @if let Some(to) = &link.to { a href=(to) { (link.text) } } @else { (link.text) }
                    " " span class=(tone_class("word", link.badge.tone)) { (link.badge.tone.sign()) " " (link.badge.label) }
                } " "
            }
        },
        other => html! { (other.display()) },
    }
}

fn figure_html(figure: &Figure) -> Markup {
    let data = figure.data(false);
    html! {
        figure id=(figure.id) {
            div.figtitle { (inline::html(&figure.title)) }
            div.panels { @for svg in figure.panel_svgs() { div { (PreEscaped(svg)) } } }
            figcaption { (inline::html(&figure.caption)) }
            details.data {
                summary { "The numbers" }
                @if data.rows.len() <= MOST_ROWS { (table_html(&data)) }
                @else { p { (data.rows.len()) " rows, too many for this page." } }
                p.file { a href={ "data/" (figure.id) ".csv" } { "CSV" } " with all digits and single draws" }
            }
        }
    }
}
