//! Wrong usage: an error that ends the program with exit code 2 instead of 1.

use std::fmt;

/// A flag or its value is wrong; the text names the flag, what was expected and what was found.
#[derive(Debug)]
pub struct Usage(pub String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// An error about a flag.
pub fn usage(message: impl Into<String>) -> anyhow::Error {
    Usage(message.into()).into()
}

/// Turns a refusal of a flag's value into wrong usage that names the flag.
pub fn or_usage<T, E: fmt::Display>(flag: &str, outcome: Result<T, E>) -> anyhow::Result<T> {
    outcome.map_err(|e| usage(format!("{flag}: {e}")))
}
