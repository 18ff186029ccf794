//! The keys of a `config.json`: which are read, of which kind their values are, and which may stand
//! there unread. Any other key may change what the model computes, and is refused by name.

use serde_json::{Map, Value};

/// What a value has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Whole,
    Number,
    Flag,
    Text,
    Texts,
    Wholes,
    Object,
}

impl Kind {
    fn fits(self, value: &Value) -> bool {
        let all =
            |fits: fn(&Value) -> bool| value.as_array().is_some_and(|all| all.iter().all(fits));
        match self {
            Self::Whole => value.is_u64(),
            Self::Number => value.is_number(),
            Self::Flag => value.is_boolean(),
            Self::Text => value.is_string(),
            Self::Texts => all(Value::is_string),
            Self::Wholes => all(Value::is_u64),
            Self::Object => value.is_object(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Whole => "a whole number",
            Self::Number => "a number",
            Self::Flag => "true or false",
            Self::Text => "a text",
            Self::Texts => "a list of texts",
            Self::Wholes => "a list of whole numbers",
            Self::Object => "an object",
        }
    }
}

/// The keys that are read, besides token ids, number type and rotary parameters.
const READ: [(&str, Kind); 28] = [
    ("hidden_size", Kind::Whole),
    ("intermediate_size", Kind::Whole),
    ("num_hidden_layers", Kind::Whole),
    ("num_attention_heads", Kind::Whole),
    ("num_key_value_heads", Kind::Whole),
    ("head_dim", Kind::Whole),
    ("vocab_size", Kind::Whole),
    ("max_position_embeddings", Kind::Whole),
    ("original_max_position_embeddings", Kind::Whole),
    ("sliding_window", Kind::Whole),
    ("max_window_layers", Kind::Whole),
    ("no_rope_layer_interval", Kind::Whole),
    ("no_rope_layers", Kind::Wholes),
    ("layer_types", Kind::Texts),
    ("rms_norm_eps", Kind::Number),
    ("rope_theta", Kind::Number),
    ("partial_rotary_factor", Kind::Number),
    ("tie_word_embeddings", Kind::Flag),
    ("attention_bias", Kind::Flag),
    ("mlp_bias", Kind::Flag),
    ("use_sliding_window", Kind::Flag),
    ("hidden_act", Kind::Text),
    ("dtype", Kind::Text),
    ("torch_dtype", Kind::Text),
    ("model_type", Kind::Text),
    ("architectures", Kind::Texts),
    ("rope_scaling", Kind::Object),
    ("s3d", Kind::Object),
];

/// Keys that say nothing about what the model computes, or that are read elsewhere.
const HARMLESS: [&str; 61] = [
    // About the file and its making.
    "auto_map",
    "transformers_version",
    "name_or_path",
    "is_llama_config",
    "unsloth_version",
    "unsloth_fixed",
    "unsloth_tokenizer_class",
    "model_name",
    "transformers.js_config",
    "axolotl_config",
    "pretraining_tp",
    "finetuning_task",
    "task_specific_params",
    "problem_type",
    "id2label",
    "label2id",
    "num_labels",
    // Of training.
    "initializer_range",
    "resid_pdrop",
    "embd_pdrop",
    "hidden_dropout_prob",
    "gradient_checkpointing",
    "use_reentrant",
    // How to run, not what.
    "use_cache",
    "use_flash_attn",
    "use_flash_attention",
    "attn_implementation",
    "low_cpu_mem_usage",
    "torchscript",
    "return_dict",
    "use_return_dict",
    "output_attentions",
    "output_hidden_states",
    "chunk_size_feed_forward",
    "use_bfloat16",
    "is_decoder",
    "tie_encoder_decoder",
    // Of the tokenizer.
    "tokenizer_class",
    "tokenizer_model_max_length",
    "tokenizer_padding_side",
    "max_sequence_length",
    "model_max_length",
    "prefix",
    // Of generation, as older files have them.
    "max_length",
    "max_new_tokens",
    "min_length",
    "do_sample",
    "temperature",
    "top_k",
    "top_p",
    "typical_p",
    "num_beams",
    "num_beam_groups",
    "num_return_sequences",
    "early_stopping",
    "length_penalty",
    "repetition_penalty",
    "diversity_penalty",
    "no_repeat_ngram_size",
    "bad_words_ids",
    "remove_invalid_values",
];

/// Whether a value is one that a key may have.
pub(super) type Fits = fn(&Value) -> bool;

/// Keys of features that are not supported, each with the values under which it is off.
const OFF: [(&str, Fits); 12] = [
    ("rope_interleaved", is_false),
    ("rope_traditional", is_false),
    ("use_mrope", is_false),
    ("lm_head_bias", is_false),
    ("qk_layernorm", is_false),
    ("use_qk_norm", is_false),
    ("is_encoder_decoder", is_false),
    ("add_cross_attention", is_false),
    ("output_scores", is_false),
    // Phi-4-mini: attention in every layer, positions as they are.
    ("full_attn_mod", is_one),
    ("interpolate_factor", is_one),
    ("pruned_heads", is_empty),
];

/// Whether a key may stand there unread: one of the list, a private one, or one of tokens or
/// training.
fn is_harmless(key: &str) -> bool {
    HARMLESS.contains(&key)
        || key.starts_with('_')
        || key.ends_with("_token_id")
        || key.ends_with("_dropout")
}

fn is_false(value: &Value) -> bool {
    *value == Value::Bool(false)
}

fn is_one(value: &Value) -> bool {
    value.as_f64() == Some(1.0)
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}

/// A value as messages show it: on one line, without control characters, and no longer than 80
/// characters.
pub(super) fn shown(value: &Value) -> String {
    let text = value.to_string();
    let mut short: String = text.chars().take(80).flat_map(visible).collect();
    if text.chars().nth(80).is_some() {
        short.push_str("...");
    }
    short
}

/// Letters, digits and plain marks as they are, all else escaped.
fn visible(c: char) -> Vec<char> {
    match c.is_ascii_graphic() || c == ' ' || c.is_alphanumeric() {
        true => vec![c],
        false => c.escape_unicode().collect(),
    }
}

/// A key as messages show it.
pub(super) fn shown_key(key: &str) -> String {
    shown(&Value::from(key)).trim_matches('"').to_string()
}

/// Names the key whose value is of the wrong kind, or that is not known.
pub(super) fn check(keys: &Map<String, Value>) -> Result<(), String> {
    if let Some(value) = keys.get("quantization_config") {
        return Err(format!(
            "quantization_config = {} is not supported; fetch the unquantized checkpoint, or a \
             GGUF file",
            shown(value)
        ));
    }
    for (key, value) in keys {
        if let Some((_, kind)) = READ.iter().find(|(name, _)| name == key) {
            if !kind.fits(value) && !value.is_null() {
                return Err(format!("{key} must be {}; found {}", kind.name(), shown(value)));
            }
        } else if let Some((_, is_off)) = OFF.iter().find(|(name, _)| name == key) {
            if !is_off(value) && !value.is_null() {
                return Err(format!("{key} = {} is not supported", shown(value)));
            }
        } else if !is_harmless(key) && !value.is_null() {
            return Err(format!(
                "key {} = {} is not known, and may change what the model computes; take it out \
                 of the file if it does not",
                shown_key(key),
                shown(value)
            ));
        }
    }
    Ok(())
}

/// Names what a folder holds that is no language model by itself.
pub(super) fn check_is_text_model(keys: &Map<String, Value>) -> Result<(), String> {
    const PARTS: [&str; 5] =
        ["text_config", "vision_config", "llm_config", "language_config", "audio_config"];
    let part = PARTS.iter().find(|part| keys.get(**part).is_some_and(Value::is_object));
    if let Some(part) = part {
        return Err(format!(
            "a model of several parts ({part}), such as one that reads images too; expected a \
             language model alone: save its text part as a checkpoint of its own, or take the \
             text-only release"
        ));
    }
    if keys.contains_key("peft_type") {
        return Err(
            "an adapter's configuration (peft_type); expected a whole model: merge the adapter \
             into its base model first (merge_and_unload of peft) and save that"
                .into(),
        );
    }
    Ok(())
}
