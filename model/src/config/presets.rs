//! Geometries of well-known models, for timing without their weights: latency depends on shapes
//! alone.
//!
//! Sizes are those of the published `config.json` files. What changes no product is left out: the
//! norms of queries and keys in Qwen3, the biases of Qwen2.5's attention, rotary angles of a part
//! of each head in Phi-4 mini, and the stretched ones of long contexts. Every geometry has
//! [`MASKS`] mask embeddings, as if it had been trained for simultaneous drafting.

use crate::config::ModelConfig;
use crate::config::S3dConfig;
use crate::error::{Error, Result};

/// Mask embeddings of a geometry: up to 8 tokens drafted at once.
pub const MASKS: usize = 7;

/// The geometries by name.
pub const NAMES: [&str; 14] = [
    "smollm2-135m",
    "qwen2.5-0.5b",
    "tinyllama-1.1b",
    "llama-3.2-1b",
    "qwen2.5-1.5b",
    "llama-3.2-3b",
    "phi-3-mini",
    "phi-4-mini",
    "qwen3-4b",
    "llama-2-7b",
    "mistral-7b",
    "qwen2.5-7b",
    "llama-3-8b",
    "llama-2-13b",
];

/// Sizes in the order of `config.json`.
struct Sizes {
    hidden: usize,
    intermediate: usize,
    layers: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    vocab: usize,
    theta: f64,
    tied: bool,
    positions: usize,
}

/// The geometry `name`; nothing where there is none of this name.
pub fn preset(name: &str) -> Option<ModelConfig> {
    let mut sizes = Sizes {
        hidden: 4096,
        intermediate: 11_008,
        layers: 32,
        heads: 32,
        kv_heads: 32,
        head_dim: 128,
        vocab: 32_000,
        theta: 10_000.0,
        tied: false,
        positions: 4096,
    };
    match name {
        "llama-2-7b" => {}
        "llama-2-13b" => {
            (sizes.hidden, sizes.intermediate) = (5120, 13_824);
            (sizes.layers, sizes.heads, sizes.kv_heads) = (40, 40, 40);
        }
        "llama-3-8b" => {
            (sizes.intermediate, sizes.kv_heads, sizes.vocab) = (14_336, 8, 128_256);
            (sizes.theta, sizes.positions) = (500_000.0, 8192);
        }
        "phi-3-mini" => {
            (sizes.hidden, sizes.intermediate) = (3072, 8192);
            (sizes.head_dim, sizes.vocab) = (96, 32_064);
        }
        "qwen3-4b" => {
            (sizes.hidden, sizes.intermediate, sizes.layers) = (2560, 9728, 36);
            (sizes.kv_heads, sizes.vocab, sizes.tied) = (8, 151_936, true);
            (sizes.theta, sizes.positions) = (1_000_000.0, 32_768);
        }
        "tinyllama-1.1b" => {
            (sizes.hidden, sizes.intermediate, sizes.layers) = (2048, 5632, 22);
            (sizes.kv_heads, sizes.head_dim, sizes.positions) = (4, 64, 2048);
        }
        _ => return small(name, sizes),
    }
    Some(config(&sizes))
}

/// The geometries of later families.
fn small(name: &str, mut sizes: Sizes) -> Option<ModelConfig> {
    let (widths, heads, vocab) = match name {
        "smollm2-135m" => ((576, 1536, 30), (9, 3, 64), 49_152),
        "qwen2.5-0.5b" => ((896, 4864, 24), (14, 2, 64), 151_936),
        "qwen2.5-1.5b" => ((1536, 8960, 28), (12, 2, 128), 151_936),
        "qwen2.5-7b" => ((3584, 18_944, 28), (28, 4, 128), 152_064),
        "llama-3.2-1b" => ((2048, 8192, 16), (32, 8, 64), 128_256),
        "llama-3.2-3b" => ((3072, 8192, 28), (24, 8, 128), 128_256),
        "mistral-7b" => ((4096, 14_336, 32), (32, 8, 128), 32_768),
        "phi-4-mini" => ((3072, 8192, 32), (24, 8, 128), 200_064),
        _ => return None,
    };
    (sizes.hidden, sizes.intermediate, sizes.layers) = widths;
    (sizes.heads, sizes.kv_heads, sizes.head_dim) = heads;
    sizes.vocab = vocab;
    sizes.tied = !matches!(name, "qwen2.5-7b" | "mistral-7b");
    (sizes.theta, sizes.positions) = match name {
        "smollm2-135m" => (100_000.0, 8192),
        "phi-4-mini" => (10_000.0, 4096),
        "llama-3.2-1b" | "llama-3.2-3b" => (500_000.0, 8192),
        _ => (1_000_000.0, 32_768),
    };
    Some(config(&sizes))
}

fn config(sizes: &Sizes) -> ModelConfig {
    ModelConfig {
        hidden_size: sizes.hidden,
        intermediate_size: sizes.intermediate,
        num_hidden_layers: sizes.layers,
        num_attention_heads: sizes.heads,
        num_key_value_heads: Some(sizes.kv_heads),
        head_dim: Some(sizes.head_dim),
        vocab_size: sizes.vocab,
        rope_theta: sizes.theta,
        tie_word_embeddings: sizes.tied,
        max_position_embeddings: sizes.positions,
        s3d: Some(S3dConfig { masks: MASKS, ..S3dConfig::default() }),
        ..ModelConfig::story()
    }
}

/// The same geometry with the first `layers` layers only.
///
/// # Errors
/// When it has fewer, or none are asked for.
pub fn cut(mut config: ModelConfig, layers: usize) -> Result<ModelConfig> {
    if layers == 0 || layers > config.num_hidden_layers {
        return Err(Error::invalid(format!(
            "expected 1 to {} layers, found {layers}",
            config.num_hidden_layers
        )));
    }
    config.num_hidden_layers = layers;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn geometries_have_the_published_number_of_parameters() {
        // source: the models' cards; Llama 2: 6,738,415,616 and 13,015,864,320; Llama 3:
        // 8,030,261,248; Phi-3 mini: 3,821,079,552; TinyLlama: 1,100,048,384; Qwen3-4B:
        // 4,022,468,096, of which 36 x 2 x 128 are norms of queries and keys. Of the others by the
        // same cards: Qwen2.5 494,032,768, 1,543,714,304 and 7,615,616,512, of which every layer
        // has a bias of queries, keys and values; Llama 3.2 1,235,814,400 and 3,212,749,824;
        // SmolLM2 134,515,008; Mistral 7B v0.3 7,248,023,552; Phi-4 mini 3,836,021,760
        let biases =
            |layers: usize, heads: usize, head_dim: usize| (layers * heads * head_dim) as u64;
        for (name, published) in [
            ("smollm2-135m", 134_515_008),
            ("llama-3.2-1b", 1_235_814_400),
            ("llama-3.2-3b", 3_212_749_824),
            ("qwen2.5-0.5b", 494_032_768 - biases(24, 14 + 2 * 2, 64)),
            ("qwen2.5-1.5b", 1_543_714_304 - biases(28, 12 + 2 * 2, 128)),
            ("qwen2.5-7b", 7_615_616_512 - biases(28, 28 + 2 * 4, 128)),
            ("mistral-7b", 7_248_023_552),
            ("phi-4-mini", 3_836_021_760),
            ("llama-2-7b", 6_738_415_616),
            ("llama-2-13b", 13_015_864_320),
            ("llama-3-8b", 8_030_261_248),
            ("phi-3-mini", 3_821_079_552),
            ("tinyllama-1.1b", 1_100_048_384),
            ("qwen3-4b", 4_022_468_096 - 36 * 2 * 128),
        ] {
            let mut shape = preset(name).unwrap().shape();
            shape.masks = 0;
            assert_eq!(shape.parameters(), published, "{name}");
        }
        assert!(NAMES.iter().all(|name| preset(name).is_some()) && preset("gpt-5").is_none());
        let seven = || preset("llama-2-7b").unwrap();
        assert_eq!(cut(seven(), 8).unwrap().num_hidden_layers, 8);
        assert!(cut(seven(), 0).is_err() && cut(seven(), 33).is_err());
    }
}
