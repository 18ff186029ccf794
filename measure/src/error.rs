//! The one error of this crate: every variant says what was expected, what was found and where.

use s3d_data::Plan;
use std::path::PathBuf;

/// What can go wrong while measuring.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A record could not be read or written.
    #[error(transparent)]
    Data(#[from] s3d_data::Error),
    /// The engine failed.
    #[error(transparent)]
    Model(#[from] s3d_model::Error),
    /// The tensor library failed.
    #[error("tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
    /// Speculative decoding gave another text than plain decoding: the engine is not lossless.
    #[error(
        "plan {plan} gave another text than plain decoding: prompt '{prompt}', output position \
         {position}: expected token {expected}, found {found}; nothing of this plan was kept, and \
         no speedup may be claimed: report this with the model and the prompt"
    )]
    Mismatch {
        /// The speculative plan.
        plan: Box<Plan>,
        /// The prompt's name.
        prompt: String,
        /// First output position that differs, from 0.
        position: usize,
        /// Plain decoding's token there, or "the end of the text".
        expected: String,
        /// The plan's token there, or "the end of the text".
        found: String,
    },
    /// The run directory belongs to another run.
    #[error(
        "{}: this run directory was made with {what} {found}, but {expected} was asked for; give \
         another --out, or --force to start over", path.display()
    )]
    OtherRun {
        /// Its `run.json`.
        path: PathBuf,
        /// What differs.
        what: String,
        /// What the directory holds.
        found: String,
        /// What was asked for.
        expected: String,
    },
    /// The child process that measures peak memory failed.
    #[error("cannot measure peak memory with '{command}': {message}")]
    Child {
        /// The command that was started.
        command: String,
        /// What went wrong.
        message: String,
    },
    /// The judge could not say what to measure next.
    #[error("cannot tell which plans to measure: {0}")]
    Judge(Box<dyn std::error::Error + Send + Sync>),
    /// Whoever watches the progress asked to stop; what was measured is kept.
    #[error("interrupted; what was measured is kept, the same command goes on from there")]
    Interrupted,
    /// An argument outside its domain.
    #[error("{0}")]
    Invalid(String),
}

/// The result of this crate's fallible functions.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An [`Error::Invalid`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(message.into())
    }
}
