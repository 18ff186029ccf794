//! What can go wrong: nonsense in, or a run that does not hold what a question needs.

/// The errors of this crate: each says what was expected, what was found and where.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A number or a combination outside its domain.
    #[error("{what}: expected {expected}, found {found}")]
    Domain {
        /// What was given: a flag's or key's words.
        what: String,
        /// What it may be.
        expected: String,
        /// What it was.
        found: String,
    },
    /// A run, a table or a trace file that lacks what the question needs.
    #[error("no {what}; {advice}")]
    Missing {
        /// What is missing.
        what: String,
        /// What to do about it.
        advice: String,
    },
    /// The optimizer gave up.
    #[error("fitting {what} failed: {message}")]
    Optimizer {
        /// What was fitted.
        what: String,
        /// The optimizer's words.
        message: String,
    },
    /// A noun that could not be built.
    #[error(transparent)]
    Data(#[from] s3d_data::Error),
}

/// The result of this crate's fallible functions.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An [`Error::Domain`].
    pub fn domain(
        what: impl Into<String>,
        expected: impl Into<String>,
        found: impl ToString,
    ) -> Self {
        Self::Domain { what: what.into(), expected: expected.into(), found: found.to_string() }
    }

    /// An [`Error::Missing`].
    pub fn missing(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::Missing { what: what.into(), advice: advice.into() }
    }
}

/// `value`, if it is finite and not negative.
pub(crate) fn non_negative(what: &str, value: f64) -> Result<f64> {
    if value.is_finite() && value >= 0.0 {
        Ok(value)
    } else {
        Err(Error::domain(what, "a finite number >= 0", value))
    }
}

/// `value`, if it is finite and above 0.
pub(crate) fn positive(what: &str, value: f64) -> Result<f64> {
    if value.is_finite() && value > 0.0 {
        Ok(value)
    } else {
        Err(Error::domain(what, "a finite number > 0", value))
    }
}
