//! Load and save: whole files written atomically, the path in every error.

pub mod cells;
pub mod file;
pub mod finite;

use crate::output::UNFINISHED;
use crate::records::latency::NearTie;
use crate::records::trace::Trace;
use crate::{Error, Limit, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::Write;
use std::path::Path;

/// Writes `bytes` to `path` so that a reader sees the old file or the new one, never a part:
/// a temporary file beside it, synchronised, then renamed. Missing folders are made.
///
/// # Errors
/// When the disk refuses; nothing is left behind.
pub fn save_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder).map_err(|e| Error::io("create folder", folder, e))?;
    let mut file = tempfile::Builder::new()
        .prefix(UNFINISHED)
        .tempfile_in(folder)
        .map_err(|e| Error::io("create a file in", folder, e))?;
    let write = |file: &mut fs::File| {
        file.write_all(bytes)?;
        file.sync_all()
    };
    write(file.as_file_mut()).map_err(|e| Error::io("write", path, e))?;
    readable(file.as_file()).map_err(|e| Error::io("write", path, e))?;
    file.persist(path).map_err(|e| Error::io("write", path, e.error))?;
    Ok(())
}

/// Temporary files are private; a record is for everyone (mode 644 where modes exist).
fn readable(file: &fs::File) -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.set_permissions(fs::Permissions::from_mode(0o644))?;
    }
    #[cfg(not(unix))]
    let _ = file;
    Ok(())
}

/// The bytes of a table.
///
/// # Errors
/// As [`file::read`].
pub fn read(path: &Path) -> Result<Vec<u8>> {
    file::read(path, Limit::TABLE)
}

/// Refuses to write a number that is none: readers would stumble over it.
fn writable<T: Serialize + ?Sized>(path: &Path, value: &T) -> Result<()> {
    finite::check(value).map_err(|e| Error::malformed(path, format!("not written: {e}")))
}

/// Writes `value` as indented JSON.
///
/// # Errors
/// When the disk refuses or a number is not finite.
pub fn save_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    writable(path, value)?;
    let mut text =
        serde_json::to_vec_pretty(value).map_err(|e| Error::malformed(path, e.to_string()))?;
    text.push(b'\n');
    save_atomically(path, &text)
}

/// Reads JSON.
///
/// # Errors
/// When the file cannot be read or has another form.
pub fn load_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    parse_json(&file::read(path, Limit::OBJECT)?, path)
}

/// Like [`load_json`] of `bytes` that were read from `path`.
///
/// # Errors
/// When they have another form.
pub fn parse_json<T: DeserializeOwned>(bytes: &[u8], path: &Path) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|e| json_error(path, &e))
}

/// Reads JSON whose `schema_version` must be `expected`, and checks what was read; `check` begins its message with
/// the key that is wrong.
///
/// # Errors
/// [`Error::Schema`] for another version, else as [`load_json`]; what `check` refuses, with the line of the key.
pub fn load_versioned<T: DeserializeOwned>(
    path: &Path,
    expected: u64,
    check: impl FnOnce(&T) -> Result<()>,
) -> Result<T> {
    parse_versioned(&file::read(path, Limit::OBJECT)?, path, expected, check)
}

/// Like [`load_versioned`] of `bytes` that were read from `path`.
///
/// # Errors
/// As [`load_versioned`].
pub fn parse_versioned<T: DeserializeOwned>(
    bytes: &[u8],
    path: &Path,
    expected: u64,
    check: impl FnOnce(&T) -> Result<()>,
) -> Result<T> {
    #[derive(Deserialize)]
    struct Version {
        schema_version: Option<u64>,
    }
    match parse_json::<Version>(bytes, path)?.schema_version {
        Some(found) if found == expected => {}
        Some(found) => {
            return Err(Error::Schema { path: path.to_path_buf(), found, expected });
        }
        None => return Err(Error::malformed(path, "no schema_version; is this a run directory?")),
    }
    let value = parse_json(bytes, path)?;
    check(&value).map_err(|e| {
        let message = e.to_string();
        match line_of(bytes, message.split([':', ' ']).next().unwrap_or_default()) {
            Some(line) => Error::malformed_at(path, line, message),
            None => Error::malformed(path, message),
        }
    })?;
    Ok(value)
}

/// The line on which a JSON text first gives a value to `key`.
fn line_of(text: &[u8], key: &str) -> Option<u64> {
    let quoted = format!("\"{key}\"");
    let gives = |line: &[u8]| {
        let place = line.windows(quoted.len()).position(|part| part == quoted.as_bytes());
        place.is_some_and(|at| line[at + quoted.len()..].trim_ascii_start().starts_with(b":"))
    };
    let line = text.split(|&b| b == b'\n').position(gives)?;
    Some(line as u64 + 1)
}

fn json_error(path: &Path, error: &serde_json::Error) -> Error {
    match error.line() {
        0 => Error::malformed(path, error.to_string()),
        line => Error::malformed_at(path, line as u64, error.to_string()),
    }
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

/// Reads traces and checks each.
///
/// # Errors
/// As [`load_jsonl`]; a trace that contradicts itself; a missing file or one without any.
pub fn load_traces(path: &Path) -> Result<Vec<Trace>> {
    let traces = checked(path)?;
    if traces.is_empty() {
        return Err(Error::malformed(path, "no traces; expected one JSON object a line"));
    }
    Ok(traces)
}

/// Like [`load_traces`], but an absent or empty file has none: a run that traced nothing.
///
/// # Errors
/// As [`load_jsonl`]; a trace that contradicts itself.
pub fn load_traces_or_empty(path: &Path) -> Result<Vec<Trace>> {
    if path.exists() { checked(path) } else { Ok(Vec::new()) }
}

fn checked(path: &Path) -> Result<Vec<Trace>> {
    parse_jsonl_checked(&read(path)?, path, |trace: &Trace| trace.validate())
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

/// Like [`load_csv`] of `bytes` that were read from `path`, each row with its line number, for those
/// who check them further.
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

/// The column names of a CSV file, `bytes` having been read from `path`.
///
/// # Errors
/// When its first line is no row.
pub fn csv_columns(bytes: &[u8], path: &Path) -> Result<Vec<String>> {
    let mut reader = csv::Reader::from_reader(bytes);
    let headers = reader.headers().map_err(|e| Error::malformed_at(path, 1, e.to_string()))?;
    Ok(headers.iter().map(|name| name.trim().to_string()).collect())
}

/// The bytes of a table that may be absent: then it is empty.
///
/// # Errors
/// As [`read`].
pub fn read_or_empty(path: &Path) -> Result<Vec<u8>> {
    if path.exists() { read(path) } else { Ok(Vec::new()) }
}

/// Writes the near-tie ledger; with no row it still holds its header, which says that none was seen.
///
/// # Errors
/// When the disk refuses.
pub fn save_near_ties(path: &Path, rows: &[NearTie]) -> Result<()> {
    if rows.is_empty() {
        let header = "id,position,first,second,first_token,second_token,logit_gap\n";
        return save_atomically(path, header.as_bytes());
    }
    save_csv(path, rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::latency::{Component, LatencySample};

    #[test]
    fn a_save_below_a_regular_file_names_the_path() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().join("out/run.json");
        let message = save_atomically(&path, b"x").unwrap_err().to_string();
        assert!(message.starts_with("cannot create folder"), "{message}");
    }

    #[test]
    fn another_schema_version_says_both_numbers() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), r#"{"schema_version": 2}"#).unwrap();
        let read = || load_versioned::<serde_json::Value>(file.path(), 1, |_| Ok(()));
        let message = read().unwrap_err().to_string();
        assert!(message.contains("schema version 2") && message.contains("version 1"), "{message}");
    }

    #[test]
    fn a_number_that_is_none_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fit.json");
        let numbers = [1.0, f64::NAN];
        for refused in
            [save_json(&path, &numbers), save_jsonl(&path, &numbers), save_csv(&path, &[numbers])]
        {
            let message = refused.unwrap_err().to_string();
            assert!(
                message.contains("fit.json: not written") && message.contains("NaN"),
                "{message}"
            );
        }
        assert!(!path.exists());
    }

    #[test]
    fn samples_read_back_through_csv() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("latency.csv");
        let rows = vec![LatencySample {
            machine: 0,
            component: Component::VerifyPass,
            layer: None,
            plan: Some("seq:3..9:4".parse().unwrap()),
            width: 5,
            context: 256,
            block: 7,
            order: 2,
            copy: 0,
            seconds: 0.1 + 0.2,
            cpu_seconds: Some(0.4),
        }];
        save_csv(&path, &rows).unwrap();
        assert_eq!(load_csv::<LatencySample>(&path).unwrap(), rows);
        let header = fs::read_to_string(&path).unwrap();
        assert!(header.starts_with(
            "machine,component,layer,plan,width,context,block,order,copy,seconds,cpu_seconds\n0,verify_pass,,seq:3..9:4,"
        ));
        let tie = NearTie {
            id: "=cmd".into(),
            position: 1,
            first: "-x".into(),
            second: "'+y".into(),
            first_token: 1,
            second_token: 2,
            logit_gap: 0.5,
        };
        save_near_ties(&path, std::slice::from_ref(&tie)).unwrap();
        assert!(fs::read_to_string(&path).unwrap().contains("\n'=cmd,1,'-x,''+y,1,2,0.5\n"));
        assert_eq!(load_csv::<NearTie>(&path).unwrap(), [tie]);
        fs::write(&path, "machine,component\n0,verify_pass\n").unwrap();
        let message = load_csv::<LatencySample>(&path).unwrap_err().to_string();
        assert!(message.contains("latency.csv, line 2"), "{message}");
    }
}
