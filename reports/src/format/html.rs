//! HTML: escaping, and what a template is told of a table.

use crate::table::{Cell, Table};
use serde::Serialize;

/// Text as text: whatever a model, a prompt or a path is called, it is shown and never run.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            c => out.push(legal(c)),
        }
    }
    out
}

/// The character, or a replacement for one that XML does not allow in a document, or that controls
/// a terminal.
pub(crate) fn legal(c: char) -> char {
    match c {
        '\u{FFFE}' | '\u{FFFF}' => '\u{FFFD}',
        c if c.is_control() => '\u{FFFD}',
        c => c,
    }
}

/// Columns from which on a table is set closer, so that a wide screen shows all of it.
const MANY: usize = 8;

/// A table as a template writes it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct HtmlTable {
    name: String,
    pub title: String,
    pub note: String,
    /// Whether its many columns are set closer.
    many: bool,
    columns: Vec<Head>,
    rows: Vec<Vec<HtmlCell>>,
    /// The distinct sources, in order of appearance.
    sources: Vec<Source>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Head {
    words: String,
    number: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct HtmlCell {
    words: String,
    interval: Option<String>,
    /// The address of a source.
    url: Option<String>,
    number: bool,
    /// The value that rows are sorted by.
    sort: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Source {
    words: String,
    url: String,
}

impl HtmlTable {
    /// The whole table.
    pub(crate) fn new(table: &Table) -> Self {
        Self::first_rows(table, usize::MAX)
    }

    /// The table with its first `most` rows.
    pub(crate) fn first_rows(table: &Table, most: usize) -> Self {
        let rows = &table.rows[..most.min(table.rows.len())];
        let number = |i: usize| rows.first().is_some_and(|row| row[i].is_number());
        let heads = table.columns.iter().enumerate();
        let sources = sources(rows);
        let cells = |row: &Vec<Cell>| row.iter().map(|one| HtmlCell::new(one, &sources)).collect();
        Self {
            name: table.name.clone(),
            title: table.title.clone(),
            note: table.note.clone(),
            many: table.columns.len() >= MANY,
            columns: heads.map(|(i, c)| Head { words: c.header(), number: number(i) }).collect(),
            rows: rows.iter().map(cells).collect(),
            sources,
        }
    }
}

fn sources(rows: &[Vec<Cell>]) -> Vec<Source> {
    let mut sources = Vec::new();
    for cell in rows.iter().flatten() {
        if let Cell::Link { text, url } = cell {
            let source = Source { words: text.clone(), url: url.clone() };
            if !sources.contains(&source) {
                sources.push(source);
            }
        }
    }
    sources
}

impl HtmlCell {
    /// A cell; a source is given by its number among `sources`.
    fn new(cell: &Cell, sources: &[Source]) -> Self {
        let (mut words, interval) = cell.parts();
        let mut address = None;
        if let Cell::Link { text, url } = cell {
            let place = sources.iter().position(|one| one.words == *text && one.url == *url);
            words = place.map_or(words, |place| format!("[{}]", place + 1));
            address = Some(url.clone());
        }
        Self {
            words,
            interval,
            url: address,
            number: cell.is_number(),
            sort: cell.sort_value().map(|value| value.to_string()),
        }
    }
}
