//! Whether a configuration can be run: sizes that fit, and nothing that this engine computes otherwise.

use super::ModelConfig;
use serde_json::Value;

impl ModelConfig {
    /// Says what in this configuration cannot be run.
    pub(crate) fn validate(&self) -> Result<(), String> {
        let sizes = [
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.kv_heads()),
            ("head_dim", self.head_dim()),
            ("vocab_size", self.vocab_size),
            ("max_position_embeddings", self.max_position_embeddings),
        ];
        if let Some((key, size)) = sizes.iter().find(|(_, size)| *size == 0 || *size > 1 << 24) {
            return Err(format!("{key} must lie in 1..={}; found {size}", 1 << 24));
        }
        if self.head_dim.is_none() && !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return Err(format!(
                "hidden_size = {} must be a multiple of num_attention_heads = {}, or head_dim be given",
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

    fn validate_adapters(&self) -> Result<(), String> {
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
        let is_set = |value: &Value| !value.is_null() && *value != Value::Bool(false);
        if let Some(value) = self.other.get("mlp_bias").filter(|value| is_set(value)) {
            return Err(format!("mlp_bias = {value} is not supported; expected null or false"));
        }
        if let Some(value) = self.other.get("quantization_config").filter(|value| is_set(value)) {
            return Err(format!(
                "quantization_config = {value} is not supported; fetch the unquantized checkpoint, or a GGUF file"
            ));
        }
        let turned = self.other.get("partial_rotary_factor").and_then(Value::as_f64);
        if let Some(share) = turned.filter(|share| *share != 1.0) {
            return Err(format!("partial_rotary_factor = {share} is not supported; expected 1"));
        }
        self.attention_parts()?;
        self.rope()?;
        if self.positions() == 0 {
            return Err(
                "sliding_window = 0 leaves no text to see; expected null or a window".into()
            );
        }
        match self.other.get("hidden_act").and_then(Value::as_str) {
            None | Some("silu") => Ok(()),
            Some(act) => Err(format!("hidden_act must be \"silu\"; found \"{act}\"")),
        }
    }
}
