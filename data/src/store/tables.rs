//! Files of many rows: CSV, and JSON one object a line.

use crate::error::{Error, Result};
use crate::store::atomic::save_atomically;
use crate::store::file::{self, Limit};
use crate::store::finite::writable;
use crate::store::{cells, rows};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::Read;
use std::path::Path;

/// The rows of a table, to be read one by one.
///
/// # Errors
/// As [`file::open`].
pub fn open(path: &Path) -> Result<impl Read + use<>> {
    file::open(path, Limit::TABLE)
}

/// Like [`open`] of a table that may be absent: then it is empty.
///
/// # Errors
/// As [`open`].
pub fn open_or_empty(path: &Path) -> Result<Box<dyn Read>> {
    Ok(if path.exists() { Box::new(open(path)?) } else { Box::new(std::io::empty()) })
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
    parse_jsonl_checked(open(path)?, path, |_| Ok(()))
}

/// Like [`load_jsonl`] of a `source` that came from `path`, each value with its line number.
///
/// # Errors
/// When a line has another form; the line is named.
pub fn parse_jsonl<T: DeserializeOwned>(source: impl Read, path: &Path) -> Result<Vec<(u64, T)>> {
    let mut values = Vec::new();
    rows::each_json(source, path, |line, value| {
        values.push((line, value));
        Ok(())
    })?;
    Ok(values)
}

/// Like [`parse_jsonl`], and checks each value as it comes.
///
/// # Errors
/// As [`parse_jsonl`], and what `check` refuses; the line is named.
pub fn parse_jsonl_checked<T: DeserializeOwned>(
    source: impl Read,
    path: &Path,
    check: impl FnMut(&T) -> Result<()>,
) -> Result<Vec<T>> {
    let (mut kept, mut keep) = (Vec::new(), checked_by(path, check));
    rows::each_json(source, path, |line, value| keep(&mut kept, line, value))?;
    Ok(kept)
}

/// Writes rows with a header line.
///
/// # Errors
/// When the disk refuses.
pub fn save_csv<T: Serialize>(path: &Path, rows: &[T]) -> Result<()> {
    save_atomically(path, &csv_bytes(path, rows)?)
}

/// Rows with a header line, as text.
///
/// # Errors
/// A number that is not finite, or a row that is no record.
pub fn csv_text<T: Serialize>(rows: &[T]) -> Result<String> {
    let bytes = csv_bytes(Path::new("table"), rows)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn csv_bytes<T: Serialize>(path: &Path, rows: &[T]) -> Result<Vec<u8>> {
    let malformed = |e: String| Error::malformed(path, e);
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writable(path, row)?;
        writer.serialize(row).map_err(|e| malformed(e.to_string()))?;
    }
    let bytes = writer.into_inner().map_err(|e| malformed(e.to_string()))?;
    with_guarded_cells(&bytes).map_err(|e| malformed(e.to_string()))
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
    parse_csv_checked(open(path)?, path, |_| Ok(()))
}

/// Like [`load_csv`] of a `source` that came from `path`, each row with its line number, for
/// those who check them further.
///
/// # Errors
/// When a row has another form; the line is named.
pub fn parse_csv<T: DeserializeOwned>(source: impl Read, path: &Path) -> Result<Vec<(u64, T)>> {
    let mut rows = Vec::new();
    rows::each_row(source, path, |line, row| {
        rows.push((line, row));
        Ok(())
    })?;
    Ok(rows)
}

/// Like [`parse_csv`], and checks each row as it comes.
///
/// # Errors
/// As [`parse_csv`], and what `check` refuses; the line is named.
pub fn parse_csv_checked<T: DeserializeOwned>(
    source: impl Read,
    path: &Path,
    check: impl FnMut(&T) -> Result<()>,
) -> Result<Vec<T>> {
    let (mut kept, mut keep) = (Vec::new(), checked_by(path, check));
    rows::each_row(source, path, |line, row| keep(&mut kept, line, row))?;
    Ok(kept)
}

/// Keeps the rows that `check` lets pass.
fn checked_by<T>(
    path: &Path,
    mut check: impl FnMut(&T) -> Result<()>,
) -> impl FnMut(&mut Vec<T>, u64, T) -> Result<()> {
    move |kept, line, row| {
        check(&row).map_err(|e| Error::malformed_at(path, line, e.to_string()))?;
        kept.push(row);
        Ok(())
    }
}

/// The column names of a CSV file, `bytes` having been read from `path`.
///
/// # Errors
/// When its first line is no row.
pub fn csv_columns(bytes: &[u8], path: &Path) -> Result<Vec<String>> {
    let bytes = &bytes[..bytes.len().min(rows::ROW_BYTES_MAX as usize)];
    let mut reader = csv::Reader::from_reader(bytes);
    let headers = reader.headers().map_err(|e| Error::malformed_at(path, 1, e.to_string()))?;
    Ok(headers.iter().map(|name| name.trim().to_string()).collect())
}
