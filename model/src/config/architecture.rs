//! The families of decoders that this engine runs, and in what they differ from Llama.

use super::ModelConfig;
use serde_json::Value;

/// A family of decoders with RMSNorm, rotary positions and SwiGLU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// Llama 2 and 3; biases where `attention_bias` says so.
    Llama,
    /// As Llama; may have a sliding window.
    Mistral,
    /// Biases on queries, keys and values.
    Qwen2,
    /// RMSNorm of every query and key head.
    Qwen3,
    /// Queries, keys and values in one matrix, gate and up projection in another.
    Phi3,
}

/// Each family with its class name and its `model_type`.
const KNOWN: [(Architecture, &str, &str); 5] = [
    (Architecture::Llama, "LlamaForCausalLM", "llama"),
    (Architecture::Mistral, "MistralForCausalLM", "mistral"),
    (Architecture::Qwen2, "Qwen2ForCausalLM", "qwen2"),
    (Architecture::Qwen3, "Qwen3ForCausalLM", "qwen3"),
    (Architecture::Phi3, "Phi3ForCausalLM", "phi3"),
];

impl Architecture {
    /// The architecture that a configuration names; Llama where it names none.
    pub(super) fn of(config: &ModelConfig) -> Result<Self, String> {
        let class = match config.other.get("architectures") {
            None | Some(Value::Null) => None,
            Some(classes) => Some(classes.get(0).and_then(Value::as_str).unwrap_or("(no text)")),
        };
        let kind = config.other.get("model_type").and_then(Value::as_str);
        let Some(name) = class.or(kind) else { return Ok(Self::Llama) };
        let known = KNOWN.iter().find(|(_, class, kind)| name == *class || name == *kind);
        known.map(|(architecture, ..)| *architecture).ok_or_else(|| {
            let all: Vec<&str> = KNOWN.iter().map(|(_, class, _)| *class).collect();
            format!("architecture '{name}' is not supported; expected one of {}", all.join(", "))
        })
    }

    /// The family of a `model_type`.
    pub fn from_model_type(name: &str) -> Option<Self> {
        KNOWN.iter().find(|(.., kind)| *kind == name).map(|(architecture, ..)| *architecture)
    }

    /// The name of the class in `config.json`.
    pub fn class(self) -> &'static str {
        KNOWN
            .iter()
            .find(|(architecture, ..)| *architecture == self)
            .map_or("", |(_, class, _)| class)
    }

    /// The names under `model_type`.
    pub fn model_types() -> String {
        let all: Vec<&str> = KNOWN.iter().map(|(.., kind)| *kind).collect();
        all.join(", ")
    }
}

/// What an attention sub-layer has besides its four matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttentionParts {
    /// Queries, keys and values have a bias.
    pub qkv_bias: bool,
    /// The output projection has a bias.
    pub out_bias: bool,
    /// Every query and key head is normalised.
    pub head_norms: bool,
    /// Queries, keys and values are one matrix in the file; gate and up projection too.
    pub fused: bool,
}

impl ModelConfig {
    /// The name of the architecture's class; Llama's where the file says nothing.
    pub fn class(&self) -> &'static str {
        Architecture::of(self).map_or("", Architecture::class)
    }

    /// What the attention of this model has besides its matrices.
    ///
    /// # Errors
    /// When the architecture is unknown.
    pub fn attention_parts(&self) -> Result<AttentionParts, String> {
        let architecture = Architecture::of(self)?;
        let wanted = self.flag("attention_bias");
        let may_have = matches!(architecture, Architecture::Llama | Architecture::Qwen3);
        Ok(AttentionParts {
            qkv_bias: architecture == Architecture::Qwen2 || may_have && wanted,
            out_bias: may_have && wanted,
            head_norms: architecture == Architecture::Qwen3,
            fused: architecture == Architecture::Phi3,
        })
    }

    /// Whether a key of the file is `true`.
    pub(super) fn flag(&self, key: &str) -> bool {
        self.other.get(key) == Some(&Value::Bool(true))
    }

    /// The sliding window, in tokens, where some layer uses one.
    fn sliding_window(&self) -> Option<usize> {
        let window = self.other.get("sliding_window")?.as_u64()?;
        let layers = self.other.get("layer_types").and_then(Value::as_array);
        let used = match (self.other.get("use_sliding_window"), layers) {
            (Some(Value::Bool(used)), _) => *used,
            (_, Some(layers)) => layers.iter().any(|kind| kind == "sliding_attention"),
            _ => true,
        };
        used.then(|| usize::try_from(window).unwrap_or(usize::MAX))
    }

    /// The longest text this engine decodes, in tokens: the model's positions, but no more than its
    /// sliding window (a text within the window sees all of itself) and, with longrope, no more than
    /// it was trained on (beyond, all earlier keys would have to be turned again).
    pub fn positions(&self) -> usize {
        let window = self.sliding_window().unwrap_or(usize::MAX);
        let longrope = self.rope().ok().and_then(|rope| rope.limit).unwrap_or(usize::MAX);
        self.max_position_embeddings.min(window).min(longrope)
    }
}
