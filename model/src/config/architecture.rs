//! The families of decoders that this engine runs, and in what they differ from Llama.

use super::ModelConfig;
use super::keys::shown;
use serde_json::{Map, Value, json};

/// A family of decoders with RMSNorm, rotary positions and SwiGLU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Architecture {
    /// Llama 2 and 3; biases where `attention_bias` and `mlp_bias` say so.
    Llama,
    /// As Llama; may have a sliding window.
    Mistral,
    /// Biases on queries, keys and values.
    Qwen2,
    /// RMSNorm of every query and key head.
    Qwen3,
    /// Queries, keys and values in one matrix, gate and up projection in another; may turn a part
    /// of each head only.
    Phi3,
    /// As Llama; some layers turn nothing.
    SmolLm3,
}

/// Each family with its class name and its `model_type`.
const KNOWN: [(Architecture, &str, &str); 6] = [
    (Architecture::Llama, "LlamaForCausalLM", "llama"),
    (Architecture::Mistral, "MistralForCausalLM", "mistral"),
    (Architecture::Qwen2, "Qwen2ForCausalLM", "qwen2"),
    (Architecture::Qwen3, "Qwen3ForCausalLM", "qwen3"),
    (Architecture::Phi3, "Phi3ForCausalLM", "phi3"),
    (Architecture::SmolLm3, "SmolLM3ForCausalLM", "smollm3"),
];

impl Architecture {
    /// The architecture that a configuration names, by its class before its `model_type`; Llama
    /// where it names none.
    pub(super) fn of(keys: &Map<String, Value>) -> Result<Self, String> {
        let [class, kind] = Self::named(keys)?;
        Ok(class.or(kind).unwrap_or(Self::Llama))
    }

    /// Refuses a class and a `model_type` that are not of one family.
    pub(super) fn check_names(keys: &Map<String, Value>) -> Result<(), String> {
        match Self::named(keys)? {
            [Some(class), Some(kind)] if class != kind => Err(format!(
                "architectures says {} and model_type says {}: expected one and the same",
                class.class(),
                kind.model_type()
            )),
            _ => Ok(()),
        }
    }

    /// What the class says, and what `model_type` says.
    fn named(keys: &Map<String, Value>) -> Result<[Option<Self>; 2], String> {
        let known = |key: &str, value: &Value| {
            let name = value.as_str().unwrap_or("(no text)");
            let known = KNOWN.iter().find(|(_, class, kind)| {
                name.eq_ignore_ascii_case(class) || key == "model_type" && name == *kind
            });
            known.map(|(architecture, ..)| *architecture).ok_or_else(|| {
                let all: Vec<&str> = KNOWN.iter().map(|(_, class, _)| *class).collect();
                let name = shown(&Value::from(name)).replace('"', "");
                format!(
                    "architecture '{name}' is not supported ({key}); expected one of {}",
                    all.join(", ")
                )
            })
        };
        let given = |key: &str| keys.get(key).filter(|value| !value.is_null());
        let class = given("architectures").map(|all| all.get(0).unwrap_or(&Value::Null));
        let class = class.map(|class| known("architectures", class)).transpose()?;
        let kind = given("model_type").map(|kind| known("model_type", kind)).transpose()?;
        Ok([class, kind])
    }

    /// The family of a `model_type`.
    pub(crate) fn from_model_type(name: &str) -> Option<Self> {
        KNOWN.iter().find(|(.., kind)| *kind == name).map(|(architecture, ..)| *architecture)
    }

    /// The name of the class in `config.json`.
    pub(crate) fn class(self) -> &'static str {
        self.names().0
    }

    /// The name under `model_type`.
    pub(crate) fn model_type(self) -> &'static str {
        self.names().1
    }

    fn names(self) -> (&'static str, &'static str) {
        let known = KNOWN.iter().find(|(architecture, ..)| *architecture == self);
        known.map_or(("", ""), |(_, class, kind)| (*class, *kind))
    }

    /// The names under `model_type`.
    pub(crate) fn model_types() -> String {
        let all: Vec<&str> = KNOWN.iter().map(|(.., kind)| *kind).collect();
        all.join(", ")
    }

    /// Writes what a file leaves out, as the configuration classes of transformers 5 have it.
    /// `null` stands for these too, but for a size that is derived then, and for a window that is
    /// none then.
    pub(super) fn fill_defaults(self, keys: &mut Map<String, Value>) {
        let smol = self == Self::SmolLm3;
        let positions = match self {
            Self::Llama => 2048,
            Self::Mistral => 131_072,
            Self::Qwen2 | Self::Qwen3 | Self::SmolLm3 => 32_768,
            Self::Phi3 => 4096,
        };
        let epsilon = if self == Self::Phi3 { 1e-5 } else { 1e-6 };
        let mut put = |key: &str, value: Value| {
            let slot = keys.entry(key).or_insert(Value::Null);
            if slot.is_null() {
                *slot = value;
            }
        };
        put("rms_norm_eps", json!(epsilon));
        put("rope_theta", json!(if smol { 2_000_000.0 } else { 10_000.0 }));
        put("max_position_embeddings", json!(positions));
        put("tie_word_embeddings", json!(smol));
        if self == Self::Phi3 {
            put("original_max_position_embeddings", json!(4096));
        }
        let mut put = |key: &str, value: u64| {
            keys.entry(key).or_insert(value.into());
        };
        match self {
            Self::Mistral => {
                put("num_key_value_heads", 8);
                put("sliding_window", 4096);
            }
            Self::Qwen2 => put("num_key_value_heads", 32),
            Self::Qwen3 => {
                put("num_key_value_heads", 32);
                put("head_dim", 128);
            }
            Self::SmolLm3 => put("num_key_value_heads", 4),
            Self::Llama | Self::Phi3 => {}
        }
    }

    /// Whether a sliding window needs `use_sliding_window` to be one.
    fn window_is_asked_for(self) -> bool {
        matches!(self, Self::Qwen2 | Self::Qwen3 | Self::SmolLm3)
    }
}

/// What the layers of a model have besides their matrices and norms.
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
    /// Gate, up and down projection have a bias.
    pub mlp_bias: bool,
}

impl ModelConfig {
    /// Its architecture.
    ///
    /// # Errors
    /// When it is unknown.
    pub(super) fn architecture(&self) -> Result<Architecture, String> {
        Architecture::of(&self.other)
    }

    /// The name of the architecture's class; Llama's where the file says nothing.
    pub fn class(&self) -> &'static str {
        self.architecture().map_or("", Architecture::class)
    }

    /// What the layers of this model have besides their matrices and norms.
    ///
    /// # Errors
    /// When the architecture is unknown, or has no such parts.
    pub fn attention_parts(&self) -> Result<AttentionParts, String> {
        use Architecture::{Llama, Phi3, Qwen2, Qwen3, SmolLm3};
        let architecture = self.architecture()?;
        let wanted = |key: &str, by: &[Architecture]| match self.flag(key) {
            true if !by.contains(&architecture) => Err(format!(
                "{key} = true is not supported for {}; expected null or false",
                architecture.class()
            )),
            wanted => Ok(wanted),
        };
        // Qwen2 has its biases whatever the key says.
        let bias = wanted("attention_bias", &[Llama, Qwen2, Qwen3, SmolLm3])?;
        let mlp_bias = wanted("mlp_bias", &[Llama, SmolLm3])?;
        Ok(AttentionParts {
            qkv_bias: architecture == Qwen2 || bias,
            out_bias: bias && architecture != Qwen2,
            head_norms: architecture == Qwen3,
            fused: architecture == Phi3,
            mlp_bias,
        })
    }

    /// Whether a key of the file is `true`.
    pub(super) fn flag(&self, key: &str) -> bool {
        self.other.get(key) == Some(&Value::Bool(true))
    }

    /// A whole number of the file.
    pub(super) fn whole(&self, key: &str) -> Option<usize> {
        let number = self.other.get(key)?.as_u64()?;
        Some(usize::try_from(number).unwrap_or(usize::MAX))
    }

    /// Whether layer `number` turns its queries and keys.
    pub fn turns(&self, number: usize) -> bool {
        if self.architecture() != Ok(Architecture::SmolLm3) {
            return true;
        }
        match self.other.get("no_rope_layers").and_then(Value::as_array) {
            // 1 where it turns, for all the key's name.
            Some(layers) => layers.get(number).is_none_or(|turns| *turns != json!(0)),
            None => {
                let every = self.whole("no_rope_layer_interval").unwrap_or(4);
                !(number + 1).is_multiple_of(every.max(1))
            }
        }
    }

    /// Whether every layer turns all of every head.
    pub fn turns_all(&self) -> bool {
        let heads = self.rotary_dim().is_ok_and(|dim| dim == self.head_dim());
        heads && (0..self.num_hidden_layers).all(|layer| self.turns(layer))
    }

    /// The sliding window, in tokens, where some layer uses one.
    pub fn sliding_window(&self) -> Option<usize> {
        let window = self.whole("sliding_window")?;
        let asked = self.architecture().is_ok_and(Architecture::window_is_asked_for);
        let layers = self.other.get("layer_types").and_then(Value::as_array);
        let full_below = self.whole("max_window_layers").filter(|_| asked);
        let used = match (self.other.get("use_sliding_window"), layers) {
            (Some(Value::Bool(false)), _) => false,
            (None, _) if asked => false,
            (_, Some(layers)) => layers.iter().any(|kind| kind == "sliding_attention"),
            _ => full_below.is_none_or(|full| full < self.num_hidden_layers),
        };
        used.then_some(window)
    }

    /// The longest text this engine decodes, in tokens: the model's positions, but no more than its
    /// sliding window (a text within the window sees all of itself) and, with longrope that has no
    /// factors for long texts, no more than it was trained on.
    pub fn positions(&self) -> usize {
        let window = self.sliding_window().unwrap_or(usize::MAX);
        let longest = self.max_position_embeddings.min(window);
        match self.rope_for(longest).ok().and_then(|rope| rope.limit) {
            Some(limit) => longest.min(limit),
            None => longest,
        }
    }
}
