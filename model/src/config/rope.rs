//! Rotary frequencies and their scalings: `rope_scaling` of `config.json`.

use super::ModelConfig;
use super::architecture::Architecture;
use super::keys::{shown, shown_key};
use serde_json::{Map, Value};
use std::f64::consts::PI;

/// The kinds of scaling, as messages list them.
pub(super) const PARAMETERS: &str = "default, dynamic, linear, llama3, yarn or longrope";

/// What turns the queries and keys of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// Radians per position, one for each pair of channels that turns: `[rotary_dim / 2]`.
    pub frequencies: Vec<f64>,
    /// Multiplies cosines and sines.
    pub scale: f64,
    /// Positions up to which these frequencies hold, where they end before the model's.
    pub limit: Option<usize>,
}

/// A kind of scaling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RopeKind {
    Default,
    Dynamic,
    Linear,
    Llama3,
    Yarn,
    LongRope,
}

/// Each kind with its name and the keys that it reads besides `rope_type`.
const KINDS: [(RopeKind, &str, &[&str]); 6] = [
    (RopeKind::Default, "default", &[]),
    (RopeKind::Dynamic, "dynamic", &["factor", ORIGINAL]),
    (RopeKind::Linear, "linear", &["factor"]),
    (RopeKind::Llama3, "llama3", &["factor", ORIGINAL, "low_freq_factor", "high_freq_factor"]),
    (
        RopeKind::Yarn,
        "yarn",
        &[
            "factor",
            ORIGINAL,
            "attention_factor",
            "beta_fast",
            "beta_slow",
            "mscale",
            "mscale_all_dim",
            "truncate",
        ],
    ),
    (
        RopeKind::LongRope,
        "longrope",
        &["factor", ORIGINAL, "attention_factor", "short_factor", "long_factor"],
    ),
];

const ORIGINAL: &str = "original_max_position_embeddings";

impl RopeKind {
    /// The kind that parameters name.
    pub(super) fn of(rope: &Map<String, Value>) -> Result<Self, String> {
        let name = rope.get("rope_type").or(rope.get("type")).and_then(Value::as_str).unwrap_or("");
        let name = if name == "su" { "longrope" } else { name };
        let known = KINDS.iter().find(|(_, known, _)| *known == name);
        known.map(|(kind, ..)| *kind).ok_or_else(|| {
            let rope = shown(&Value::Object(rope.clone()));
            format!(
                "rope_scaling = {rope} is not supported; expected null, or rope_type {PARAMETERS}"
            )
        })
    }

    /// Its name in a file.
    pub(super) fn name(self) -> &'static str {
        KINDS.iter().find(|(kind, ..)| *kind == self).map_or("", |(_, name, _)| name)
    }

    /// Whether `key` means something to it, or means nothing to any.
    pub(super) fn reads(self, key: &str) -> bool {
        let keys = KINDS.iter().find(|(kind, ..)| *kind == self).map_or(&[][..], |(.., keys)| keys);
        matches!(key, "rope_type" | "type" | "finetuned") || keys.contains(&key)
    }
}

/// Names the parameter that is not known, or whose value is of the wrong kind.
pub(super) fn check_parameters(name: &str, rope: &Map<String, Value>) -> Result<(), String> {
    for (key, value) in rope {
        let (fits, kind) = match key.as_str() {
            "rope_type" | "type" => (value.is_string(), "a text"),
            "truncate" | "finetuned" => (value.is_boolean(), "true or false"),
            ORIGINAL => (value.is_u64(), "a whole number"),
            "short_factor" | "long_factor" => {
                let numbers = value.as_array().is_some_and(|all| all.iter().all(Value::is_number));
                (numbers, "a list of numbers")
            }
            "rope_theta" | "partial_rotary_factor" => (value.is_number(), "a number"),
            key if KINDS.iter().any(|(.., keys)| keys.contains(&key)) => {
                (value.is_number(), "a number")
            }
            _ => {
                return Err(format!(
                    "{name}.{} = {} is not known, and may change what the model computes",
                    shown_key(key),
                    shown(value)
                ));
            }
        };
        if !fits {
            return Err(format!("{name}.{key} must be {kind}; found {}", shown(value)));
        }
    }
    Ok(())
}

/// The keys of `rope_scaling`, with the sizes that they need.
struct Scaling<'c> {
    config: &'c ModelConfig,
    keys: &'c Value,
    /// Unscaled.
    frequencies: Vec<f64>,
    /// Channels of a head that turn.
    dim: f64,
}

impl ModelConfig {
    /// Channels of each head that turn: the first ones.
    ///
    /// # Errors
    /// When the file asks for a part of the heads that is none, or the architecture turns whole
    /// heads.
    pub fn rotary_dim(&self) -> Result<usize, String> {
        let Some(share) = self.other.get("partial_rotary_factor") else {
            return Ok(self.head_dim());
        };
        let found = shown(share);
        let share = share.as_f64().unwrap_or(f64::NAN);
        if share == 1.0 {
            return Ok(self.head_dim());
        }
        if self.architecture()? != Architecture::Phi3 {
            return Err(format!(
                "partial_rotary_factor = {found} is not supported for {}; expected 1",
                self.class()
            ));
        }
        // Cut as Python cuts it; a share that was computed may lie a rounding below.
        let dim = (self.head_dim() as f64 * share + 1e-9).floor();
        if !(0.0..1.0).contains(&share) || dim < 2.0 || dim % 2.0 != 0.0 {
            return Err(format!(
                "partial_rotary_factor = {found} of {} channels must be an even number of them, \
                 at least 2",
                self.head_dim()
            ));
        }
        Ok(dim as usize)
    }

    /// The rotary frequencies of short texts, scaled as the file says.
    ///
    /// # Errors
    /// As [`Self::rope_for`].
    pub fn rope(&self) -> Result<Rope, String> {
        self.rope_for(0)
    }

    /// The rotary frequencies of texts of up to `context` tokens, scaled as the file says. Only
    /// longrope has others for long texts than for short ones; they hold for every position of such
    /// a text, which must hence be known to be long from its start.
    ///
    /// # Errors
    /// A scaling that is not known, or whose numbers make no sense.
    pub fn rope_for(&self, context: usize) -> Result<Rope, String> {
        let dim = self.rotary_dim()?;
        let frequency = |i: usize| self.rope_theta.powf(-2.0 * i as f64 / dim as f64);
        let frequencies = (0..dim / 2).map(frequency).collect::<Vec<f64>>();
        let keys = self.other.get("rope_scaling").unwrap_or(&Value::Null);
        let scaling = Scaling { config: self, keys, frequencies, dim: dim as f64 };
        let kind = match keys {
            Value::Null => RopeKind::Default,
            Value::Object(keys) => RopeKind::of(keys)?,
            other => {
                return Err(format!(
                    "rope_scaling = {} is not supported; expected null, or rope_type {PARAMETERS}",
                    shown(other)
                ));
            }
        };
        let rope = match kind {
            // Dynamic scaling begins beyond the model's positions, where this engine does not go.
            RopeKind::Default | RopeKind::Dynamic => scaling.plain(),
            RopeKind::Linear => scaling.linear()?,
            RopeKind::Llama3 => scaling.llama3()?,
            RopeKind::Yarn => scaling.yarn()?,
            RopeKind::LongRope => scaling.longrope(context)?,
        };
        let fit = |x: &f64| x.is_finite() && *x >= 0.0;
        match rope.frequencies.iter().all(fit) && fit(&rope.scale) && rope.scale > 0.0 {
            true => Ok(rope),
            false => {
                Err(format!("rope_scaling = {} gives frequencies that are no numbers", shown(keys)))
            }
        }
    }

    /// Positions up to which a text is short, where long ones have rotary factors of their own.
    pub(crate) fn short_positions(&self) -> Option<usize> {
        let short = self.rope_for(0).ok()?.limit?;
        let long = self.rope_for(short.saturating_add(1)).ok()?;
        (long.limit.is_none() && short < self.positions()).then_some(short)
    }
}

impl Scaling<'_> {
    fn plain(self) -> Rope {
        Rope { frequencies: self.frequencies, scale: 1.0, limit: None }
    }

    fn optional(&self, key: &str) -> Option<f64> {
        self.keys.get(key).and_then(Value::as_f64)
    }

    /// A positive number under `key`.
    fn number(&self, key: &str) -> Result<f64, String> {
        let found = self.optional(key).filter(|x| x.is_finite() && *x > 0.0);
        found.ok_or_else(|| {
            format!("rope_scaling = {} needs a positive number '{key}'", shown(self.keys))
        })
    }

    /// Positions of the training before the scaling.
    fn original(&self) -> f64 {
        let beside = self.config.other.get(ORIGINAL).and_then(Value::as_f64);
        let given = self.optional(ORIGINAL).or(beside).filter(|x| *x >= 1.0);
        given.unwrap_or(self.config.max_position_embeddings as f64)
    }

    /// Positions interpolated (Chen et al., arXiv 2306.15595).
    fn linear(self) -> Result<Rope, String> {
        let factor = self.number("factor")?;
        let frequencies = self.frequencies.iter().map(|f| f / factor).collect();
        Ok(Rope { frequencies, ..self.plain() })
    }

    /// Llama 3.1: slow frequencies interpolated, fast ones kept, a ramp between.
    fn llama3(self) -> Result<Rope, String> {
        let (factor, original) = (self.number("factor")?, self.original());
        let (low, high) = (self.number("low_freq_factor")?, self.number("high_freq_factor")?);
        let scaled = |&frequency: &f64| {
            let turns = original * frequency / (2.0 * PI);
            if turns > high {
                frequency
            } else if turns < low {
                frequency / factor
            } else {
                let smooth = (turns - low) / (high - low);
                (1.0 - smooth) * frequency / factor + smooth * frequency
            }
        };
        let frequencies = self.frequencies.iter().map(scaled).collect();
        Ok(Rope { frequencies, ..self.plain() })
    }

    /// YaRN (Peng et al., arXiv 2309.00071): a ramp over channels, and sharper attention.
    fn yarn(self) -> Result<Rope, String> {
        let (original, dim) = (self.original(), self.dim);
        let factor = match self.optional("factor") {
            Some(_) => self.number("factor")?,
            None => self.config.max_position_embeddings as f64 / original,
        };
        let sharpness = |m: f64| if factor <= 1.0 { 1.0 } else { 0.1 * m * factor.ln() + 1.0 };
        let set = |key: &str| self.optional(key).filter(|x| *x != 0.0);
        let inferred = match (set("mscale"), set("mscale_all_dim")) {
            (Some(one), Some(all)) => sharpness(one) / sharpness(all),
            _ => sharpness(1.0),
        };
        let channel = |turns: f64| {
            dim * (original / (turns * 2.0 * PI)).ln() / (2.0 * self.config.rope_theta.ln())
        };
        let fast = channel(set("beta_fast").unwrap_or(32.0));
        let slow = channel(set("beta_slow").unwrap_or(1.0));
        let whole = self.keys.get("truncate") != Some(&Value::Bool(false));
        let (fast, slow) = if whole { (fast.floor(), slow.ceil()) } else { (fast, slow) };
        let (fast, slow) = (fast.max(0.0), slow.min(dim - 1.0));
        let width = if slow == fast { 0.001 } else { slow - fast };
        let scaled = |(i, frequency): (usize, &f64)| {
            let interpolated = ((i as f64 - fast) / width).clamp(0.0, 1.0);
            frequency / factor * interpolated + frequency * (1.0 - interpolated)
        };
        let frequencies = self.frequencies.iter().enumerate().map(scaled).collect();
        let scale = self.optional("attention_factor").unwrap_or(inferred);
        Ok(Rope { frequencies, scale, limit: None })
    }

    /// LongRoPE (Ding et al., arXiv 2402.13753): one divisor per frequency, others for texts longer
    /// than those of the training.
    fn longrope(self, context: usize) -> Result<Rope, String> {
        let original = self.original();
        let short = self.divisors("short_factor")?;
        let long = match self.keys.get("long_factor") {
            Some(_) => Some(self.divisors("long_factor")?),
            None => None,
        };
        let stretch = match self.optional("factor") {
            Some(factor) => factor,
            None => self.config.max_position_embeddings as f64 / original,
        };
        let inferred =
            if stretch <= 1.0 { 1.0 } else { (1.0 + stretch.ln() / original.ln()).sqrt() };
        let (divisors, limit) = match long {
            Some(long) if context as f64 > original => (long, None),
            _ => (short, Some(original as usize)),
        };
        let frequencies = self.frequencies.iter().zip(&divisors).map(|(f, d)| f / d).collect();
        let scale = self.optional("attention_factor").unwrap_or(inferred);
        Ok(Rope { frequencies, scale, limit })
    }

    /// The divisors under `key`, one for each frequency.
    fn divisors(&self, key: &str) -> Result<Vec<f64>, String> {
        let listed = self.keys.get(key).and_then(Value::as_array);
        let divisors: Vec<f64> =
            listed.map(|all| all.iter().filter_map(Value::as_f64).collect()).unwrap_or_default();
        let pairs = self.frequencies.len();
        let fits = listed.is_some_and(|all| all.len() == pairs) && divisors.len() == pairs;
        match fits && divisors.iter().all(|d| d.is_finite() && *d > 0.0) {
            true => Ok(divisors),
            false => Err(format!(
                "rope_scaling.{key} must hold {pairs} positive numbers (half of the channels \
                 that turn); found {}",
                shown(self.keys.get(key).unwrap_or(&Value::Null))
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn config(scaling: Value) -> ModelConfig {
        let mut config = ModelConfig::story();
        config.other.insert("rope_scaling".into(), scaling);
        config
    }

    #[test]
    fn unscaled_frequencies_are_powers_of_theta() {
        // source: arXiv 2104.09864, section 3.2.2: theta_i = 10000^(-2 i / d), d = 32
        let rope = ModelConfig::story().rope().unwrap();
        assert_eq!((rope.frequencies.len(), rope.scale, rope.limit), (16, 1.0, None));
        assert!((rope.frequencies[8] - 0.01).abs() < 1e-12);
        let dynamic = config(json!({"type": "dynamic", "factor": 2.0})).rope().unwrap();
        assert_eq!(dynamic, rope);
    }

    #[test]
    fn nonsense_in_a_scaling_is_named() {
        let refuse = |scaling| config(scaling).rope().unwrap_err();
        assert!(refuse(json!({"type": "linear"})).contains("'factor'"));
        assert!(refuse(json!({"type": "linear", "factor": -1})).contains("'factor'"));
        assert!(refuse(json!({"rope_type": "mrope"})).contains("longrope"));
        assert!(refuse(json!(7)).contains("not supported"));
        assert!(refuse(json!({"type": "su", "short_factor": [1, 2]})).contains("16 positive"));
        let long = json!({"type": "su", "short_factor": vec![1; 16], "long_factor": vec![1; 15]});
        assert!(refuse(long).contains("long_factor must hold 16 positive"));
        let yarn = json!({"type": "yarn", "factor": 2, "attention_factor": -1});
        assert!(refuse(yarn).contains("no numbers"));
    }

    #[test]
    fn longrope_has_factors_for_short_texts_and_for_long_ones() {
        let factors =
            json!({"type": "su", "short_factor": vec![2.0; 16], "long_factor": vec![8.0; 16]});
        let mut config = config(factors);
        config.other.insert("original_max_position_embeddings".into(), 64.into());
        // source: the theta of pair 0 is 1, divided by 2 or 8; sqrt(1 + ln(1024 / 64) / ln(64)) =
        // sqrt(1 + 4 / 6)
        let (short, long) = (config.rope_for(64).unwrap(), config.rope_for(65).unwrap());
        assert_eq!((short.frequencies[0], short.limit), (0.5, Some(64)));
        assert_eq!((long.frequencies[0], long.limit), (0.125, None));
        assert!((short.scale - (5.0f64 / 3.0).sqrt()).abs() < 1e-12);
        assert_eq!((config.positions(), config.short_positions()), (1024, Some(64)));
        let scaling = config.other.get_mut("rope_scaling").unwrap().as_object_mut().unwrap();
        scaling.remove("long_factor");
        assert_eq!((config.positions(), config.short_positions()), (64, None));
    }
}
