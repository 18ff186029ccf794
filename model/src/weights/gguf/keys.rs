//! The metadata of a GGUF file in the words of a `config.json`.
//!
//! llama.cpp's loader (`llama-model.cpp`) says what a key means and what holds where it is missing.
//! A key of the architecture that is neither read nor known to change nothing is refused by name.

use super::header::{TensorInfo, Value};
use crate::config::architecture::Architecture;
use serde_json::{Map, json};
use std::collections::BTreeMap;

/// Keys of an architecture that are read, or that change nothing.
const READ: [&str; 29] = [
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.layer_norm_rms_epsilon",
    "attention.sliding_window",
    "attention.value_length",
    "block_count",
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.scale_linear",
    "rope.scaling.alpha",
    "rope.scaling.attn_factor",
    "rope.scaling.factor",
    "rope.scaling.original_context_length",
    "rope.scaling.type",
    "rope.scaling.yarn_attn_factor",
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
    "rope.scaling.yarn_ext_factor",
    // About the file and its making.
    "rope.scaling.finetuned",
    "tensor_data_layout",
    "vocab_size",
    "source.hf_repo",
    "source.url",
    "dataset",
    "feature_length",
];

/// Keys that change nothing where they have this value, as whole number, fraction or flag; any
/// other is refused.
const NEUTRAL: [(&str, f64); 15] = [
    ("attention.causal", 1.0),
    ("attention.clamp_kqv", 0.0),
    ("attention.max_alibi_bias", 0.0),
    ("attn_logit_softcapping", 0.0),
    ("embedding_scale", 1.0),
    ("expert_count", 0.0),
    ("expert_shared_count", 0.0),
    ("expert_used_count", 0.0),
    ("final_logit_softcapping", 0.0),
    ("leading_dense_block_count", 0.0),
    ("logit_scale", 1.0),
    ("nextn_predict_layers", 0.0),
    ("pooling_type", 0.0),
    ("residual_scale", 1.0),
    ("use_parallel_residual", 0.0),
];

const EPSILON: &str = "attention.layer_norm_rms_epsilon";

/// What was expected and what was found.
pub(super) type Outcome<T> = Result<T, String>;

/// The metadata of one architecture.
pub(super) struct Keys<'h> {
    pub metadata: &'h BTreeMap<String, Value>,
    pub tensors: &'h BTreeMap<String, TensorInfo>,
    /// The architecture's name, before each of its keys.
    pub name: &'h str,
}

/// The architecture of a file, and its name.
pub(super) fn architecture(metadata: &BTreeMap<String, Value>) -> Outcome<(Architecture, String)> {
    match metadata.get("general.type") {
        None => {}
        Some(Value::Text(kind)) if kind == "model" => {}
        Some(other) => {
            return Err(format!(
                "general.type = {}: expected a model with weights of its own",
                shown(other)
            ));
        }
    }
    let name = match metadata.get("general.architecture") {
        Some(Value::Text(name)) => name.clone(),
        Some(other) => {
            return Err(format!("general.architecture must be a text; found {}", shown(other)));
        }
        None => return Err("no general.architecture; expected a whole model".into()),
    };
    let architecture = Architecture::from_model_type(&name).ok_or_else(|| {
        format!(
            "architecture {} is not supported; expected one of {}",
            shown(&Value::Text(name.clone())),
            Architecture::model_types()
        )
    })?;
    Ok((architecture, name))
}

/// What a file says of its tokenizer that is not followed, a line each.
pub(super) fn tokenizer_notes(metadata: &BTreeMap<String, Value>) -> Vec<String> {
    let get = |key: &str| metadata.get(&format!("tokenizer.ggml.{key}"));
    let byte_level = matches!(get("model"), Some(Value::Text(model)) if model == "gpt2");
    let set = |key: &str| get(key) == Some(&Value::Bool(true));
    let mut notes = Vec::new();
    if byte_level && get("pre").is_none() {
        notes.push(
            "tokenizer.ggml.pre is missing: text is split as llama.cpp does by default, which \
             may differ from training"
                .into(),
        );
    }
    for key in ["add_sep_token", "remove_extra_whitespaces"] {
        if set(key) {
            notes.push(format!("tokenizer.ggml.{key} = true is not followed"));
        }
    }
    if byte_level && set("add_space_prefix") {
        notes.push(
            "tokenizer.ggml.add_space_prefix = true is not followed for byte-level BPE, as in \
             llama.cpp"
                .into(),
        );
    }
    if get("suppress_tokens").is_some() {
        notes.push("tokenizer.ggml.suppress_tokens is not followed".into());
    }
    notes
}

/// A value as messages show it: short, control characters escaped.
pub(super) fn shown(value: &Value) -> String {
    let text = match value {
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::Text(text) => format!("{:?}", text.chars().take(80).collect::<String>()),
        Value::Integers(all) => format!("{:?}", &all[..all.len().min(16)]),
        Value::Floats(all) => format!("{:?}", &all[..all.len().min(16)]),
        Value::Texts(all) => format!("{} texts", all.len()),
    };
    text.chars().take(80).collect()
}

impl Keys<'_> {
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.metadata.get(&format!("{}.{key}", self.name))
    }

    /// Says what a key must be and is not.
    pub(super) fn wrong(&self, key: &str, expected: &str) -> String {
        let found = self.get(key).map_or("nothing".into(), shown);
        format!("metadata '{}.{key}' must be {expected}; found {found}", self.name)
    }

    /// A whole number, where the file has one.
    pub(super) fn whole(&self, key: &str) -> Outcome<Option<u64>> {
        let wrong = || self.wrong(key, "a whole number");
        let number = match self.get(key) {
            None => return Ok(None),
            Some(Value::Integer(number)) => u64::try_from(*number).map_err(|_| wrong())?,
            // One number a layer; the layers of these architectures are alike.
            Some(Value::Integers(all)) => match all.first() {
                Some(first) if all.iter().all(|number| number == first) => {
                    u64::try_from(*first).map_err(|_| wrong())?
                }
                _ => return Err(self.wrong(key, "the same for every layer")),
            },
            Some(_) => return Err(wrong()),
        };
        Ok(Some(number))
    }

    /// A number, where the file has one.
    pub(super) fn number(&self, key: &str) -> Outcome<Option<f64>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Float(number)) => Ok(Some(shortest(*number))),
            Some(_) => Err(self.wrong(key, "a number")),
        }
    }

    /// A whole number that every file has.
    fn size(&self, key: &str) -> Outcome<u64> {
        self.whole(key)?.ok_or_else(|| self.wrong(key, "a whole number"))
    }

    /// Refuses keys that may change what the model computes.
    fn check_known(&self) -> Outcome<()> {
        let own = format!("{}.", self.name);
        let keys = self.metadata.range(own.clone()..).take_while(|(key, _)| key.starts_with(&own));
        for (full, value) in keys {
            let key = &full[own.len()..];
            let number = match value {
                Value::Integer(number) => *number as f64,
                Value::Float(number) => *number,
                Value::Bool(flag) => f64::from(u8::from(*flag)),
                _ => f64::NAN,
            };
            let neutral = NEUTRAL.contains(&(key, number));
            if !READ.contains(&key) && !neutral {
                return Err(format!(
                    "metadata {} = {} is not known, and may change what the model computes",
                    shown(&Value::Text(full.clone())).replace('"', "'"),
                    shown(value)
                ));
            }
        }
        Ok(())
    }

    /// The keys of a `config.json` that says the same.
    pub(super) fn config(
        &self,
        architecture: Architecture,
        rope: serde_json::Value,
    ) -> Outcome<Map<String, serde_json::Value>> {
        self.check_known()?;
        let embedding = self.tensors.get("token_embd.weight");
        let vocab = embedding
            .and_then(|info| info.shape.first())
            .ok_or("no tensor 'token_embd.weight'; expected a whole model")?;
        let heads = self.size("attention.head_count")?;
        let positions = self.size("context_length")?;
        let has = |tensor: &str| self.tensors.contains_key(tensor);
        let window = self.whole("attention.sliding_window")?.filter(|window| *window > 0);
        let mut keys = Map::new();
        let mut put = |key: &str, value: serde_json::Value| keys.insert(key.to_string(), value);
        put("architectures", json!([architecture.class()]));
        put("hidden_size", self.size("embedding_length")?.into());
        put("intermediate_size", self.size("feed_forward_length")?.into());
        put("num_hidden_layers", self.size("block_count")?.into());
        put("num_attention_heads", heads.into());
        let kv_heads = self.whole("attention.head_count_kv")?;
        put("num_key_value_heads", kv_heads.unwrap_or(heads).into());
        put("head_dim", json!(self.whole("attention.key_length")?));
        put("vocab_size", (*vocab).into());
        put("max_position_embeddings", positions.into());
        put(
            "rms_norm_eps",
            json!(self.number(EPSILON)?.ok_or_else(|| self.wrong(EPSILON, "a number"))?),
        );
        put("rope_theta", json!(self.number("rope.freq_base")?.unwrap_or(10_000.0)));
        put("tie_word_embeddings", (!has("output.weight")).into());
        put("sliding_window", json!(window));
        // Where transformers looks for it in Phi-3.
        let original = rope.get("original_max_position_embeddings").cloned();
        if let (Architecture::Phi3, Some(original)) = (architecture, original) {
            put("original_max_position_embeddings", original);
        }
        put("rope_scaling", rope);
        let llama = matches!(architecture, Architecture::Llama | Architecture::SmolLm3);
        put("attention_bias", (llama && has("blk.0.attn_q.bias")).into());
        put("mlp_bias", (llama && has("blk.0.ffn_up.bias")).into());
        self.special_tokens(&mut keys)?;
        self.turned_channels(&mut keys)?;
        Ok(keys)
    }

    fn special_tokens(&self, keys: &mut Map<String, serde_json::Value>) -> Outcome<()> {
        let id = |key: &str| match self.metadata.get(&format!("tokenizer.ggml.{key}")) {
            Some(Value::Integer(id)) => u32::try_from(*id).ok(),
            _ => None,
        };
        keys.insert("bos_token_id".into(), json!(id("bos_token_id")));
        let mut ends: Vec<u32> =
            ["eos_token_id", "eot_token_id", "eom_token_id"].into_iter().filter_map(id).collect();
        ends.dedup();
        if !ends.is_empty() {
            keys.insert("eos_token_id".into(), json!(ends));
        }
        Ok(())
    }

    /// Channels of a head.
    fn head_dim(&self) -> Outcome<u64> {
        let derived = || -> Outcome<u64> {
            let heads = self.size("attention.head_count")?.max(1);
            Ok(self.size("embedding_length")? / heads)
        };
        self.whole("attention.key_length")?.map_or_else(derived, Ok)
    }

    /// Channels of a head that turn.
    pub(super) fn turned(&self) -> Outcome<usize> {
        let turned = self.whole("rope.dimension_count")?.map_or_else(|| self.head_dim(), Ok)?;
        match usize::try_from(turned) {
            Ok(turned @ 0..=0x10_0000) => Ok(turned),
            _ => Err(self.wrong("rope.dimension_count", "a number of channels")),
        }
    }

    /// llama.cpp may turn a part of a head's channels, and have values of another size than keys.
    fn turned_channels(&self, keys: &mut Map<String, serde_json::Value>) -> Outcome<()> {
        let dim = self.head_dim()?;
        if self.whole("attention.value_length")?.is_some_and(|length| length != dim) {
            return Err(self.wrong("attention.value_length", &format!("{dim}, as that of keys")));
        }
        match self.whole("rope.dimension_count")? {
            Some(turned) if turned != dim => {
                if turned == 0 || turned > dim {
                    return Err(self.wrong("rope.dimension_count", &format!("within 1..={dim}")));
                }
                let share = turned as f64 / dim as f64;
                keys.insert("partial_rotary_factor".into(), json!(share));
            }
            _ => {}
        }
        Ok(())
    }
}

/// The `f64` that is written like the `f32` that the file holds.
fn shortest(number: f64) -> f64 {
    (number as f32).to_string().parse().unwrap_or(number)
}
