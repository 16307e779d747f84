//! A document of text, tables and figures as data, typeset as HTML, Markdown, SVG, CSV and JSON.
