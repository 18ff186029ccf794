//! Cards as their data sheets describe them: bandwidth, rates, memory, each with its source.

use crate::error::{Error, Result};
use crate::units::{Bytes, BytesPerSecond, FlopsPerSecond};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A card: a file of `data/devices`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// Its full name.
    pub name: String,
    /// Memory.
    pub memory_bytes: Bytes,
    /// Memory bandwidth of the data sheet.
    pub read_bytes_per_s: BytesPerSecond,
    /// What to know of the numbers; may be empty.
    #[serde(default)]
    pub note: String,
    /// Dense arithmetic by precision.
    pub dense_flops_per_s: DenseRates,
    /// Where the numbers stand.
    pub sources: Vec<Source>,
}

/// Operations per second without sparsity; a multiply-add counts as two.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DenseRates {
    /// Single precision.
    pub f32: FlopsPerSecond,
    /// Half precision with sums in single precision.
    pub f16: FlopsPerSecond,
    /// bfloat16; null where the card cannot.
    pub bf16: Option<FlopsPerSecond>,
}

/// A page and what it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// What was read there.
    pub what: String,
    /// Its address.
    pub url: String,
}

impl Device {
    /// The rate at which weights of `dtype` are multiplied; quantized ones are widened to half
    /// precision first.
    ///
    /// # Errors
    /// A precision that the card has no rate for.
    pub fn flops_per_s(&self, dtype: &str) -> Result<FlopsPerSecond> {
        let rates = &self.dense_flops_per_s;
        match dtype {
            "f32" => Ok(rates.f32),
            "bf16" => rates.bf16.ok_or_else(|| {
                Error::invalid(format!("{} has no dense rate for bf16; use f16", self.name))
            }),
            _ => Ok(rates.f16),
        }
    }
}

/// The cards by their short names, which are those of the files.
const FILES: [(&str, &str); 8] = [
    ("a100", include_str!("../devices/a100.toml")),
    ("a10g", include_str!("../devices/a10g.toml")),
    ("h100", include_str!("../devices/h100.toml")),
    ("h200", include_str!("../devices/h200.toml")),
    ("l4", include_str!("../devices/l4.toml")),
    ("rtx-3060", include_str!("../devices/rtx-3060.toml")),
    ("rtx-4090", include_str!("../devices/rtx-4090.toml")),
    ("t4", include_str!("../devices/t4.toml")),
];

/// The short names of all cards.
pub fn names() -> Vec<&'static str> {
    FILES.map(|(name, _)| name).to_vec()
}

/// A name without what spellings differ in: case, spaces and hyphens, the maker's words.
fn spelling(name: &str) -> String {
    let letters = name.chars().filter(char::is_ascii_alphanumeric);
    let mut plain = letters.collect::<String>().to_ascii_lowercase();
    for word in ["nvidia", "geforce", "tesla"] {
        plain = plain.strip_prefix(word).map_or(plain.clone(), str::to_string);
    }
    plain
}

/// The card of a short name, such as `a10g`, in any common spelling: `rtx4090`, `NVIDIA GeForce RTX
/// 4090`.
///
/// # Errors
/// A name that is not among [`names`].
pub fn device(name: &str) -> Result<Device> {
    let wanted = spelling(name);
    let found = FILES.iter().find(|(known, _)| spelling(known) == wanted);
    let (file, text) = found.ok_or_else(|| {
        let known = names().join(", ");
        Error::invalid(format!("card '{name}': expected one of {known}"))
    })?;
    let path = Path::new("data/devices").join(format!("{file}.toml"));
    toml::from_str(text).map_err(|error| Error::malformed(&path, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_card_has_its_numbers_and_their_sources() {
        for name in names() {
            let card = device(name).unwrap();
            assert!((10e9..200e9).contains(&(card.memory_bytes.0 as f64)), "{name}");
            assert!((1e11..1e13).contains(&card.read_bytes_per_s.0), "{name}");
            let rates = card.dense_flops_per_s;
            assert!(rates.f32.0 > 1e12 && rates.f16 >= rates.f32, "{name}");
            assert!(!card.sources.is_empty(), "{name}");
            assert!(card.sources.iter().all(|s| s.url.starts_with("https://")), "{name}");
        }
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("devices");
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), FILES.len());
    }

    #[test]
    fn unknown_cards_and_rates_are_refused_with_what_is_known() {
        let message = device("gtx-970").unwrap_err().to_string();
        assert!(message.contains("gtx-970") && message.contains("rtx-4090"), "{message}");
        assert!(device("t4").unwrap().flops_per_s("bf16").is_err());
        for spelt in ["rtx4090", "RTX 4090", "RTX-4090", "NVIDIA GeForce RTX 4090", "rtx_4090"] {
            assert_eq!(device(spelt).unwrap(), device("rtx-4090").unwrap(), "{spelt}");
        }
        assert!(device("RTX 4090 Ti").is_err());
        assert_eq!(device("A10G").unwrap().flops_per_s("q8_0").unwrap().0, 70e12);
    }
}
