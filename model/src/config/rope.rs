//! Rotary frequencies and their scalings: `rope_scaling` of `config.json`.

use super::ModelConfig;
use serde_json::Value;
use std::f64::consts::PI;

/// What turns the queries and keys of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// Radians per position, one for each pair of channels: `[head_dim / 2]`.
    pub frequencies: Vec<f64>,
    /// Multiplies cosines and sines.
    pub scale: f64,
    /// Positions up to which these frequencies hold, where they end before the model's.
    pub limit: Option<usize>,
}

/// The keys of `rope_scaling`, with the sizes that they need.
struct Scaling<'c> {
    config: &'c ModelConfig,
    keys: &'c Value,
    /// Unscaled.
    frequencies: Vec<f64>,
}

impl ModelConfig {
    /// The rotary frequencies, scaled as the file says.
    ///
    /// # Errors
    /// A scaling that is not known, or whose numbers make no sense.
    pub fn rope(&self) -> Result<Rope, String> {
        let (half, dim) = (self.head_dim() / 2, self.head_dim() as f64);
        let frequencies =
            (0..half).map(|i| self.rope_theta.powf(-2.0 * i as f64 / dim)).collect::<Vec<f64>>();
        let keys = self.other.get("rope_scaling").unwrap_or(&Value::Null);
        let scaling = Scaling { config: self, keys, frequencies };
        let kind = match keys {
            Value::Null => "default",
            _ => keys.get("rope_type").or(keys.get("type")).and_then(Value::as_str).unwrap_or(""),
        };
        let rope = match kind {
            // Dynamic scaling begins beyond the model's positions, where this engine does not go.
            "default" | "dynamic" => scaling.plain(),
            "linear" => scaling.linear()?,
            "llama3" => scaling.llama3()?,
            "yarn" => scaling.yarn()?,
            "longrope" | "su" => scaling.longrope()?,
            _ => {
                return Err(format!(
                    "rope_scaling = {keys} is not supported; expected null, or rope_type default, dynamic, linear, llama3, yarn or longrope"
                ));
            }
        };
        let fit = |x: &f64| x.is_finite() && *x >= 0.0;
        match rope.frequencies.iter().all(fit) && fit(&rope.scale) && rope.scale > 0.0 {
            true => Ok(rope),
            false => Err(format!("rope_scaling = {keys} gives frequencies that are no numbers")),
        }
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
        found.ok_or_else(|| format!("rope_scaling = {} needs a positive number '{key}'", self.keys))
    }

    /// Positions of the training before the scaling.
    fn original(&self) -> f64 {
        let key = "original_max_position_embeddings";
        let beside = self.config.other.get(key).and_then(Value::as_f64);
        let given = self.optional(key).or(beside).filter(|x| *x >= 1.0);
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
        let (original, dim) = (self.original(), self.config.head_dim() as f64);
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

    /// LongRoPE (Ding et al., arXiv 2402.13753) within the positions of the training: one divisor per
    /// frequency.
    fn longrope(self) -> Result<Rope, String> {
        let original = self.original();
        let divisors: Vec<f64> = self
            .keys
            .get("short_factor")
            .and_then(Value::as_array)
            .map(|all| all.iter().filter_map(Value::as_f64).collect())
            .unwrap_or_default();
        let half = self.frequencies.len();
        if divisors.len() != half || !divisors.iter().all(|d| d.is_finite() && *d > 0.0) {
            return Err(format!(
                "rope_scaling.short_factor must hold {half} positive numbers (half of head_dim); found {}",
                self.keys.get("short_factor").unwrap_or(&Value::Null)
            ));
        }
        let stretch = match self.optional("factor") {
            Some(factor) => factor,
            None => self.config.max_position_embeddings as f64 / original,
        };
        let inferred =
            if stretch <= 1.0 { 1.0 } else { (1.0 + stretch.ln() / original.ln()).sqrt() };
        let frequencies = self.frequencies.iter().zip(&divisors).map(|(f, d)| f / d).collect();
        let scale = self.optional("attention_factor").unwrap_or(inferred);
        Ok(Rope { frequencies, scale, limit: Some(original as usize) })
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
        let yarn = json!({"type": "yarn", "factor": 2, "attention_factor": -1});
        assert!(refuse(yarn).contains("no numbers"));
    }

    #[test]
    fn longrope_holds_within_the_training() {
        let mut config =
            config(json!({"type": "su", "short_factor": [2.0; 16], "long_factor": []}));
        config.other.insert("original_max_position_embeddings".into(), 64.into());
        let rope = config.rope().unwrap();
        assert_eq!((rope.limit, config.positions()), (Some(64), 64));
        // source: sqrt(1 + ln(1024 / 64) / ln(64)) = sqrt(1 + 4 / 6)
        assert!((rope.scale - (5.0f64 / 3.0).sqrt()).abs() < 1e-12);
    }
}
