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
            c if c.is_control() => out.push('\u{FFFD}'),
            c => out.push(c),
        }
    }
    out
}

/// The table, in a box that scrolls sideways on a narrow screen.
pub fn table(table: &Table) -> String {
    let columns = table.columns.iter().enumerate();
    let head = columns.map(|(i, column)| {
        let class = if is_number(table, i) { " class=\"number\"" } else { "" };
        format!("<th scope=\"col\"{class}>{}</th>", escape(&column.header()))
    });
    let head: String = head.collect();
    let body: String = table.rows.iter().map(|row| format!("<tr>{}</tr>\n", cells(row))).collect();
    let note = match table.note.as_str() {
        "" => String::new(),
        note => format!("<p class=\"note\">{}</p>\n", escape(note)),
    };
    format!(
        "<div class=\"wide\"><table data-name=\"{}\"><caption><span>{}</span></caption>\n<thead><tr>{head}</tr></thead>\n\
         <tbody>\n{body}</tbody></table></div>\n{note}",
        escape(&table.name),
        escape(&table.title),
    )
}

fn is_number(table: &Table, column: usize) -> bool {
    table.rows.first().is_some_and(|row| row[column].is_number())
}

fn cells(row: &[Cell]) -> String {
    row.iter().map(cell).collect()
}

fn cell(cell: &Cell) -> String {
    let (value, interval) = cell.parts();
    let value = match cell {
        Cell::Link { url, .. } if url.starts_with("https://") => {
            format!("<a href=\"{}\" rel=\"noreferrer\">{}</a>", escape(url), escape(&value))
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
