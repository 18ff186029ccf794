//! Files of one JSON object.

use crate::error::{Error, Result};
use crate::store::atomic::save_atomically;
use crate::store::file::{self, Limit};
use crate::store::finite::writable;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::path::Path;

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

/// Reads JSON whose `schema_version` must be `expected`, and checks what was read; `check` begins
/// its message with the key that is wrong.
///
/// # Errors
/// [`Error::Schema`] for another version, else as [`load_json`]; what `check` refuses, with the
/// line of the key.
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
