//! The one error of this crate: every variant says what was expected, what was found and where.

use std::path::{Path, PathBuf};

/// What can go wrong between a checkpoint on disk and a generated token.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused to read or write a file.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was being done: "read", "write", "create", ...
        action: &'static str,
        /// The file or folder concerned.
        path: PathBuf,
        /// The system's own words.
        source: std::io::Error,
    },
    /// A file was read but its content does not have the promised form.
    #[error("{}: {message}", path.display())]
    Malformed {
        /// The file concerned.
        path: PathBuf,
        /// What was expected and what was found.
        message: String,
    },
    /// An argument outside its domain.
    #[error("{0}")]
    Invalid(String),
    /// The tensor library refused an operation.
    #[error("tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
    /// A Vulkan device refused an operation, or is gone.
    #[cfg(feature = "gpu")]
    #[error(transparent)]
    Gpu(#[from] s3d_gpu::Error),
    /// A plan or a record was not well formed.
    #[error(transparent)]
    Data(#[from] s3d_data::Error),
}

/// The result of this crate's fallible functions.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An [`Error::Io`] at `path`.
    pub fn io(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io { action, path: path.to_path_buf(), source }
    }

    /// An [`Error::Malformed`] at `path`.
    pub fn malformed(path: &Path, message: impl Into<String>) -> Self {
        Self::Malformed { path: path.to_path_buf(), message: message.into() }
    }

    /// Weights or rows of one backend in the hands of another.
    pub(crate) fn foreign() -> Self {
        Self::invalid("weights or rows of one backend were given to another")
    }

    /// An [`Error::Invalid`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(message.into())
    }
}
