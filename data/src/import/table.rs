//! Rows of named fields, however an engine printed them: a JSON array, JSON lines, CSV, or a table
//! drawn with pipes. Lines of a log around JSON lines or a drawn table are passed over.

use crate::error::Result;
use crate::import::rows::{malformed, not_empty};
use crate::store;
use serde_json::{Map, Value};
use std::path::Path;

/// One row, and where it stands.
pub(super) struct Row {
    /// The line in the file; of a JSON array the number of the entry.
    pub line: u64,
    /// Its fields; text where the form knows only text.
    pub fields: Map<String, Value>,
}

impl Row {
    /// A number that must be there: finite, at or above 0.
    pub(super) fn number(&self, name: &str, file: &Path) -> Result<f64> {
        let value = self.fields.get(name).ok_or_else(|| self.wrong(name, "is missing", file))?;
        let number = number_of(value).filter(|number| number.is_finite() && *number >= 0.0);
        number.ok_or_else(|| {
            let found = format!("expected a number at or above 0, found {}", shown(value));
            self.wrong(name, &found, file)
        })
    }

    /// A time or rate that must be there, above 0.
    pub(super) fn positive(&self, name: &str, file: &Path) -> Result<f64> {
        match self.number(name, file)? {
            number if number > 0.0 => Ok(number),
            _ => Err(self.wrong(name, "expected a number above 0, found 0", file)),
        }
    }

    /// A count that must be there.
    pub(super) fn count(&self, name: &str, file: &Path) -> Result<usize> {
        match self.number(name, file)? {
            number if number.fract() == 0.0 && number < 1e12 => Ok(number as usize),
            number => {
                Err(self.wrong(name, &format!("expected a whole number, found {number}"), file))
            }
        }
    }

    /// A field as text, where it is there and not empty.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        match self.fields.get(name)? {
            Value::Null => None,
            Value::String(text) => Some(text.trim().to_string()).filter(|text| !text.is_empty()),
            other => Some(other.to_string()),
        }
    }

    /// An error about a field.
    pub(super) fn wrong(&self, name: &str, message: &str, file: &Path) -> crate::error::Error {
        malformed(file, self.line, &format!("'{name}': {message}"))
    }
}

/// The number that a value holds, as a number or as text.
pub(super) fn number_of(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// A value of a file in a message: short, and in quotes.
pub(super) fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}...", &text[..end]).escape_debug().to_string(),
        None => text.escape_debug().to_string(),
    }
}

/// The rows of a file.
///
/// # Errors
/// No row, or JSON that is not well-formed: with the line.
pub(super) fn rows(bytes: &[u8], file: &Path) -> Result<Vec<Row>> {
    let text = String::from_utf8_lossy(bytes);
    let first = text.trim_start().chars().next();
    let drawn = || text.lines().any(|line| is_rule(line.trim()));
    let rows = match first {
        Some('[') => entries(&text, file)?,
        Some('{') => match serde_json::from_str::<Map<String, Value>>(&text) {
            Ok(fields) => vec![Row { line: 1, fields }],
            Err(_) => lines(&text, file)?,
        },
        _ if drawn() => drawn_rows(&text),
        _ if text.lines().any(|line| line.trim_start().starts_with('{')) => lines(&text, file)?,
        _ => csv_rows(bytes, file)?,
    };
    not_empty(rows, file)
}

fn entries(text: &str, file: &Path) -> Result<Vec<Row>> {
    let all: Vec<Map<String, Value>> = serde_json::from_str(text)
        .map_err(|e| malformed(file, e.line().max(1) as u64, &e.to_string()))?;
    let row = |(index, fields)| Row { line: index as u64 + 1, fields };
    Ok(all.into_iter().enumerate().map(row).collect())
}

/// Lines that open with a brace; whatever an engine logged between them is no row.
fn lines(text: &str, file: &Path) -> Result<Vec<Row>> {
    let numbered = text.lines().enumerate().map(|(index, line)| (index as u64 + 1, line.trim()));
    numbered
        .filter(|(_, line)| line.starts_with('{'))
        .map(|(line, text)| {
            let fields =
                serde_json::from_str(text).map_err(|e| malformed(file, line, &e.to_string()))?;
            Ok(Row { line, fields })
        })
        .collect()
}

/// `|----|---:|`: the line under the names of a drawn table.
fn is_rule(line: &str) -> bool {
    line.starts_with('|')
        && line.contains('-')
        && line.chars().all(|c| matches!(c, '|' | '-' | ':' | ' '))
}

fn drawn_rows(text: &str) -> Vec<Row> {
    let mut names: Vec<String> = Vec::new();
    let mut rows: Vec<(u64, Vec<String>)> = Vec::new();
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if is_rule(line) {
            // The row before it holds the names, of the rows that follow.
            names = rows.pop().map(|(_, cells)| cells).unwrap_or_default();
        } else if line.starts_with('|') {
            rows.push((index as u64 + 1, cells(line)));
            // The last row may turn out to be names: those before it are done.
            let done = rows.len() - 1;
            found.extend(rows.drain(..done).map(|row| named(&names, row)));
        } else {
            found.extend(rows.drain(..).map(|row| named(&names, row)));
        }
    }
    found.extend(rows.drain(..).map(|row| named(&names, row)));
    found
}

fn cells(line: &str) -> Vec<String> {
    let inner = line.trim_matches('|');
    inner.split('|').map(|cell| cell.trim().to_string()).collect()
}

fn named(names: &[String], (line, cells): (u64, Vec<String>)) -> Row {
    let fields = names.iter().cloned().zip(cells.into_iter().map(Value::String)).collect();
    Row { line, fields }
}

fn csv_rows(bytes: &[u8], file: &Path) -> Result<Vec<Row>> {
    let rows: Vec<(u64, std::collections::BTreeMap<String, String>)> =
        store::parse_csv(bytes, file)?;
    let text = |(name, value): (String, String)| (name.trim().to_string(), Value::String(value));
    let row = |(line, fields): (u64, std::collections::BTreeMap<String, String>)| Row {
        line,
        fields: fields.into_iter().map(text).collect(),
    };
    Ok(rows.into_iter().map(row).collect())
}
