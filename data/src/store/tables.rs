//! Files of many rows: CSV, and JSON one object a line.

use crate::error::{Error, Result};
use crate::store::atomic::save_atomically;
use crate::store::cells;
use crate::store::file::{self, Limit};
use crate::store::finite::writable;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::Path;

/// The bytes of a table.
///
/// # Errors
/// As [`file::read`].
pub fn read(path: &Path) -> Result<Vec<u8>> {
    file::read(path, Limit::TABLE)
}

/// The bytes of a table that may be absent: then it is empty.
///
/// # Errors
/// As [`read`].
pub fn read_or_empty(path: &Path) -> Result<Vec<u8>> {
    if path.exists() { read(path) } else { Ok(Vec::new()) }
}

/// Writes one JSON object a line.
///
/// # Errors
/// When the disk refuses.
pub fn save_jsonl<T: Serialize>(path: &Path, values: &[T]) -> Result<()> {
    let mut text = Vec::new();
    for value in values {
        writable(path, value)?;
        serde_json::to_writer(&mut text, value)
            .map_err(|e| Error::malformed(path, e.to_string()))?;
        text.push(b'\n');
    }
    save_atomically(path, &text)
}

/// Reads one JSON object a line; blank lines are passed over.
///
/// # Errors
/// When the file cannot be read or a line has another form; the line is named.
pub fn load_jsonl<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    Ok(parse_jsonl(&read(path)?, path)?.into_iter().map(|(_, value)| value).collect())
}

/// Like [`load_jsonl`] of `bytes` that were read from `path`, each value with its line number.
///
/// # Errors
/// When a line has another form; the line is named.
pub fn parse_jsonl<T: DeserializeOwned>(bytes: &[u8], path: &Path) -> Result<Vec<(u64, T)>> {
    let mut values = Vec::new();
    for (index, line) in bytes.split(|&b| b == b'\n').enumerate() {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let number = index as u64 + 1;
        let value = serde_json::from_slice(line)
            .map_err(|e| Error::malformed_at(path, number, e.to_string()))?;
        values.push((number, value));
    }
    Ok(values)
}

/// Like [`parse_jsonl`], and checks each value.
///
/// # Errors
/// As [`parse_jsonl`], and what `check` refuses; the line is named.
pub fn parse_jsonl_checked<T: DeserializeOwned>(
    bytes: &[u8],
    path: &Path,
    check: impl FnMut(&T) -> Result<()>,
) -> Result<Vec<T>> {
    all_checked(parse_jsonl(bytes, path)?, path, check)
}

/// Writes rows with a header line.
///
/// # Errors
/// When the disk refuses.
pub fn save_csv<T: Serialize>(path: &Path, rows: &[T]) -> Result<()> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writable(path, row)?;
        writer.serialize(row).map_err(|e| Error::malformed(path, e.to_string()))?;
    }
    let bytes = writer.into_inner().map_err(|e| Error::malformed(path, e.to_string()))?;
    let bytes = with_guarded_cells(&bytes).map_err(|e| Error::malformed(path, e.to_string()))?;
    save_atomically(path, &bytes)
}

/// The same table with every cell as a spreadsheet may see it.
fn with_guarded_cells(bytes: &[u8]) -> csv::Result<Vec<u8>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(bytes);
    let mut writer = csv::Writer::from_writer(Vec::with_capacity(bytes.len()));
    for record in reader.records() {
        writer.write_record(record?.iter().map(|cell| cells::guarded(cell).into_owned()))?;
    }
    writer.into_inner().map_err(|e| e.into_error().into())
}

/// Reads rows below a header line.
///
/// # Errors
/// When the file cannot be read or a row has another form; the line is named.
pub fn load_csv<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    Ok(parse_csv(&read(path)?, path)?.into_iter().map(|(_, row)| row).collect())
}

/// Like [`load_csv`] of `bytes` that were read from `path`, each row with its line number, for
/// those who check them further.
///
/// # Errors
/// When a row has another form; the line is named.
pub fn parse_csv<T: DeserializeOwned>(bytes: &[u8], path: &Path) -> Result<Vec<(u64, T)>> {
    let mut reader = csv::Reader::from_reader(bytes);
    let bad = |e: csv::Error, line: u64| match e.position() {
        Some(position) => Error::malformed_at(path, position.line(), e.to_string()),
        None => Error::malformed_at(path, line, e.to_string()),
    };
    let headers = reader.headers().map_err(|e| bad(e, 1))?.clone();
    let mut rows = Vec::new();
    for record in reader.records() {
        let mut record = record.map_err(|e| bad(e, 1))?;
        let line = record.position().map_or(0, csv::Position::line);
        if record.iter().any(|cell| cell.starts_with('\'')) {
            record = record.iter().map(cells::unguarded).collect();
        }
        rows.push((line, record.deserialize(Some(&headers)).map_err(|e| bad(e, line))?));
    }
    Ok(rows)
}

/// Like [`parse_csv`], and checks each row.
///
/// # Errors
/// As [`parse_csv`], and what `check` refuses; the line is named.
pub fn parse_csv_checked<T: DeserializeOwned>(
    bytes: &[u8],
    path: &Path,
    check: impl FnMut(&T) -> Result<()>,
) -> Result<Vec<T>> {
    all_checked(parse_csv(bytes, path)?, path, check)
}

/// The column names of a CSV file, `bytes` having been read from `path`.
///
/// # Errors
/// When its first line is no row.
pub fn csv_columns(bytes: &[u8], path: &Path) -> Result<Vec<String>> {
    let mut reader = csv::Reader::from_reader(bytes);
    let headers = reader.headers().map_err(|e| Error::malformed_at(path, 1, e.to_string()))?;
    Ok(headers.iter().map(|name| name.trim().to_string()).collect())
}

fn all_checked<T>(
    rows: Vec<(u64, T)>,
    path: &Path,
    mut check: impl FnMut(&T) -> Result<()>,
) -> Result<Vec<T>> {
    let one = |(line, row): (u64, T)| match check(&row) {
        Ok(()) => Ok(row),
        Err(e) => Err(Error::malformed_at(path, line, e.to_string())),
    };
    rows.into_iter().map(one).collect()
}
