//! Whether a configuration can be run: sizes that fit, and nothing that this engine computes
//! otherwise.

use super::ModelConfig;
use super::architecture::Architecture;
use super::keys::{Fits, shown};
use serde_json::Value;

impl ModelConfig {
    /// Says what in this configuration cannot be run.
    pub fn validate(&self) -> Result<(), String> {
        let sizes = [
            ("hidden_size", self.hidden_size, 1 << 20),
            ("intermediate_size", self.intermediate_size, 1 << 22),
            ("num_hidden_layers", self.num_hidden_layers, 1 << 14),
            ("num_attention_heads", self.num_attention_heads, 1 << 14),
            ("num_key_value_heads", self.kv_heads(), 1 << 14),
            ("head_dim", self.head_dim(), 1 << 14),
            ("vocab_size", self.vocab_size, 1 << 24),
            ("max_position_embeddings", self.max_position_embeddings, 1 << 24),
        ];
        if let Some((key, size, most)) =
            sizes.iter().find(|(_, size, most)| *size == 0 || size > most)
        {
            return Err(format!("{key} must lie in 1..={most}; found {size}"));
        }
        self.validate_volume()?;
        if self.head_dim.is_none() && !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return Err(format!(
                "hidden_size = {} must be a multiple of num_attention_heads = {}, or head_dim be \
                 given",
                self.hidden_size, self.num_attention_heads
            ));
        }
        if !self.num_attention_heads.is_multiple_of(self.kv_heads()) {
            return Err(format!(
                "num_attention_heads = {} must be a multiple of num_key_value_heads = {}",
                self.num_attention_heads,
                self.kv_heads()
            ));
        }
        if !self.head_dim().is_multiple_of(2) {
            return Err(format!("head_dim must be even for RoPE; found {}", self.head_dim()));
        }
        self.validate_adapters()?;
        self.validate_behaviour()
    }

    /// Sizes that are each possible and together are not: what is computed from them later would
    /// overflow.
    fn validate_volume(&self) -> Result<(), String> {
        const MOST: u128 = 1 << 46;
        let product = |sizes: &[usize]| sizes.iter().map(|&size| size as u128).product::<u128>();
        let heads = self.num_attention_heads + 2 * self.kv_heads();
        let layer = product(&[self.hidden_size, heads, self.head_dim()])
            + product(&[self.hidden_size, self.intermediate_size, 3]);
        let numbers = product(&[self.num_hidden_layers]) * layer
            + product(&[self.hidden_size, self.vocab_size, 2]);
        if numbers > MOST || self.masks() > 1 << 10 {
            return Err(format!(
                "the sizes call for {numbers} numbers and {} masks; expected at most {MOST} and {}",
                self.masks(),
                1 << 10
            ));
        }
        let cached = product(&[self.num_hidden_layers, 2, self.kv_heads(), self.head_dim()]);
        match cached <= 1 << 34 {
            true => Ok(()),
            false => Err(format!(
                "the sizes call for {cached} cached numbers a token; expected at most {}",
                1u64 << 34
            )),
        }
    }

    fn validate_adapters(&self) -> Result<(), String> {
        let vocab = self.vocab_size;
        if let Some(listed) = self.draft_vocabulary().filter(|n| !(2..=vocab).contains(n)) {
            return Err(format!(
                "s3d.draft_vocabulary must lie in 2..={vocab} (vocab_size); found {listed}"
            ));
        }
        let Some(adapters) = self.adapters() else { return Ok(()) };
        if adapters.rank == 0 || adapters.rank > self.hidden_size {
            return Err(format!(
                "s3d.adapters.rank must lie in 1..={} (hidden_size); found {}",
                self.hidden_size, adapters.rank
            ));
        }
        if !adapters.alpha.is_finite() || adapters.alpha <= 0.0 {
            let alpha = adapters.alpha;
            return Err(format!("s3d.adapters.alpha must be a positive number; found {alpha}"));
        }
        match self.masks() {
            0 => Err("s3d.adapters act on draft rows, which need s3d.masks above 0".into()),
            _ => Ok(()),
        }
    }

    /// Keys whose value changes what the model computes in a way this engine does not.
    fn validate_behaviour(&self) -> Result<(), String> {
        let positive = |value: f64| value.is_finite() && value > 0.0;
        if !positive(self.rms_norm_eps) || !positive(self.rope_theta) {
            return Err("rms_norm_eps and rope_theta must be positive numbers".into());
        }
        self.attention_parts()?;
        self.rope()?;
        self.rope_for(usize::MAX)?;
        self.validate_layers()?;
        if self.positions() == 0 {
            return Err(
                "sliding_window = 0 leaves no text to see; expected null or a window".into()
            );
        }
        match self.other.get("hidden_act") {
            None => Ok(()),
            Some(act) if act == "silu" || act == "swish" => Ok(()),
            Some(act) => Err(format!("hidden_act must be \"silu\"; found {}", shown(act))),
        }
    }

    /// Lists with an entry for every layer.
    fn validate_layers(&self) -> Result<(), String> {
        let layers = self.num_hidden_layers;
        let known = |kind: &Value| kind == "full_attention" || kind == "sliding_attention";
        let turns = |turns: &Value| *turns == 0 || *turns == 1;
        let lists: [(&str, &str, Fits); 2] = [
            ("layer_types", "\"full_attention\" or \"sliding_attention\"", known),
            ("no_rope_layers", "0 or 1", turns),
        ];
        for (key, expected, fits) in lists {
            let Some(list) = self.other.get(key) else { continue };
            let entries = list.as_array().map_or(&[][..], Vec::as_slice);
            if entries.len() != layers || !entries.iter().all(fits) {
                return Err(format!(
                    "{key} must hold {expected} for each of the {layers} layers; found {} \
                     entries: {}",
                    entries.len(),
                    shown(list)
                ));
            }
        }
        let smol = self.architecture()? == Architecture::SmolLm3;
        for key in ["no_rope_layers", "no_rope_layer_interval"] {
            let Some(value) = self.other.get(key) else { continue };
            if !smol || *value == 0 {
                return Err(format!(
                    "{key} = {} is not supported for {}",
                    shown(value),
                    self.class()
                ));
            }
        }
        Ok(())
    }
}
