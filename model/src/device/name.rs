//! Devices by their names on the command line.

use crate::error::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// A device by its name on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceName {
    /// `cpu`
    Cpu,
    /// `cuda` or `cuda:N`, and with `+graphs` behind it.
    Cuda {
        /// The card of this number.
        number: usize,
        /// Whether it repeats passes that it recorded (CUDA graphs).
        graphs: bool,
    },
    /// `gpu` or `gpu:N`: a Vulkan adapter.
    Gpu {
        /// As `s3d doctor --device gpu` counts them.
        number: usize,
    },
}

impl DeviceName {
    /// What asks for recorded passes, behind the name of a card.
    pub const GRAPHS: &'static str = "+graphs";

    /// Whether passes are recorded and repeated.
    pub fn repeats(self) -> bool {
        matches!(self, Self::Cuda { graphs: true, .. })
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda { number, graphs } => {
                write!(f, "cuda:{number}{}", if *graphs { Self::GRAPHS } else { "" })
            }
            Self::Gpu { number } => write!(f, "gpu:{number}"),
        }
    }
}

impl FromStr for DeviceName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || {
            Error::invalid(format!("expected cpu, cuda[:N][+graphs] or gpu[:N], found '{text}'"))
        };
        let (whole, graphs) = match text.strip_suffix(Self::GRAPHS) {
            Some(whole) => (whole, true),
            None => (text, false),
        };
        let (kind, number) = match whole.split_once(':') {
            None => (whole, 0),
            Some((kind, digits)) if digits.bytes().all(|c| c.is_ascii_digit()) => {
                (kind, digits.parse().map_err(|_| bad())?)
            }
            Some(_) => return Err(bad()),
        };
        match (kind, graphs) {
            ("cpu", false) if whole == "cpu" => Ok(Self::Cpu),
            ("cuda", graphs) => Ok(Self::Cuda { number, graphs }),
            ("gpu", false) => Ok(Self::Gpu { number }),
            _ => Err(bad()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(number: usize, graphs: bool) -> DeviceName {
        DeviceName::Cuda { number, graphs }
    }

    #[test]
    fn names_read_back_and_others_are_refused() {
        for (text, name) in [
            ("cpu", DeviceName::Cpu),
            ("cuda", card(0, false)),
            ("cuda:3", card(3, false)),
            ("cuda+graphs", card(0, true)),
            ("cuda:3+graphs", card(3, true)),
            ("gpu", DeviceName::Gpu { number: 0 }),
            ("gpu:2", DeviceName::Gpu { number: 2 }),
        ] {
            let found: DeviceName = text.parse().unwrap();
            assert_eq!(found, name);
            assert_eq!(found.to_string().parse::<DeviceName>().unwrap(), name);
            assert_eq!(found.repeats(), text.ends_with("+graphs"));
        }
        let bad_numbers = ["cuda:", "cuda:x", "cuda:-1", "cuda:+1", "cuda:99999999999999999999"];
        let bad_words = ["", "tpu", "cpu+graphs", "+graphs", "cuda+graph", "cuda+graphs:1"];
        let bad_gpus = ["gpu:", "gpu:x", "gpu:-1", "gpu+graphs", "gpu:1+graphs", "gpus", "cpu:0"];
        for bad in bad_numbers.into_iter().chain(bad_words).chain(bad_gpus) {
            let error = bad.parse::<DeviceName>().unwrap_err().to_string();
            assert!(error.contains(&format!("'{bad}'")), "{error}");
        }
    }
}
