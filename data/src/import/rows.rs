//! Rows of tables from outside: what each must have.

use crate::error::{Error, Result};
use std::collections::HashSet;
use std::hash::Hash;
use std::path::Path;

/// An error at a line of a file.
pub(super) fn malformed(file: &Path, line: u64, message: &str) -> Error {
    Error::malformed_at(file, line, message)
}

/// Rows, of which there must be some.
pub(super) fn not_empty<T>(rows: Vec<T>, file: &Path) -> Result<Vec<T>> {
    match rows.is_empty() {
        true => Err(malformed(file, 1, "no rows below the header")),
        false => Ok(rows),
    }
}

/// A column that must have a value on every line.
pub(super) fn required<T>(value: Option<T>, column: &str, file: &Path, line: u64) -> Result<T> {
    value
        .ok_or_else(|| malformed(file, line, &format!("the column '{column}' is missing or empty")))
}

/// A time above 0.
pub(super) fn positive(seconds: f64, file: &Path, line: u64) -> Result<f64> {
    match seconds.is_finite() && seconds > 0.0 {
        true => Ok(seconds),
        false => Err(malformed(file, line, &format!("expected a time above 0, found {seconds}"))),
    }
}

/// Refuses the second appearance of a cell.
pub(super) fn once<K: Hash + Eq>(
    seen: &mut HashSet<K>,
    key: K,
    file: &Path,
    line: u64,
) -> Result<()> {
    match seen.insert(key) {
        true => Ok(()),
        false => Err(malformed(
            file,
            line,
            "this cell stands in the file already; number repeated measurements in a column \
             'block'",
        )),
    }
}
