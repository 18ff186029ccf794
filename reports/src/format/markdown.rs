//! Markdown, for pasting into an issue.

use crate::table::Table;

/// The table as Markdown, its title as a heading.
pub fn table(table: &Table) -> String {
    let mut text = format!("### {}\n\n", escape(&table.title));
    text += &line(table.columns.iter().map(|column| escape(&column.header())));
    text += &line((0..table.columns.len()).map(|i| rule(table, i).into()));
    for row in &table.rows {
        text += &line(row.iter().map(|cell| match cell {
            crate::table::Cell::Link { text, url } => format!("[{}]({url})", escape(text)),
            _ => escape(&cell.words()),
        }));
    }
    if !table.note.is_empty() {
        text += &format!("\n{}\n", escape(&table.note));
    }
    text
}

fn rule(table: &Table, column: usize) -> &'static str {
    let number = table.rows.first().is_some_and(|row| row[column].is_number());
    if number { "---:" } else { "---" }
}

fn line(cells: impl Iterator<Item = String>) -> String {
    format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
}

/// Text that Markdown would read as markup, made plain.
pub fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '|' => out.extend(['\\', c]),
            '\n' | '\r' => out.push(' '),
            _ => out.push(c),
        }
    }
    out
}
