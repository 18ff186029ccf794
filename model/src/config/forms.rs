//! The forms of `config.json`: the older one, and the one transformers 5 writes, into one.

use super::ModelConfig;
use serde_json::{Map, Value};

impl ModelConfig {
    /// Reads the text of a `config.json` in either form and checks it.
    ///
    /// # Errors
    /// Says what is not as expected.
    pub fn from_json(text: &str) -> Result<Self, String> {
        let mut keys: Map<String, Value> = serde_json::from_str(text).map_err(|e| e.to_string())?;
        if keys.contains_key("dtype") {
            keys.remove("torch_dtype");
        }
        move_rope_parameters(&mut keys)?;
        // null means the default, as in Python
        keys.retain(|key, value| {
            !value.is_null() || matches!(key.as_str(), "bos_token_id" | "eos_token_id")
        });
        check_kinds(&keys)?;
        let config: Self =
            serde_json::from_value(Value::Object(keys)).map_err(|e| e.to_string())?;
        config.validate()?;
        Ok(config)
    }
}

/// Names the key whose value is of the wrong kind.
fn check_kinds(keys: &Map<String, Value>) -> Result<(), String> {
    const WHOLE: [&str; 8] = [
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "head_dim",
        "vocab_size",
        "max_position_embeddings",
    ];
    let refuse = |names: &[&str], what: &str, fits: fn(&Value) -> bool| {
        let wrong = keys.iter().find(|(key, value)| names.contains(&key.as_str()) && !fits(value));
        match wrong {
            Some((key, value)) => Err(format!("{key} must be {what}; found {value}")),
            None => Ok(()),
        }
    };
    refuse(&WHOLE, "a whole number", Value::is_u64)?;
    refuse(&["rms_norm_eps", "rope_theta"], "a number", Value::is_number)?;
    refuse(&["tie_word_embeddings"], "true or false", Value::is_boolean)
}

/// `rope_parameters` (transformers 5) becomes `rope_theta` and `rope_scaling`.
fn move_rope_parameters(keys: &mut Map<String, Value>) -> Result<(), String> {
    let mut rope = match keys.remove("rope_parameters") {
        None | Some(Value::Null) => return Ok(()),
        Some(Value::Object(rope)) if rope.values().any(Value::is_object) => {
            return Err(format!(
                "rope_parameters = {} differ from layer to layer, which is not supported",
                Value::Object(rope)
            ));
        }
        Some(Value::Object(rope)) => rope,
        Some(other) => return Err(format!("rope_parameters must be an object; found {other}")),
    };
    for key in ["rope_theta", "partial_rotary_factor"] {
        if let Some(value) = rope.remove(key) {
            keys.insert(key.into(), value);
        }
    }
    let kind = rope.get("rope_type").and_then(Value::as_str);
    let scaling = if kind == Some("default") { Value::Null } else { Value::Object(rope) };
    keys.insert("rope_scaling".into(), scaling);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: &str = r#""hidden_size":64,"intermediate_size":128,"num_hidden_layers":2,
        "num_attention_heads":4,"vocab_size":100"#;

    fn read(more: &str) -> Result<ModelConfig, String> {
        ModelConfig::from_json(&format!("{{{SIZES},{more}}}"))
    }

    #[test]
    fn both_forms_say_the_same() {
        let old = read(
            r#""rope_theta":500.0,"rope_scaling":{"rope_type":"linear","factor":2.0},"torch_dtype":"float16""#,
        );
        let new = read(
            r#""rope_parameters":{"rope_theta":500.0,"rope_type":"linear","factor":2.0},"dtype":"float16""#,
        );
        assert_eq!(old.unwrap(), new.unwrap());
        let both = read(r#""dtype":"float16","torch_dtype":"float32","rope_parameters":null"#);
        assert_eq!(both.unwrap().dtype.as_deref(), Some("float16"));
        let plain = read(r#""rope_parameters":{"rope_theta":7.0,"rope_type":"default"}"#).unwrap();
        assert_eq!((plain.rope_theta, plain.rope().unwrap().scale), (7.0, 1.0));
    }

    #[test]
    fn what_is_no_configuration_is_named() {
        for (text, word) in [
            (r#""rope_parameters":{"full_attention":{"rope_theta":1.0}}"#, "layer to layer"),
            (r#""rope_parameters":5"#, "object"),
            (r#""rope_theta":"big""#, "rope_theta must be a number; found \"big\""),
            (r#""vocab_size":-1"#, "vocab_size must be a whole number"),
            (r#""sliding_window":0"#, "sliding_window"),
            (r#""architectures":["GPT2LMHeadModel"]"#, "LlamaForCausalLM, MistralForCausalLM"),
            (r#""architectures":[]"#, "no text"),
            (r#""model_type":"gemma""#, "'gemma'"),
            (r#""hidden_act":"gelu""#, "silu"),
            (r#""mlp_bias":true"#, "mlp_bias"),
            (r#""quantization_config":{"quant_method":"awq"}"#, "GGUF"),
            (r#""partial_rotary_factor":0.75"#, "partial_rotary_factor"),
            (r#""num_key_value_heads":3"#, "multiple"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
        assert!(ModelConfig::from_json("[]").is_err());
    }

    #[test]
    fn texts_end_with_the_sliding_window_where_there_is_one() {
        let positions = |text: &str| read(text).unwrap().positions();
        assert_eq!(positions(r#""max_position_embeddings":50,"sliding_window":null"#), 50);
        assert_eq!(positions(r#""sliding_window":40"#), 40);
        assert_eq!(positions(r#""sliding_window":40,"use_sliding_window":false"#), 2048);
        assert_eq!(positions(r#""sliding_window":40,"layer_types":["full_attention"]"#), 2048);
        assert_eq!(positions(r#""sliding_window":40,"layer_types":["sliding_attention"]"#), 40);
    }
}
