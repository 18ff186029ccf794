//! GGUF: quantized blocks to the bit, whole models from them, and files that lie.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use candle_core::{Device, Tensor};
use common::gguf::{Writer, text};
use common::{options, rows};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use s3d_data::Dtype;
use s3d_kernels::codes::number_type::NumberType;
use s3d_model::weights::Matrix;
use s3d_model::weights::blocks::decode;
use s3d_model::weights::{GgufFile, Seeded, WeightSource};
use s3d_model::{Generation, Limits, LoadOptions, Model, ModelConfig, Silent};
use safetensors::tensor::{Dtype as Stored, TensorView};
use std::path::Path;

/// Each quantized type under its name in candle, with the places of its 2-byte scales in a block.
const QUANTIZED: [(NumberType, GgmlDType, &[usize]); 10] = [
    (NumberType::Q8_0, GgmlDType::Q8_0, &[0]),
    (NumberType::Q4_0, GgmlDType::Q4_0, &[0]),
    (NumberType::Q4K, GgmlDType::Q4K, &[0, 2]),
    (NumberType::Q4_1, GgmlDType::Q4_1, &[0, 2]),
    (NumberType::Q5_0, GgmlDType::Q5_0, &[0]),
    (NumberType::Q5_1, GgmlDType::Q5_1, &[0, 2]),
    (NumberType::Q2K, GgmlDType::Q2K, &[80, 82]),
    (NumberType::Q3K, GgmlDType::Q3K, &[108]),
    (NumberType::Q5K, GgmlDType::Q5K, &[0, 2]),
    (NumberType::Q6K, GgmlDType::Q6K, &[208]),
];

/// Those that the engine runs, by its own name.
const RUNNING: [(Dtype, GgmlDType); 3] =
    [(Dtype::Q8_0, GgmlDType::Q8_0), (Dtype::Q4_0, GgmlDType::Q4_0), (Dtype::Q4K, GgmlDType::Q4K)];

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

fn decoded(kind: NumberType, bytes: &[u8]) -> Vec<f32> {
    let mut values = vec![0.0; bytes.len() / kind.block_bytes() * kind.block_weights()];
    decode(kind, bytes, &mut values);
    values
}

#[test]
fn blocks_have_the_values_that_the_gguf_package_reads() {
    // source: scripts/fixtures/checkpoints.py, blocks(): random blocks, gguf 0.19.0
    #[derive(serde::Deserialize)]
    struct Case {
        hex: String,
        bits: Vec<u32>,
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gguf/blocks.json");
    let cases: std::collections::BTreeMap<String, Case> =
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    // All types but q8_k, which that package does not read (no file stores weights so).
    assert_eq!(cases.len(), NumberType::READ.len() - 2);
    for (name, Case { hex, bits: expected }) in cases {
        let kind =
            NumberType::READ.into_iter().find(|kind| kind.name() == name.to_lowercase()).unwrap();
        let byte = |i: usize| u8::from_str_radix(&hex[i..i + 2], 16).unwrap();
        let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
        assert!(expected.len() >= 64);
        assert_eq!(bits(&decoded(kind, &bytes)), expected, "{name}");
    }
}

/// Numbers quantized by candle: the blocks, and their values as candle reads them.
fn quantized(numbers: Vec<f32>, columns: usize, kind: GgmlDType) -> (Vec<u8>, Vec<f32>) {
    let shape = (numbers.len() / columns, columns);
    let tensor = Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap();
    let tensor = QTensor::quantize(&tensor, kind).unwrap();
    let values = tensor.dequantize(&Device::Cpu).unwrap().flatten_all().unwrap();
    (tensor.data().unwrap().into_owned(), values.to_vec1().unwrap())
}

#[test]
fn blocks_have_the_values_that_candle_reads() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for (kind, candle, scales) in QUANTIZED {
        let numbers: Vec<f32> = (0..64 * 256).map(|_| rng.random_range(-2.0..2.0)).collect();
        let (bytes, values) = quantized(numbers, 256, candle);
        assert_eq!(bits(&decoded(kind, &bytes)), bits(&values), "{kind}");
        // Blocks that no quantizer would write, with scales that are numbers.
        let size = kind.block_bytes();
        let mut bytes: Vec<u8> = (0..300 * size).map(|_| rng.random()).collect();
        for block in bytes.chunks_exact_mut(size) {
            scales.iter().for_each(|at| block[at + 1] &= 0xb3);
        }
        let count = 300 * kind.block_weights();
        let storage = QStorage::from_data(bytes.clone().into(), &Device::Cpu, candle).unwrap();
        let tensor = QTensor::new(storage, count).unwrap();
        let values = tensor.dequantize(&Device::Cpu).unwrap().to_vec1().unwrap();
        assert_eq!(bits(&decoded(kind, &bytes)), bits(&values), "{kind}");
    }
}

fn config() -> ModelConfig {
    ModelConfig {
        hidden_size: 256,
        intermediate_size: 256,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: Some(2),
        head_dim: Some(128),
        vocab_size: 20,
        tie_word_embeddings: false,
        rms_norm_eps: 1e-5,
        max_position_embeddings: 64,
        s3d: None,
        ..ModelConfig::story()
    }
}

fn metadata(config: &ModelConfig) -> Writer {
    let mut file = Writer::default();
    file.text("general.architecture", "llama");
    for (key, value) in [
        ("context_length", config.max_position_embeddings),
        ("embedding_length", config.hidden_size),
        ("feed_forward_length", config.intermediate_size),
        ("block_count", config.num_hidden_layers),
        ("attention.head_count", config.num_attention_heads),
        ("attention.head_count_kv", config.kv_heads()),
        ("attention.key_length", config.head_dim()),
    ] {
        file.number(&format!("llama.{key}"), value as u32);
    }
    file.float("llama.attention.layer_norm_rms_epsilon", config.rms_norm_eps as f32);
    file.float("llama.rope.freq_base", config.rope_theta as f32);
    file
}

/// Rows in the order llama.cpp wants: channel `i` and its partner half a head on become neighbours.
fn reordered(matrix: &[f32], columns: usize, dim: usize) -> Vec<f32> {
    let row = |r: usize| &matrix[r * columns..][..columns];
    let from = |r: usize| r / dim * dim + r % dim / 2 + r % 2 * dim / 2;
    (0..matrix.len() / columns).flat_map(|r| row(from(r)).to_vec()).collect()
}

/// The seeded model in a file whose matrices are of the type `candle`, and the same model as
/// numbers.
fn write_both(dir: &Path, kind: NumberType, candle: GgmlDType) {
    let (config, source) = (config(), Seeded::new(3));
    let (hidden, dim) = (config.hidden_size, config.head_dim());
    let mut file = metadata(&config);
    let mut numbers: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    let mut put = |here: String, there: String, shape: Vec<usize>| {
        let values = source.tensor(&here, &shape).unwrap();
        let (bytes, kind, values) = if shape.len() == 1 {
            (values.iter().flat_map(|x| x.to_le_bytes()).collect(), NumberType::F32, values)
        } else {
            let (bytes, values) = quantized(values, shape[1], candle);
            (bytes, kind, values)
        };
        let turned = here.contains("q_proj") || here.contains("k_proj");
        let bytes = if turned {
            // Values that were quantized row by row are quantized to themselves in any order of
            // rows.
            let row_bytes = bytes.len() / shape[0];
            let order: Vec<f32> = (0..shape[0]).map(|r| r as f32).collect();
            let order = reordered(&order, 1, dim);
            order
                .iter()
                .flat_map(|&r| bytes[r as usize * row_bytes..][..row_bytes].to_vec())
                .collect()
        } else {
            bytes
        };
        file.tensor(&there, &shape, kind, bytes);
        numbers.push((here, shape, values.iter().flat_map(|x| x.to_le_bytes()).collect()));
    };
    put("model.embed_tokens.weight".into(), "token_embd.weight".into(), vec![20, hidden]);
    put("model.norm.weight".into(), "output_norm.weight".into(), vec![hidden]);
    put("lm_head.weight".into(), "output.weight".into(), vec![20, hidden]);
    for layer in 0..config.num_hidden_layers {
        let parts: [(&str, &str, &[usize]); 9] = [
            ("self_attn.q_proj", "attn_q", &[4 * dim, hidden]),
            ("self_attn.k_proj", "attn_k", &[2 * dim, hidden]),
            ("self_attn.v_proj", "attn_v", &[2 * dim, hidden]),
            ("self_attn.o_proj", "attn_output", &[hidden, 4 * dim]),
            ("mlp.gate_proj", "ffn_gate", &[256, hidden]),
            ("mlp.up_proj", "ffn_up", &[256, hidden]),
            ("mlp.down_proj", "ffn_down", &[hidden, 256]),
            ("input_layernorm", "attn_norm", &[hidden]),
            ("post_attention_layernorm", "ffn_norm", &[hidden]),
        ];
        for (here, there, shape) in parts {
            let (here, there) = (
                format!("model.layers.{layer}.{here}.weight"),
                format!("blk.{layer}.{there}.weight"),
            );
            put(here, there, shape.to_vec());
        }
    }
    std::fs::write(dir.join("model.gguf"), file.bytes()).unwrap();
    config.save(dir).unwrap();
    let views = numbers.iter().map(|(name, shape, bytes)| {
        (name, TensorView::new(Stored::F32, shape.clone(), bytes).unwrap())
    });
    safetensors::serialize_to_file(views, None, &dir.join("model.safetensors")).unwrap();
}

fn logits(path: &Path) -> Vec<Vec<f32>> {
    logits_of(&Model::load(path, &options(1, 1)).unwrap())
}

fn logits_of(model: &Model) -> Vec<Vec<f32>> {
    let mut cache = model.new_cache(8).unwrap();
    rows(&model.full_pass(&[3, 1, 4, 1, 5, 9], &mut cache, &mut Silent).unwrap())
}

#[test]
fn a_quantized_file_runs_as_its_numbers_do() {
    let dir = tempfile::tempdir().unwrap();
    for (kind, candle, _) in QUANTIZED {
        write_both(dir.path(), kind, candle);
        let gguf = dir.path().join("model.gguf");
        assert_eq!(logits(&gguf), logits(dir.path()), "{kind}");
        // The blocks as they are stored have the same values, rows put back; a type that no kernel
        // knows comes as numbers.
        let file = GgufFile::open(&gguf).unwrap();
        let (name, shape) = ("model.layers.1.self_attn.q_proj.weight", [512, 256]);
        let values = file.tensor(name, &shape).unwrap();
        let dtype = Dtype::ENGINE.into_iter().find(|dtype| kind.is(*dtype));
        match file.matrix(name, shape, dtype.unwrap_or_default()).unwrap() {
            Matrix::Raw(raw) => {
                assert_eq!((Some(raw.dtype), raw.shape), (dtype, shape));
                assert_eq!(raw.to_f32(), values);
            }
            Matrix::F32(numbers) => assert_eq!((dtype, numbers), (None, values)),
        }
        let dtype = dtype.unwrap_or_default();
        let table = |rows| file.rows("lm_head.weight", [20, 256], rows, dtype).unwrap().unwrap();
        let whole = table(0..20).into_f32();
        assert_eq!(table(3..5).into_f32(), whole[3 * 256..5 * 256], "{kind}");
    }
}

/// Greedy tokens under a plan.
fn greedy(model: &Model, plan: &str) -> Vec<u32> {
    let limits = Limits::tokens(24);
    let plan = plan.parse().unwrap();
    Generation::new(model, &[3, 1, 4], &plan, limits, &mut Silent).unwrap().finish().unwrap()
}

#[test]
fn a_quantized_file_keeps_its_blocks_and_decodes_losslessly() {
    let dir = tempfile::tempdir().unwrap();
    for (dtype, candle) in RUNNING {
        write_both(dir.path(), NumberType::of(dtype).unwrap(), candle);
        let load =
            |path: &Path| Model::load(path, &LoadOptions { dtype, ..options(1, 1) }).unwrap();
        // source: the folder holds the values of the blocks; quantizing them again gives the
        // blocks, but for q4_k, whose search for scales need not find them again
        let (kept, again) = (load(&dir.path().join("model.gguf")), load(dir.path()));
        if dtype != Dtype::Q4K {
            assert_eq!(logits_of(&kept), logits_of(&again), "{dtype}");
        }
        let plain = greedy(&kept, "plain");
        assert_eq!(plain.len(), 24);
        for plan in ["seq:0..1:2", "seq:1..2:3"] {
            assert_eq!(greedy(&kept, plan), plain, "{dtype} {plan}");
        }
    }
}

/// What opening a file of these bytes says.
fn refusal(bytes: &[u8]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bad.gguf");
    std::fs::write(&path, bytes).unwrap();
    let error = Model::load(&path, &options(1, 1)).unwrap_err().to_string();
    assert!(error.contains("bad.gguf"), "{error}");
    error
}

#[test]
fn files_that_lie_are_refused() {
    let good = metadata(&config());
    let with = |change: &dyn Fn(&mut Writer)| {
        let mut file = good.clone();
        change(&mut file);
        refusal(&file.bytes())
    };
    assert!(refusal(b"GGUX").contains("letters GGUF"));
    assert!(refusal(b"GG").contains("incomplete"));
    assert!(refusal(b"GGUF\x01\0\0\0").contains("version 1"));
    assert!(refusal(b"GGUF\0\0\0\x03").contains("big-endian"));
    let counts = |tensors: u64, pairs: u64| {
        let file = [&b"GGUF\x03\0\0\0"[..], &tensors.to_le_bytes(), &pairs.to_le_bytes(), &[0; 99]];
        refusal(&file.concat())
    };
    assert!(counts(0, u64::MAX).contains("metadata entries"));
    assert!(counts(u64::MAX, 0).contains("tensors"));
    assert!(counts(1 << 40, 0).contains("tensors are promised"));
    assert!(with(&|f| f.entry("x", 99, &[0; 8])).contains("kind 99"));
    assert!(with(&|f| f.entry("x", 7, &[2])).contains("neither true nor false"));
    assert!(with(&|f| f.entry("x", 8, &u64::MAX.to_le_bytes())).contains("'x': a text of"));
    let array = |kind: u32, count: u64| [&kind.to_le_bytes()[..], &count.to_le_bytes()].concat();
    assert!(with(&|f| f.entry("x", 9, &array(4, u64::MAX))).contains("array elements"));
    assert!(with(&|f| f.entry("x", 9, &array(9, 1))).contains("arrays of kind 9"));
    assert!(with(&|f| f.number("llama.block_count", 1)).contains("appears twice"));
    assert!(with(&|f| f.number("general.alignment", 33)).contains("power of two"));
    assert!(with(&|_| {}).contains("token_embd.weight"));
    let tensor = |name: &str, shape: &[usize], bytes: usize| {
        let mut file = good.clone();
        file.tensor(name, shape, NumberType::Q4K, vec![0; bytes]);
        file
    };
    let short = tensor("token_embd.weight", &[20, 256], 100);
    assert!(refusal(&short.bytes()).contains("incomplete or damaged"));
    let narrow = tensor("token_embd.weight", &[20, 100], 2000);
    assert!(refusal(&narrow.bytes()).contains("cannot be stored as q4_k"));
    let vast = tensor("token_embd.weight", &[usize::MAX / 256, 256 * 256], 100);
    assert!(refusal(&vast.bytes()).contains("cannot be stored"));
    // Dimensions whose product overflows before it becomes 0; found by fuzzing.
    let empty = tensor("token_embd.weight", &[1 << 40, 1 << 40, 0, 256], 0);
    assert!(refusal(&empty.bytes()).contains("expected none of 0"));
    let mut odd = tensor("token_embd.weight", &[20, 256], 20 * 144);
    odd.tensors[0].code = 77;
    assert!(refusal(&odd.bytes()).contains("code 77"));
    odd.tensors[0].code = 19;
    assert!(refusal(&odd.bytes()).contains("'token_embd.weight': number type iq1_s"));
    let whole = tensor("token_embd.weight", &[20, 256], 20 * 144);
    assert!(
        refusal(&whole.bytes()).contains("output_norm.weight")
            || refusal(&whole.bytes()).contains("attn_norm")
    );
    let mut gemma = Writer::default();
    gemma.entry("general.architecture", 8, &text("gemma"));
    assert!(refusal(&gemma.bytes()).contains("llama, mistral, qwen2, qwen3, phi3"));
}

#[test]
fn rotary_keys_mean_what_transformers_computes() {
    // source: scripts/fixtures/gguf_rope.py, transformers 5.24.0 on the stored numbers
    #[derive(serde::Deserialize)]
    struct Expected {
        tokens: Vec<u32>,
        rows: Vec<usize>,
        logits: Vec<Vec<f32>>,
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gguf-rope");
    for name in ["none", "yarn", "yarn-betas", "yarn-strength", "attn-factor", "linear-strength"] {
        let text = std::fs::read(folder.join(format!("{name}.json"))).unwrap();
        let expected: Expected = serde_json::from_slice(&text).unwrap();
        let model = Model::load(&folder.join(format!("{name}.gguf")), &options(1, 1)).unwrap();
        let mut cache = model.new_cache(expected.tokens.len()).unwrap();
        let found = rows(&model.full_pass(&expected.tokens, &mut cache, &mut Silent).unwrap());
        for (row, expected) in expected.rows.iter().zip(&expected.logits) {
            let most = expected.iter().fold(0.0f32, |most, x| most.max(x.abs()));
            let off = found[*row].iter().zip(expected).map(|(found, x)| (found - x).abs());
            let off = off.fold(0.0, f32::max) / most;
            assert!(off < 1e-4, "{name}, row {row}: off by {off} of the largest");
        }
    }
}

/// The whole seeded model, all numbers `f32`, so that only what a test changes can be refused.
fn whole() -> Writer {
    let (config, source) = (config(), Seeded::new(3));
    let mut file = metadata(&config);
    let (hidden, dim) = (config.hidden_size, config.head_dim());
    let mut put = |there: &str, shape: &[usize]| {
        let values = source.tensor(there, shape).unwrap();
        let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        file.tensor(there, shape, NumberType::F32, bytes);
    };
    put("token_embd.weight", &[20, hidden]);
    put("output_norm.weight", &[hidden]);
    put("output.weight", &[20, hidden]);
    for layer in 0..config.num_hidden_layers {
        let parts: [(&str, &[usize]); 9] = [
            ("attn_q", &[4 * dim, hidden]),
            ("attn_k", &[2 * dim, hidden]),
            ("attn_v", &[2 * dim, hidden]),
            ("attn_output", &[hidden, 4 * dim]),
            ("ffn_gate", &[256, hidden]),
            ("ffn_up", &[256, hidden]),
            ("ffn_down", &[hidden, 256]),
            ("attn_norm", &[hidden]),
            ("ffn_norm", &[hidden]),
        ];
        parts.iter().for_each(|(part, shape)| put(&format!("blk.{layer}.{part}.weight"), shape));
    }
    file
}

#[test]
fn keys_and_tensors_that_change_what_is_computed_are_read_or_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("whole.gguf");
    let with = |change: &dyn Fn(&mut Writer)| {
        let mut file = whole();
        change(&mut file);
        std::fs::write(&path, file.bytes()).unwrap();
        Model::load(&path, &options(1, 1)).map_or_else(|e| e.to_string(), |_| "loads".into())
    };
    let harmless = |change: &dyn Fn(&mut Writer)| assert_eq!(with(change), "loads");
    harmless(&|f| f.number("llama.vocab_size", 20));
    harmless(&|f| f.number("llama.expert_count", 0));
    harmless(&|f| f.text("general.type", "model"));
    harmless(&|f| f.number("qwen2.expert_count", 8));
    harmless(&|f| f.number("llama.attention.value_length", 128));
    let refused = |change: &dyn Fn(&mut Writer), words: &[&str]| {
        let error = with(change);
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    };
    refused(&|f| f.number("llama.expert_count", 8), &["'llama.expert_count' = 8", "may change"]);
    refused(&|f| f.float("llama.attention.scale", 2.0), &["llama.attention.scale", "2"]);
    refused(&|f| f.number("llama.attention.value_length", 64), &["value_length", "128", "64"]);
    refused(&|f| f.number("llama.rope.dimension_count", 64), &["partial_rotary_factor"]);
    refused(&|f| f.number("llama.rope.dimension_count", 256), &["dimension_count", "1..=128"]);
    refused(
        &|f| f.text("llama.rope.scaling.type", "dynamic"),
        &["scaling.type", "yarn", "dynamic"],
    );
    refused(&|f| f.text("llama.rope.scaling.type", "longrope"), &["rope_factors_short.weight"]);
    refused(&|f| f.float("llama.rope.scaling.factor", -2.0), &["scaling.factor", "positive"]);
    refused(&|f| f.float("llama.rope.scaling.alpha", 2.0), &["scaling.alpha"]);
    refused(&|f| f.number("llama.rope.scaling.factor", 2), &["must be a number; found 2"]);
    refused(&|f| f.float("llama.rope.scaling.factor", f32::NAN), &["scaling.factor", "NaN"]);
    refused(&|f| f.text("general.type", "adapter"), &["adapter", "expected a model"]);
    let extra = |name: &'static str| {
        move |f: &mut Writer| f.tensor(name, &[20], NumberType::F32, vec![0; 80])
    };
    refused(&extra("output.bias"), &["'output.bias'"]);
    refused(&extra("token_embd_norm.weight"), &["'token_embd_norm.weight'"]);
    refused(&extra("blk.0.attn_sinks.weight"), &["attn_sinks"]);
    refused(&extra("blk.2.ffn_norm.weight"), &["layers.2"]);
    refused(&extra("rope_freqs.weight"), &["64"]);
}

#[test]
fn tensors_that_overlap_are_refused() {
    let mut file = whole().bytes();
    // The offset of the second tensor of the table: after its name, rank, one dimension and type.
    let name = b"output_norm.weight";
    let at = file.windows(name.len()).position(|bytes| bytes == name).unwrap();
    let offset = at + name.len() + 4 + 8 + 4;
    file[offset..offset + 8].copy_from_slice(&0u64.to_le_bytes());
    let error = refusal(&file);
    assert!(error.contains("'output_norm.weight' and 'token_embd.weight' overlap"), "{error}");
}

#[test]
fn a_file_that_is_cut_or_changed_anywhere_never_panics() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gguf/phi3.gguf");
    let whole = std::fs::read(path).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("changed.gguf");
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut refused = 0;
    for round in 0..400 {
        let mut bytes = whole.clone();
        if round % 3 == 0 {
            bytes.truncate(rng.random_range(0..whole.len()));
        } else {
            for _ in 0..rng.random_range(1..4) {
                let at = rng.random_range(0..18_000);
                bytes[at] = *[0, 1, 0x7f, 0xff, rng.random()].get(rng.random_range(0..5)).unwrap();
            }
        }
        std::fs::write(&path, &bytes).unwrap();
        match GgufFile::open(&path) {
            Err(error) => {
                assert!(error.to_string().contains("changed.gguf"), "{error}");
                refused += 1;
            }
            Ok(file) => drop(file.vocabulary()),
        }
    }
    assert!(refused > 130, "{refused}");
}
