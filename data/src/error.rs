//! The one error of this crate: every variant says what was expected, what was found and where.

use crate::quote;
use std::path::{Path, PathBuf};

/// What can go wrong when a record is built, read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused to read or write a file.
    #[error("cannot {action} {}: {source}{}", path.display(), advice(source))]
    Io {
        /// What was being done: "read", "write", "create", ...
        action: &'static str,
        /// The file or folder concerned.
        path: PathBuf,
        /// The system's own words.
        source: std::io::Error,
    },
    /// A file was read but its content does not have the promised form.
    #[error("{}{}: {message}", path.display(), at(line))]
    Malformed {
        /// The file concerned.
        path: PathBuf,
        /// 1-based line, where it is known.
        line: Option<u64>,
        /// What was expected and what was found.
        message: String,
    },
    /// A record was written by another version of the format.
    #[error(
        "{}: schema version {found}, but this program reads version {expected}; \
         measure again with this program, or read it with the one that wrote it", path.display()
    )]
    Schema {
        /// The file concerned.
        path: PathBuf,
        /// The version found in the file.
        found: u64,
        /// The version this program writes.
        expected: u64,
    },
    /// A value outside its domain.
    #[error("{0}")]
    Invalid(String),
}

/// `, line 7`, where the line is known.
fn at(line: &Option<u64>) -> String {
    line.map(|line| format!(", line {line}")).unwrap_or_default()
}

/// What a user can do about a refusal of the system.
fn advice(source: &std::io::Error) -> &'static str {
    use std::io::ErrorKind as Kind;
    match source.kind() {
        Kind::StorageFull => "; free some space or choose another folder",
        Kind::NotADirectory => "; a part of this path is a file: choose another folder",
        Kind::PermissionDenied | Kind::ReadOnlyFilesystem => "; choose a folder you may write to",
        Kind::NotFound => "; check the path",
        _ => "",
    }
}

/// The result of this crate's fallible functions.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An [`Error::Io`] at `path`.
    pub fn io(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io { action, path: path.to_path_buf(), source }
    }

    /// An [`Error::Malformed`] at `path`, without a line. What `message` quotes of the file is
    /// shortened and escaped.
    pub fn malformed(path: &Path, message: impl Into<String>) -> Self {
        Self::Malformed {
            path: path.to_path_buf(),
            line: None,
            message: quote::message(&message.into()),
        }
    }

    /// An [`Error::Malformed`] at a 1-based `line` of `path`.
    pub fn malformed_at(path: &Path, line: u64, message: impl Into<String>) -> Self {
        Self::Malformed {
            path: path.to_path_buf(),
            line: Some(line),
            message: quote::message(&message.into()),
        }
    }

    /// An [`Error::Invalid`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(quote::message(&message.into()))
    }
}
