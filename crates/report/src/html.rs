//! Documents as one self-contained HTML page.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::{Badge, Block, Card, Cell, Document, Figure, Table, Tone, inline};

/// Longer data tables are left to the CSV files.
const MOST_ROWS: usize = 120;

const STYLE: &str = "
:root{--ink:#1a1a1b;--soft:#555;--paper:#fff;--line:#ddd;--card:#f7f7f8;--link:#005a9c;--good:#00694d;--bad:#a33b00;--mixed:#7a4d00;--neutral:#555}
@media (prefers-color-scheme:dark){:root{--ink:#eee;--soft:#b5b5b5;--paper:#1b1b1d;--line:#3a3a3c;--card:#242427;--link:#7cc0f0;--good:#4cc79c;--bad:#f0955c;--mixed:#e0b050;--neutral:#aaa}}
*{box-sizing:border-box}html{color-scheme:light dark;scroll-behavior:smooth}
body{margin:0 auto;max-width:72rem;padding:1.2rem;background:var(--paper);color:var(--ink);font:1.05rem/1.55 system-ui,-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif}
h1{font-size:1.9rem;line-height:1.2;margin:.4rem 0;overflow-wrap:anywhere}h2{font-size:1.45rem;margin:2.6rem 0 .6rem;border-top:1px solid var(--line);padding-top:1.4rem}
p,li{max-width:46rem}a{color:var(--link)}code{font-size:.92em;background:var(--card);padding:.05em .3em;border-radius:3px}
pre{overflow-x:auto;background:var(--card);padding:.8rem;border-radius:6px}pre code{padding:0;background:none}
.lead{font-size:1.15rem;color:var(--soft)}nav ol{columns:2;padding-left:1.2rem}@media(max-width:40rem){nav ol{columns:1}}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:.94rem;margin:.8rem 0}caption{text-align:left;color:var(--soft);padding:.2rem 0}caption span{display:block;position:sticky;left:0;max-width:calc(100vw - 2.6rem)}
th,td{text-align:left;padding:.3rem .7rem .3rem 0;border-bottom:1px solid var(--line);vertical-align:top}th.n,td.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
td.long{min-width:15rem}.badge{display:inline-block;padding:.05rem .5rem;border:1.5px solid currentColor;border-radius:1rem;font-size:.85rem;font-weight:600;white-space:nowrap}
.chip{font-size:.8rem;font-weight:600;text-decoration:none;border-bottom:2px solid currentColor;margin-left:.3rem;white-space:nowrap}.good{color:var(--good)}.bad{color:var(--bad)}.mixed{color:var(--mixed)}.neutral{color:var(--neutral)}
details.card{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:.7rem 1rem;margin:.9rem 0}
details.card>summary{cursor:pointer;list-style-position:outside;margin-left:1rem}summary .code{font-weight:700;margin-right:.5rem}summary p{margin:.3rem 0 0;color:var(--soft)}
details.card .halo{stroke:var(--card)}figure{margin:1.2rem 0}.panels{display:flex;flex-wrap:wrap;gap:.5rem}.panels>div{flex:1 1 22rem;max-width:37rem;min-width:0}.panels svg{width:100%;height:auto;display:block}
figcaption{color:var(--soft);font-size:.95rem;max-width:46rem}figure h3,.figtitle{font-size:1.05rem;margin:.2rem 0;font-weight:600}
details.data summary{color:var(--soft);font-size:.9rem;cursor:pointer}dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem}dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
.file{font-size:.85rem;margin:.2rem 0 .8rem;color:var(--soft)}.callout{border-left:4px solid currentColor;padding:.2rem 0 .2rem .8rem}.callout span{color:var(--ink)}
a:focus-visible,summary:focus-visible,[tabindex]:focus-visible{outline:2px solid var(--link);outline-offset:2px}
@media print{body{max-width:none;font-size:10pt}details.card{break-inside:avoid}nav{display:none}}
@media(max-width:40rem){body{padding:.8rem;font-size:1rem}dl{grid-template-columns:1fr}
.words,.words tbody,.words tr,.words td{display:block;min-width:0;width:auto}.words thead{display:none}.words tr{border-bottom:1px solid var(--line);padding:.5rem 0}.words td{border:0;padding:.1rem 0}.words td::before{content:attr(data-column)': ';color:var(--soft)}}
";

/// All cards open on paper, and the one that a link points to.
const SCRIPT: &str = "addEventListener('beforeprint',()=>document.querySelectorAll('details.card').forEach(d=>d.open=true));\
const o=()=>{const e=location.hash&&document.getElementById(decodeURIComponent(location.hash.slice(1)));if(e&&e.tagName==='DETAILS')e.open=true};\
addEventListener('hashchange',o);o();";

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
                    header { h1 { (inline::html(&self.title)) } p.lead { (inline::html(&self.lead)) } }
                    nav aria-label="Contents" {
                        ol { @for section in &self.sections { li {
                            a href={ "#" (section.id) } { (inline::html(&section.title)) }
                            @for block in &section.blocks { @if let Block::Card(card) = block {
                                " " a class=(tone_class("chip", card.badge.tone)) href={ "#" (card.code) } title=(card.badge.label) { (card.code) }
                            } }
                        } } }
                    }
                    main {
                        @for section in &self.sections {
                            section id=(section.id) { h2 { (inline::html(&section.title)) } (blocks(&section.blocks)) }
                        }
                        @if !self.reproducibility.is_empty() {
                            section id="again" {
                                h2 { "How to make this again" }
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
    format!("{base} {tone}")
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
                        tr { @for (i, cell) in row.iter().enumerate() { td class=(if is_long(cell) { "long" } else { class(i) }) data-column=(table.columns.get(i).map(|c| inline::plain(c)).unwrap_or_default()) { (cell_html(cell)) } } }
                    }
                }
            }
        }
    }
}

/// Sentences keep a width at which they can be read; the table scrolls instead.
fn is_long(cell: &Cell) -> bool {
    matches!(cell, Cell::Text(text) if text.chars().count() > 40)
}

fn cell_html(cell: &Cell) -> Markup {
    match cell {
        Cell::Badge(badge) => badge_html(badge),
        Cell::Text(text) => inline::html(text),
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
