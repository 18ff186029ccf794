//! The `config.json` of published checkpoints is accepted, and read as it is meant.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use s3d_model::ModelConfig;
use serde::Deserialize;
use serde_json::Value;
use std::path::Path;

#[derive(Deserialize)]
struct Published {
    name: String,
    config: Value,
    /// As its page on the Hub says, from the headers of its safetensors.
    parameters: u64,
    /// Its positions, or its sliding window.
    positions: usize,
    rope_theta: f64,
}

fn published() -> Vec<Published> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/published.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn configurations_of_published_checkpoints_are_read() {
    let all = published();
    assert!(all.len() > 12);
    for Published { name, config, parameters, positions, rope_theta } in all {
        let config =
            ModelConfig::from_json(&config.to_string()).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(config.parameters(), parameters, "{name}");
        assert_eq!(config.positions(), positions, "{name}");
        assert_eq!(config.rope_theta, rope_theta, "{name}");
    }
}

#[test]
fn parts_of_heads_and_of_layers_turn_where_a_model_says_so() {
    for Published { name, config, .. } in published() {
        let config = ModelConfig::from_json(&config.to_string()).unwrap();
        // source: Phi-4-mini turns 3/4 of 128 channels; SmolLM3 turns nothing in every fourth layer
        let turned = if name.contains("Phi-4") { 96 } else { config.head_dim() };
        assert_eq!(config.rotary_dim().unwrap(), turned, "{name}");
        let still = (0..config.num_hidden_layers).filter(|layer| !config.turns(*layer)).count();
        assert_eq!(still, if name.contains("SmolLM3") { 9 } else { 0 }, "{name}");
    }
}

#[test]
fn every_key_of_another_kind_or_name_is_refused_by_name() {
    let all = published();
    for Published { name, config, .. } in &all {
        let read = |change: &dyn Fn(&mut serde_json::Map<String, Value>)| {
            let mut config = config.as_object().unwrap().clone();
            change(&mut config);
            ModelConfig::from_json(&Value::Object(config).to_string())
        };
        let odd =
            read(&|keys| _ = keys.insert("attention_sink_size".into(), 4.into())).unwrap_err();
        assert!(odd.contains("attention_sink_size = 4 is not known"), "{name}: {odd}");
        for key in
            ["hidden_size", "rms_norm_eps", "tie_word_embeddings", "hidden_act", "model_type"]
        {
            let wrong = read(&|keys| _ = keys.insert(key.into(), vec![1].into())).unwrap_err();
            assert!(wrong.contains(key), "{name}: {wrong}");
        }
    }
}
