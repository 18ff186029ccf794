//! Plain text for a terminal: columns aligned, cells wrapped so that a line never exceeds the
//! width.

use crate::table::Table;
use std::borrow::Cow;
use textwrap::{Options, WordSeparator, WordSplitter, WrapAlgorithm};

/// Between two columns.
const GAP: usize = 2;

/// The table in at most `width` characters a line.
pub fn table(table: &Table, width: usize) -> String {
    let header: Vec<String> = table.columns.iter().map(|column| column.header()).collect();
    let rows: Vec<Vec<String>> = table
        .rows
        .iter()
        .map(|row| row.iter().map(|cell| clean(&cell.words())).collect())
        .collect();
    let numbers: Vec<bool> = (0..header.len())
        .map(|i| table.rows.first().is_some_and(|row| row[i].is_number()))
        .collect();
    let widths = widths(&header, &rows, width);
    let mut text = block(&header, &widths, &numbers);
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    text += &(rule.join(&" ".repeat(GAP)) + "\n");
    for row in &rows {
        text += &block(row, &widths, &numbers);
    }
    text
}

/// Characters of a line where no cell is wrapped.
pub(crate) fn natural_width(table: &Table) -> usize {
    let cells = |i: usize| table.rows.iter().map(move |row| count(&clean(&row[i].words())));
    let widths = table.columns.iter().enumerate().map(|(i, column)| {
        let header = column.header();
        let word = header.split(' ').map(count).max().unwrap_or(0);
        cells(i).max().unwrap_or(0).max(word)
    });
    widths.sum::<usize>() + GAP * (table.columns.len().max(1) - 1)
}

/// Column widths: natural where all fits, else the widest give way first, down to their longest
/// word.
fn widths(header: &[String], rows: &[Vec<String>], limit: usize) -> Vec<usize> {
    let column = |i: usize| std::iter::once(&header[i]).chain(rows.iter().map(move |row| &row[i]));
    let natural = |i: usize| column(i).map(|cell| count(cell)).max().unwrap_or(0);
    let least =
        |i: usize| column(i).flat_map(|cell| cell.split(' ')).map(count).max().unwrap_or(0).max(1);
    let mut widths: Vec<usize> = (0..header.len()).map(natural).collect();
    let total = |widths: &[usize]| widths.iter().sum::<usize>() + GAP * (widths.len().max(1) - 1);
    // Headers break at spaces before any cell does.
    let cells = |i: usize| rows.iter().map(|row| count(&row[i])).max().unwrap_or(0).max(least(i));
    while total(&widths) > limit {
        let header = (0..widths.len()).filter(|&i| widths[i] > cells(i));
        match header.max_by_key(|&i| widths[i]) {
            Some(widest) => widths[widest] -= 1,
            None => break,
        }
    }
    while total(&widths) > limit {
        let shrinkable = (0..widths.len()).filter(|&i| widths[i] > least(i));
        match shrinkable.max_by_key(|&i| widths[i]) {
            Some(widest) => widths[widest] -= 1,
            None => break,
        }
    }
    while total(&widths) > limit && widths.iter().any(|width| *width > 6) {
        if let Some(widest) = widths.iter_mut().max() {
            *widest -= 1;
        }
    }
    widths
}

/// One row, on as many lines as its longest cell needs.
fn block(cells: &[String], widths: &[usize], numbers: &[bool]) -> String {
    let wrapped: Vec<Vec<String>> =
        cells.iter().zip(widths).map(|(cell, width)| wrap(cell, *width)).collect();
    let height = wrapped.iter().map(Vec::len).max().unwrap_or(0);
    let mut text = String::new();
    for line in 0..height {
        let padded = wrapped.iter().zip(widths).zip(numbers).map(|((lines, width), number)| {
            pad(lines.get(line).map_or("", String::as_str), *width, *number)
        });
        let joined = padded.collect::<Vec<_>>().join(&" ".repeat(GAP));
        text += &(joined.trim_end().to_string() + "\n");
    }
    text
}

fn pad(text: &str, width: usize, right: bool) -> String {
    let space = " ".repeat(width.saturating_sub(count(text)));
    if right { space + text } else { text.to_string() + &space }
}

/// Breaks `text` at spaces into lines of at most `width` columns of a terminal; longer words are
/// cut.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let how = Options::new(width.max(1))
        .wrap_algorithm(WrapAlgorithm::FirstFit)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation);
    textwrap::wrap(&words.join(" "), how).into_iter().map(Cow::into_owned).collect()
}

/// Without control characters, which could move a terminal's cursor.
pub fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

/// Columns of a terminal that `text` takes.
fn count(text: &str) -> usize {
    textwrap::core::display_width(text)
}
