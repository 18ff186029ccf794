//! How the tokens of a run's texts were drawn, where they were.

use crate::error::{Error, Result};
use crate::limits::{self, within};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Tokens drawn at a temperature, and perhaps from the most likely ones alone. Greedy texts have
/// none.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drawn {
    /// Logits are divided by it; above 0.
    pub temperature: f64,
    /// The share of the probability that the fewest most likely tokens must reach, of which one
    /// is drawn; absent: all tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
}

impl Drawn {
    /// Whether such draws can be.
    ///
    /// # Errors
    /// Begins with the key.
    pub fn check(&self) -> Result<()> {
        let above_0 = |what: &str, value: f64, most: f64| match value > 0.0 && value <= most {
            true => Ok(()),
            false => Err(Error::invalid(format!(
                "{what}: expected a number above 0 and at most {most}, found {value}"
            ))),
        };
        above_0("temperature", self.temperature, limits::TEMPERATURE)?;
        self.top_p.map_or(Ok(()), |share| above_0("top_p", share, 1.0))
    }
}

/// `temperature 0.8`, or `temperature 0.8, top-p 0.95`.
impl fmt::Display for Drawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "temperature {}", self.temperature)?;
        self.top_p.map_or(Ok(()), |share| write!(f, ", top-p {share}"))
    }
}

/// What is said of texts that may be greedy: `temperature 0`, or as [`Drawn`] says it.
pub fn words(drawn: Option<&Drawn>) -> String {
    drawn.map_or("temperature 0".into(), Drawn::to_string)
}

/// Refuses a number that a temperature cannot be; 0 is greedy, and none.
///
/// # Errors
/// Says what was expected.
pub fn temperature(value: f64) -> Result<f64> {
    within("temperature", value, &(0.0..=limits::TEMPERATURE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_say_how_and_refuse_what_cannot_be() {
        let drawn = |temperature, top_p| Drawn { temperature, top_p };
        assert_eq!(drawn(0.8, None).to_string(), "temperature 0.8");
        assert_eq!(drawn(1.0, Some(0.95)).to_string(), "temperature 1, top-p 0.95");
        assert_eq!(words(None), "temperature 0");
        assert!(drawn(0.8, Some(1.0)).check().is_ok());
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e9] {
            assert!(drawn(bad, None).check().unwrap_err().to_string().contains("temperature"));
        }
        for bad in [0.0, -0.5, 1.1, f64::NAN] {
            assert!(drawn(1.0, Some(bad)).check().unwrap_err().to_string().contains("top_p"));
        }
        assert!(serde_json::from_str::<Drawn>(r#"{"temperature":1,"top_k":3}"#).is_err());
        assert!(temperature(0.0).is_ok() && temperature(-0.1).is_err());
    }
}
