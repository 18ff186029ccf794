//! Beside candle-transformers' Llama on the same weights: plain decoding and a pass of width 5.
//!
//! `cargo bench --workspace --bench candle_transformers -- [geometry] [layers] [repeats]`; f32, 2
//! threads, context 64, medians and minima over interleaved repeats. candle-transformers computes
//! the logits of a pass's last token only, s3d those of all.
#![expect(clippy::print_stdout, reason = "a benchmark prints")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::llama::{Cache, Config, Llama};
use s3d_model::weights::{Seeded, WeightSource};
use s3d_model::{Error, LoadOptions, Model, ModelConfig, Result, Silent, presets};
use std::collections::HashMap;
use std::hint::black_box;
use std::time::Instant;

const CONTEXT: usize = 64;
const THREADS: usize = 2;
const WIDTHS: [usize; 2] = [1, 5];
const SEED: u64 = 1;

fn main() -> Result<()> {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let number =
        |i: usize, default| arguments.get(i).and_then(|a| a.parse().ok()).unwrap_or(default);
    let name = arguments.first().map_or("tinyllama-1.1b", String::as_str);
    let (layers, repeats) = (number(1, 8), number(2, 20));
    let geometry = presets::preset(name).ok_or_else(|| Error::invalid(format!("no {name}")))?;
    let config = presets::cut(geometry, layers)?;
    let options = LoadOptions { threads: THREADS, ..LoadOptions::default() };
    let ours = Model::geometry(name, &config, SEED, &options)?;
    let theirs = stock(&config)?;
    println!("{name}, {layers} layers, f32, {THREADS} threads, context {CONTEXT}");

    let prompt: Vec<u32> = (0..CONTEXT as u32).collect();
    let mut cache = ours.new_cache(CONTEXT + 8)?;
    ours.prompt_pass(&prompt, &mut cache, &mut Silent)?;
    let stock_config = stock_config(&config);
    let mut filled = Cache::new(true, DType::F32, &stock_config, &Device::Cpu)?;
    let logits = theirs.forward(&row(&prompt)?, 0, &mut filled)?;
    black_box(logits);

    let mut seconds: [[Vec<f64>; 2]; 2] = Default::default();
    for _ in 0..repeats {
        for (w, width) in WIDTHS.into_iter().enumerate() {
            let tokens: Vec<u32> = (0..width as u32).collect();
            cache.truncate(CONTEXT);
            let start = Instant::now();
            black_box(ours.full_pass(&tokens, &mut cache, &mut Silent)?);
            seconds[0][w].push(start.elapsed().as_secs_f64());
            let (mut copy, tokens) = (filled.clone(), row(&tokens)?);
            let start = Instant::now();
            black_box(theirs.forward(&tokens, CONTEXT, &mut copy)?.to_vec2::<f32>()?);
            seconds[1][w].push(start.elapsed().as_secs_f64());
        }
    }
    println!("width | candle-transformers ms (min, median) | s3d ms | times as fast (min, median)");
    for (w, width) in WIDTHS.into_iter().enumerate() {
        let [a, b] = [1, 0].map(|who: usize| low_and_middle(&mut seconds[who][w]));
        println!(
            "{width} | {:.1}, {:.1} | {:.1}, {:.1} | {:.2}, {:.2}",
            a[0] * 1e3,
            a[1] * 1e3,
            b[0] * 1e3,
            b[1] * 1e3,
            a[0] / b[0],
            a[1] / b[1]
        );
    }
    Ok(())
}

fn low_and_middle(seconds: &mut [f64]) -> [f64; 2] {
    seconds.sort_by(f64::total_cmp);
    [seconds[0], seconds[seconds.len() / 2]]
}

fn row(tokens: &[u32]) -> Result<Tensor> {
    Ok(Tensor::new(tokens, &Device::Cpu)?.unsqueeze(0)?)
}

fn stock_config(config: &ModelConfig) -> Config {
    Config {
        hidden_size: config.hidden_size,
        intermediate_size: config.intermediate_size,
        vocab_size: config.vocab_size,
        num_hidden_layers: config.num_hidden_layers,
        num_attention_heads: config.num_attention_heads,
        num_key_value_heads: config.num_key_value_heads.unwrap_or(config.num_attention_heads),
        tie_word_embeddings: config.tie_word_embeddings,
        ..Config::config_7b_v2(false)
    }
}

/// The weights that `Model::geometry` draws, by the same names.
fn stock(config: &ModelConfig) -> Result<Llama> {
    let source = Seeded::new(SEED);
    let (h, ff, v) = (config.hidden_size, config.intermediate_size, config.vocab_size);
    let kv = h / config.num_attention_heads
        * config.num_key_value_heads.unwrap_or(config.num_attention_heads);
    let mut shapes = vec![
        ("model.embed_tokens.weight".to_string(), vec![v, h]),
        ("model.norm.weight".to_string(), vec![h]),
        ("lm_head.weight".to_string(), vec![v, h]),
    ];
    for layer in 0..config.num_hidden_layers {
        let parts = [
            ("input_layernorm", vec![h]),
            ("post_attention_layernorm", vec![h]),
            ("self_attn.q_proj", vec![h, h]),
            ("self_attn.k_proj", vec![kv, h]),
            ("self_attn.v_proj", vec![kv, h]),
            ("self_attn.o_proj", vec![h, h]),
            ("mlp.gate_proj", vec![ff, h]),
            ("mlp.up_proj", vec![ff, h]),
            ("mlp.down_proj", vec![h, ff]),
        ];
        let named = |(part, shape)| (format!("model.layers.{layer}.{part}.weight"), shape);
        shapes.extend(parts.map(named));
    }
    let mut tensors = HashMap::new();
    for (name, shape) in shapes {
        let numbers = source.tensor(&name, &shape)?;
        tensors.insert(name, Tensor::from_vec(numbers, shape, &Device::Cpu)?);
    }
    let weights = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
    Ok(Llama::load(weights, &stock_config(config))?)
}
