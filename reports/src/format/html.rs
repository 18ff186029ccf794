//! HTML: escaping, tables.

use crate::table::{Cell, Table};

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
pub fn legal(c: char) -> char {
    match c {
        '\u{FFFE}' | '\u{FFFF}' => '\u{FFFD}',
        c if c.is_control() => '\u{FFFD}',
        c => c,
    }
}

/// Columns from which on a table is set closer, so that a wide screen shows all of it.
const MANY: usize = 8;

/// The table, in a box that scrolls sideways on a narrow screen.
pub fn table(table: &Table) -> String {
    let columns = table.columns.iter().enumerate();
    let head = columns.map(|(i, column)| {
        let class = if is_number(table, i) { " class=\"number\"" } else { "" };
        format!("<th scope=\"col\"{class}>{}</th>", escape(&column.header()))
    });
    let head: String = head.collect();
    let sources = sources(table);
    let rows = table.rows.iter();
    let body: String = rows.map(|row| format!("<tr>{}</tr>\n", cells(row, &sources))).collect();
    let note = match table.note.as_str() {
        "" => String::new(),
        note => format!("<p class=\"note\">{}</p>\n", escape(note)),
    };
    let class = if table.columns.len() >= MANY { "wide many" } else { "wide" };
    format!(
        "<div class=\"{class}\"><table \
         data-name=\"{}\"><caption><span>{}</span></caption>\n<thead><tr>{head}</tr></thead>\n\
         <tbody>\n{body}</tbody></table></div>\n{note}{}",
        escape(&table.name),
        escape(&table.title),
        source_list(&sources),
    )
}

fn is_number(table: &Table, column: usize) -> bool {
    table.rows.first().is_some_and(|row| row[column].is_number())
}

/// The distinct sources of a table, as (words, address), in order of appearance.
fn sources(table: &Table) -> Vec<(&str, &str)> {
    let mut sources = Vec::new();
    for cell in table.rows.iter().flatten() {
        if let Cell::Link { text, url } = cell
            && !sources.contains(&(text.as_str(), url.as_str()))
        {
            sources.push((text, url));
        }
    }
    sources
}

fn source_list(sources: &[(&str, &str)]) -> String {
    if sources.is_empty() {
        return String::new();
    }
    let items = sources.iter().map(|(text, url)| format!("<li>{}</li>\n", link(url, text)));
    format!("<ol class=\"sources\">\n{}</ol>\n", items.collect::<String>())
}

/// A link to a public address; other addresses are left as words.
fn link(url: &str, words: &str) -> String {
    if !url.starts_with("https://") {
        return escape(words);
    }
    format!("<a href=\"{}\" rel=\"noreferrer\">{}</a>", escape(url), escape(words))
}

fn cells(row: &[Cell], sources: &[(&str, &str)]) -> String {
    row.iter().map(|one| cell(one, sources)).collect()
}

/// A cell; a source is given by its number in the list below the table.
fn cell(cell: &Cell, sources: &[(&str, &str)]) -> String {
    let (value, interval) = cell.parts();
    let value = match cell {
        Cell::Link { text, url } => {
            let place = sources.iter().position(|source| *source == (text.as_str(), url.as_str()));
            place.map_or_else(|| link(url, text), |place| link(url, &format!("[{}]", place + 1)))
        }
        _ => escape(&value),
    };
    let interval = interval
        .map(|interval| format!(" <span class=\"interval\">{}</span>", escape(&interval)))
        .unwrap_or_default();
    let class = if cell.is_number() { " class=\"number\"" } else { "" };
    let sort = cell.sort_value().map(|v| format!(" data-value=\"{v}\"")).unwrap_or_default();
    format!("<td{class}{sort}>{value}{interval}</td>")
}
