//! The forms of `config.json`: the older one, and the one transformers 5 writes, into one.

use super::ModelConfig;
use super::architecture::Architecture;
use super::keys::{check, check_is_text_model, shown};
use super::rope::{PARAMETERS, RopeKind, check_parameters};
use serde_json::{Map, Value};

impl ModelConfig {
    /// Reads the text of a `config.json` in either form and checks it: every key of it is read,
    /// known to change nothing, or refused.
    ///
    /// # Errors
    /// Says what is not as expected.
    pub fn from_json(text: &str) -> Result<Self, String> {
        let mut keys: Map<String, Value> = serde_json::from_str(text).map_err(|e| e.to_string())?;
        check_is_text_model(&keys)?;
        Architecture::check_names(&keys)?;
        let architecture = Architecture::of(&keys)?;
        if keys.contains_key("dtype") {
            keys.remove("torch_dtype");
        }
        let mut notes = Vec::new();
        move_rope_parameters(&mut keys, architecture, &mut notes)?;
        architecture.fill_defaults(&mut keys);
        // null means none, as in Python
        keys.retain(|key, value| {
            !value.is_null() || matches!(key.as_str(), "bos_token_id" | "eos_token_id")
        });
        check(&keys)?;
        if keys.contains_key("auto_map") {
            notes.push(
                "auto_map: the remote code that it names is not run; the architecture is \
                 computed as transformers has it"
                    .into(),
            );
        }
        let config: Self =
            serde_json::from_value(Value::Object(keys)).map_err(|e| e.to_string())?;
        config.validate()?;
        notes.extend(config.limits());
        notes.extend(config.short_positions().map(|short| {
            format!(
                "long_factor is used from the start where prompt and output together may exceed \
                 {short} tokens; otherwise short_factor"
            )
        }));
        Ok(Self { notes, ..config })
    }

    /// What ends texts before the model's own positions.
    fn limits(&self) -> Option<String> {
        let (own, window) = (self.max_position_embeddings, self.sliding_window());
        let longest = self.positions();
        let why = match window {
            _ if longest == own => return None,
            Some(window) if window == longest => {
                "its sliding window, inside which attention is full"
            }
            _ => "its original length, because rotary factors for longer texts are missing",
        };
        Some(format!("positions: generation stops at {longest} of {own} tokens, {why}"))
    }
}

/// `rope_parameters` (transformers 5) and `rope_scaling` (older) become one `rope_scaling`;
/// `rope_theta` and `partial_rotary_factor`, which may stand in them, come out.
fn move_rope_parameters(
    keys: &mut Map<String, Value>,
    architecture: Architecture,
    notes: &mut Vec<String>,
) -> Result<(), String> {
    let new = take_parameters(keys, "rope_parameters", architecture)?;
    let old = take_parameters(keys, "rope_scaling", architecture)?;
    let mut rope = match (new, old) {
        (Some(new), Some(old)) if new != old => {
            return Err(format!(
                "rope_parameters = {} and rope_scaling = {} contradict each other; keep the one \
                 that the model was trained with",
                shown(&Value::Object(new)),
                shown(&Value::Object(old))
            ));
        }
        (Some(rope), _) | (None, Some(rope)) => rope,
        (None, None) => return Ok(()),
    };
    for key in ["rope_theta", "partial_rotary_factor"] {
        let Some(value) = rope.remove(key) else { continue };
        match keys.insert(key.into(), value.clone()) {
            Some(beside) if !beside.is_null() && beside.as_f64() != value.as_f64() => {
                notes.push(format!(
                    "{key} = {} beside the rotary parameters is not followed: they say {}",
                    shown(&beside),
                    shown(&value)
                ));
            }
            _ => {}
        }
    }
    take_original(keys, &mut rope, architecture, notes)?;
    let kind = RopeKind::of(&rope)?;
    if architecture == Architecture::Phi3 && !matches!(kind, RopeKind::Default | RopeKind::LongRope)
    {
        return Err(format!(
            "rope_scaling of rope_type {} is not known for {}; expected default or longrope",
            kind.name(),
            architecture.class()
        ));
    }
    for (key, value) in &rope {
        if !kind.reads(key) {
            notes.push(format!(
                "rope_scaling.{key} = {} is not followed: rope_type {} does not use it",
                shown(value),
                kind.name()
            ));
        }
    }
    let scaling = if kind == RopeKind::Default { Value::Null } else { Value::Object(rope) };
    keys.insert("rope_scaling".into(), scaling);
    Ok(())
}

/// The positions of the training stand beside the parameters or among them; transformers prefers
/// the former, and has a default for them in Phi-3.
fn take_original(
    keys: &Map<String, Value>,
    rope: &mut Map<String, Value>,
    architecture: Architecture,
    notes: &mut Vec<String>,
) -> Result<(), String> {
    const KEY: &str = "original_max_position_embeddings";
    let Some(beside) = keys.get(KEY).filter(|value| !value.is_null()) else {
        let within = rope.get(KEY).filter(|within| **within != 4096);
        return match within.filter(|_| architecture == Architecture::Phi3) {
            Some(within) => Err(format!(
                "{KEY} = {} stands among the rotary parameters alone, where transformers takes \
                 4096 for Phi-3; write it beside them too",
                shown(within)
            )),
            None => Ok(()),
        };
    };
    if let Some(within) = rope.insert(KEY.into(), beside.clone()).filter(|within| within != beside)
    {
        notes.push(format!(
            "{KEY} = {} among the rotary parameters is not followed: beside them stands {}",
            shown(&within),
            shown(beside)
        ));
    }
    Ok(())
}

/// The parameters under `name`, each of its kind, under the names of transformers 5; nothing where
/// there are none.
fn take_parameters(
    keys: &mut Map<String, Value>,
    name: &str,
    architecture: Architecture,
) -> Result<Option<Map<String, Value>>, String> {
    let mut rope = match keys.remove(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(rope)) => rope,
        Some(other) => return Err(format!("{name} must be an object; found {}", shown(&other))),
    };
    if rope.values().any(Value::is_object) {
        let rope = shown(&Value::Object(rope));
        return Err(format!("{name} = {rope} differ from layer to layer, which is not supported"));
    }
    rope.retain(|_, value| !value.is_null());
    if rope.is_empty() {
        return Ok(None);
    }
    check_parameters(name, &rope)?;
    if let Some(older) = rope.remove("type") {
        let newer = rope.entry("rope_type").or_insert_with(|| older.clone());
        if *newer != older {
            return Err(format!(
                "{name} says rope_type {} and type {}: expected one and the same",
                shown(newer),
                shown(&older)
            ));
        }
    }
    if architecture == Architecture::Phi3
        && rope.get("rope_type").is_some_and(|kind| kind == "yarn" || kind == "su")
    {
        rope.insert("rope_type".into(), "longrope".into());
    }
    let named = rope.keys().any(|key| key != "rope_theta" && key != "partial_rotary_factor");
    if !rope.contains_key("rope_type") {
        if named {
            return Err(format!(
                "{name} = {} names no rope_type; expected one of {PARAMETERS}",
                shown(&Value::Object(rope))
            ));
        }
        rope.insert("rope_type".into(), "default".into());
    }
    Ok(Some(rope))
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
            (r#""sliding_window":-1"#, "sliding_window must be a whole number; found -1"),
            (r#""attention_bias":"true""#, "attention_bias must be true or false"),
            (r#""hidden_act":["gelu"]"#, "hidden_act must be a text; found [\"gelu\"]"),
            (r#""tie_word_embeddings":1"#, "tie_word_embeddings must be true or false"),
            (r#""embedding_multiplier":12.0"#, "embedding_multiplier = 12.0 is not known"),
            (r#""rope_interleaved":true"#, "rope_interleaved = true is not supported"),
            (r#""rope_scaling":{"factor":4.0}"#, "names no rope_type"),
            (r#""rope_scaling":{"rope_type":"yarn","factor":4.0,"attn_factor":2}"#, "attn_factor"),
            (r#""rope_scaling":{"rope_type":"yarn","factor":"4"}"#, "factor must be a number"),
            (
                r#""rope_scaling":{"rope_type":"yarn","type":"linear","factor":4}"#,
                "one and the same",
            ),
            (
                r#""rope_scaling":{"type":"linear","factor":4},"rope_parameters":{"rope_type":"default"}"#,
                "contradict",
            ),
            (r#""model_type":"qwen2","architectures":["LlamaForCausalLM"]"#, "one and the same"),
            (r#""text_config":{"hidden_size":4}"#, "text_config"),
            (r#""layer_types":["chunked_attention","full_attention"]"#, "layer_types"),
            (r#""no_rope_layers":[1,0]"#, "no_rope_layers"),
            (r#""model_type":"phi3","mlp_bias":true"#, "mlp_bias"),
            (r#""architectures":["GPT2LMHeadModel"]"#, "LlamaForCausalLM, MistralForCausalLM"),
            (r#""architectures":[]"#, "no text"),
            (r#""model_type":"gemma""#, "'gemma'"),
            (r#""hidden_act":"gelu""#, "silu"),
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
        assert_eq!(
            positions(r#""sliding_window":40,"layer_types":["full_attention","full_attention"]"#),
            2048
        );
        assert_eq!(
            positions(
                r#""sliding_window":40,"layer_types":["full_attention","sliding_attention"]"#
            ),
            40
        );
    }

    #[test]
    fn what_a_file_leaves_out_is_as_its_architecture_has_it() {
        // source: the defaults of transformers 5.24: rms_norm_eps, rope_theta, positions and
        // tie_word_embeddings
        let cases = [
            ("llama", 1e-6, 1e4, 2048, false),
            ("mistral", 1e-6, 1e4, 4096, false), // its window; positions are 131072
            ("qwen2", 1e-6, 1e4, 32_768, false),
            ("qwen3", 1e-6, 1e4, 32_768, false),
            ("phi3", 1e-5, 1e4, 4096, false),
            ("smollm3", 1e-6, 2e6, 32_768, true),
        ];
        for (kind, epsilon, theta, positions, tied) in cases {
            let config =
                read(&format!(r#""model_type":"{kind}","num_key_value_heads":2"#)).unwrap();
            assert_eq!(config.rms_norm_eps, epsilon, "{kind}");
            assert_eq!(config.rope_theta, theta, "{kind}");
            assert_eq!(config.positions(), positions, "{kind}");
            assert_eq!(config.tie_word_embeddings, tied, "{kind}");
            assert_eq!(config.head_dim(), if kind == "qwen3" { 128 } else { 16 }, "{kind}");
        }
    }

    #[test]
    fn rotary_parameters_are_read_wherever_they_stand_and_what_is_passed_over_is_noted() {
        let within = read(r#""rope_scaling":{"rope_theta":5e5,"rope_type":"default"}"#).unwrap();
        assert_eq!((within.rope_theta, within.notes.len()), (5e5, 0));
        let both = read(r#""rope_theta":1e4,"rope_parameters":{"rope_theta":5e5}"#).unwrap();
        assert_eq!(both.rope_theta, 5e5);
        assert!(both.notes[0].contains("rope_theta = 10000.0"), "{:?}", both.notes);
        let same = r#"{"rope_type":"linear","factor":2.0}"#;
        let twice = read(&format!(r#""rope_scaling":{same},"rope_parameters":{same}"#)).unwrap();
        assert_eq!(twice.rope().unwrap().frequencies[0], 0.5);
        let idle = read(r#""rope_scaling":{"type":"linear","factor":2.0,"beta_fast":3}"#).unwrap();
        assert!(idle.notes[0].contains("beta_fast"), "{:?}", idle.notes);
        let code = read(r#""auto_map":{"AutoModelForCausalLM":"modeling.Model"}"#).unwrap();
        assert!(code.notes[0].contains("auto_map"), "{:?}", code.notes);
    }

    #[test]
    fn an_error_is_one_short_line_whatever_the_file_holds() {
        let long = format!(r#""norm_kind":"{}\u001b[31m\u202e""#, "x".repeat(5000));
        let error = read(&long).unwrap_err();
        assert!(error.len() < 300 && error.chars().all(|c| !c.is_control()), "{error}");
        let error = read(r#""a\u001b\u202eb":1"#).unwrap_err();
        assert!(error.chars().all(|c| c.is_ascii_graphic() || c == ' '), "{error}");
    }
}
