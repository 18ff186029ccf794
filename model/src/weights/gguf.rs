//! Weights, configuration and vocabulary from a GGUF file, as llama.cpp writes them.
//!
//! Tensors answer to their Hugging Face names. llama.cpp turns neighbouring channels in its `llama`
//! architecture, where everyone else turns channels half a head apart: its converter reorders the rows
//! of queries and keys, and here they are put back.

use super::WeightSource;
use super::gguf_header::{Header, TensorInfo, Value};
use super::stored::{Stored, hash_files};
use crate::config::Architecture;
use crate::raw::Matrix;
use crate::{Error, ModelConfig, Result};
use s3d_data::Dtype;
use serde_json::{Map, json};
use std::fs::File;
use std::io::BufReader;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A GGUF file whose header was read.
#[derive(Debug)]
pub struct GgufFile {
    path: PathBuf,
    header: Header,
    architecture: Architecture,
    config: ModelConfig,
}

/// What a GGUF file says of its tokenizer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Vocabulary {
    /// `gpt2` for byte-level BPE, `llama` for SentencePiece.
    pub model: String,
    /// How a byte-level BPE cuts text into words before it merges.
    pub pre: String,
    /// Tokens by id.
    pub tokens: Vec<String>,
    /// Kinds by id: 1 normal, 2 unknown, 3 control, 4 added by users, 5 unused, 6 a byte.
    pub kinds: Vec<i64>,
    /// Scores by id (SentencePiece).
    pub scores: Vec<f64>,
    /// Pairs, first merged first (byte-level BPE).
    pub merges: Vec<String>,
    /// Begin-of-text token.
    pub begin: Option<u32>,
    /// End-of-text token.
    pub end: Option<u32>,
    /// Whether every text begins with it; unsaid in some files.
    pub add_begin: Option<bool>,
    /// Whether a space is put before a text; unsaid in some files.
    pub add_space: Option<bool>,
    /// The template of conversations.
    pub chat_template: Option<String>,
}

/// Names outside the layers, here and there.
const OUTSIDE: [(&str, &str); 3] = [
    ("model.embed_tokens.weight", "token_embd.weight"),
    ("model.norm.weight", "output_norm.weight"),
    ("lm_head.weight", "output.weight"),
];

/// Names inside a layer, here and there, without `.weight` or `.bias`.
const INSIDE: [(&str, &str); 13] = [
    ("input_layernorm", "attn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.qkv_proj", "attn_qkv"),
    ("self_attn.o_proj", "attn_output"),
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
    ("post_attention_layernorm", "ffn_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.gate_up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
];

/// The name of a tensor in the file.
fn name_there(name: &str) -> Option<String> {
    if let Some((_, there)) = OUTSIDE.iter().find(|(here, _)| *here == name) {
        return Some((*there).to_string());
    }
    let (number, part) = name.strip_prefix("model.layers.")?.split_once('.')?;
    let (part, end) = part.rsplit_once('.')?;
    let (_, there) = INSIDE.iter().find(|(here, _)| *here == part)?;
    Some(format!("blk.{number}.{there}.{end}"))
}

/// Whether a file begins as GGUF files do, or is named so.
pub fn is_gguf(path: &Path) -> bool {
    use std::io::Read;
    let mut magic = [0; 4];
    let starts = File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok();
    starts && magic == *b"GGUF" || path.extension().is_some_and(|end| end == "gguf")
}

impl GgufFile {
    /// Reads the header of a file.
    ///
    /// # Errors
    /// When it cannot be read, is no such file, or describes no model this engine can run.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::io("open", path, e))?;
        let length = file.metadata().map_err(|e| Error::io("read", path, e))?.len();
        let fail = |message: String| Error::malformed(path, message);
        let header = Header::read(BufReader::new(file), length).map_err(fail)?;
        let name = text(&header, "general.architecture").unwrap_or_default();
        let architecture = Architecture::from_model_type(&name).ok_or_else(|| {
            fail(format!(
                "architecture '{name}' is not supported; expected one of {}",
                Architecture::model_types()
            ))
        })?;
        let keys = Keys { header: &header, name: &name, path };
        let keys = keys.config(architecture)?;
        let json = serde_json::Value::Object(keys).to_string();
        let config = ModelConfig::from_json(&json).map_err(fail)?;
        Ok(Self { path: path.to_path_buf(), header, architecture, config })
    }

    /// The configuration that the metadata describe.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The tokenizer's data; nothing where the file has none.
    pub fn vocabulary(&self) -> Option<Vocabulary> {
        let header = &self.header;
        let get = |key: &str| header.metadata.get(&format!("tokenizer.ggml.{key}"));
        let texts = |key: &str| match get(key) {
            Some(Value::Texts(texts)) => texts.clone(),
            _ => Vec::new(),
        };
        let id = |key: &str| match get(key) {
            Some(Value::Integer(id)) => u32::try_from(*id).ok(),
            _ => None,
        };
        let flag = |key: &str| match get(key) {
            Some(Value::Bool(flag)) => Some(*flag),
            _ => None,
        };
        let tokens = texts("tokens");
        (!tokens.is_empty()).then(|| Vocabulary {
            model: text(header, "tokenizer.ggml.model").unwrap_or_default(),
            pre: text(header, "tokenizer.ggml.pre").unwrap_or_else(|| "default".into()),
            tokens,
            kinds: match get("token_type") {
                Some(Value::Integers(kinds)) => kinds.clone(),
                _ => Vec::new(),
            },
            scores: match get("scores") {
                Some(Value::Floats(scores)) => scores.clone(),
                _ => Vec::new(),
            },
            merges: texts("merges"),
            begin: id("bos_token_id"),
            end: id("eos_token_id"),
            add_begin: flag("add_bos_token"),
            add_space: flag("add_space_prefix"),
            chat_template: text(header, "tokenizer.chat_template"),
        })
    }

    fn find(&self, name: &str, shape: &[usize]) -> Result<&TensorInfo> {
        let there = name_there(name).unwrap_or_else(|| name.to_string());
        let info = self.header.tensors.get(&there).ok_or_else(|| {
            let message = format!("no tensor '{there}', which the metadata call for");
            Error::malformed(&self.path, message)
        })?;
        if info.shape != shape {
            let message = format!(
                "tensor '{there}' has shape {:?}; the metadata call for {shape:?}",
                info.shape
            );
            return Err(Error::malformed(&self.path, message));
        }
        Ok(info)
    }

    fn stored<'s>(&'s self, name: &'s str, info: &TensorInfo) -> Stored<'s> {
        let TensorInfo { kind, start, bytes, .. } = *info;
        Stored { path: &self.path, name, kind, start, bytes }
    }

    /// The heads whose rows llama.cpp has reordered in this tensor.
    fn reordered(&self, name: &str) -> Option<usize> {
        if self.architecture != Architecture::Llama {
            return None;
        }
        if name.contains("q_proj") {
            return Some(self.config.num_attention_heads);
        }
        name.contains("k_proj").then(|| self.config.kv_heads())
    }
}

/// Puts the rows of every head back: neighbours 2 i and 2 i + 1 become i and i + half.
fn put_back<T: Copy>(rows: Vec<T>, heads: usize, shape: &[usize]) -> Vec<T> {
    let total = shape.first().copied().unwrap_or(0);
    let (width, dim) = (rows.len() / total.max(1), total / heads.max(1));
    let mut sorted = Vec::with_capacity(rows.len());
    for head in rows.chunks_exact(dim * width) {
        for i in (0..dim).step_by(2).chain((1..dim).step_by(2)) {
            sorted.extend_from_slice(&head[i * width..][..width]);
        }
    }
    sorted
}

impl WeightSource for GgufFile {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let values = self.stored(name, self.find(name, shape)?).values()?;
        Ok(match self.reordered(name) {
            Some(heads) => put_back(values, heads, shape),
            None => values,
        })
    }

    fn matrix(&self, name: &str, shape: [usize; 2], wanted: Dtype) -> Result<Matrix> {
        let matrix = self.stored(name, self.find(name, &shape)?).matrix(shape[1], wanted)?;
        Ok(match (self.reordered(name), matrix) {
            (None, matrix) => matrix,
            (Some(heads), Matrix::F32(values)) => Matrix::F32(put_back(values, heads, &shape)),
            (Some(heads), Matrix::Raw(mut tensor)) => {
                tensor.bytes = put_back(tensor.bytes, heads, &shape);
                Matrix::Raw(tensor)
            }
        })
    }

    fn rows(
        &self,
        name: &str,
        shape: [usize; 2],
        rows: Range<usize>,
        wanted: Dtype,
    ) -> Result<Option<Matrix>> {
        if self.reordered(name).is_some() {
            return Ok(None);
        }
        let stored = self.stored(name, self.find(name, &shape)?);
        stored.rows(rows, shape[1]).matrix(shape[1], wanted).map(Some)
    }

    fn names(&self) -> Vec<String> {
        let here = |there: &String| {
            let (number, part) = there.strip_prefix("blk.")?.split_once('.')?;
            let (part, end) = part.rsplit_once('.')?;
            let fused = self.architecture == Architecture::Phi3;
            let mut known = INSIDE.iter().filter(|(_, there)| *there == part);
            let first = known.next().map(|(here, _)| *here);
            let here = if fused { known.next().map(|(here, _)| *here).or(first) } else { first };
            Some(format!("model.layers.{number}.{}.{end}", here.unwrap_or(part)))
        };
        self.header.tensors.keys().filter_map(here).collect()
    }

    fn content_hash(&self) -> Result<String> {
        hash_files(std::iter::once(&self.path))
    }
}

fn text(header: &Header, key: &str) -> Option<String> {
    match header.metadata.get(key) {
        Some(Value::Text(text)) => Some(text.clone()),
        _ => None,
    }
}

/// The metadata of one architecture, on their way into a `config.json`.
struct Keys<'h> {
    header: &'h Header,
    name: &'h str,
    path: &'h Path,
}

impl Keys<'_> {
    fn get(&self, key: &str) -> Option<&Value> {
        self.header.metadata.get(&format!("{}.{key}", self.name))
    }

    fn whole(&self, key: &str) -> Option<u64> {
        match self.get(key)? {
            Value::Integer(number) => u64::try_from(*number).ok(),
            // One number a layer; the layers of these architectures are alike.
            Value::Integers(all) if all.iter().all(|n| Some(n) == all.first()) => {
                all.first().and_then(|n| u64::try_from(*n).ok())
            }
            _ => None,
        }
    }

    fn float(&self, key: &str) -> Option<f64> {
        match self.get(key)? {
            Value::Float(number) => Some(*number),
            _ => None,
        }
    }

    /// A whole number that every file has.
    fn size(&self, key: &str) -> Result<u64> {
        self.whole(key).ok_or_else(|| {
            let found = match self.get(key) {
                Some(value) => format!("{value:?}").chars().take(60).collect(),
                None => "nothing".to_string(),
            };
            let message =
                format!("metadata '{}.{key}' must be a whole number; found {found}", self.name);
            Error::malformed(self.path, message)
        })
    }

    fn config(&self, architecture: Architecture) -> Result<Map<String, serde_json::Value>> {
        let embedding = self.header.tensors.get("token_embd.weight");
        let vocab = embedding.and_then(|info| info.shape.first()).ok_or_else(|| {
            Error::malformed(self.path, "no tensor 'token_embd.weight'; expected a whole model")
        })?;
        let heads = self.size("attention.head_count")?;
        let positions = self.size("context_length")?;
        let mut keys = Map::new();
        let mut put = |key: &str, value: serde_json::Value| keys.insert(key.to_string(), value);
        put("architectures", json!([architecture.class()]));
        put("hidden_size", self.size("embedding_length")?.into());
        put("intermediate_size", self.size("feed_forward_length")?.into());
        put("num_hidden_layers", self.size("block_count")?.into());
        put("num_attention_heads", heads.into());
        put("num_key_value_heads", self.whole("attention.head_count_kv").unwrap_or(heads).into());
        put("head_dim", json!(self.whole("attention.key_length")));
        put("vocab_size", (*vocab).into());
        put("max_position_embeddings", positions.into());
        put("rms_norm_eps", json!(self.float("attention.layer_norm_rms_epsilon").map(shortest)));
        put("rope_theta", json!(self.float("rope.freq_base").map(shortest)));
        put("tie_word_embeddings", (!self.header.tensors.contains_key("output.weight")).into());
        put("sliding_window", json!(self.whole("attention.sliding_window").filter(|n| *n > 0)));
        put("rope_scaling", self.rope_scaling(positions)?);
        let biased = self.header.tensors.contains_key("blk.0.attn_q.bias");
        put("attention_bias", (biased && architecture == Architecture::Llama).into());
        self.special_tokens(&mut keys);
        self.check_rotary(&keys)?;
        Ok(keys)
    }

    fn special_tokens(&self, keys: &mut Map<String, serde_json::Value>) {
        let id = |key: &str| match self.header.metadata.get(&format!("tokenizer.ggml.{key}")) {
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
    }

    /// llama.cpp may turn a part of a head's channels; this engine turns all.
    fn check_rotary(&self, keys: &Map<String, serde_json::Value>) -> Result<()> {
        let number = |key: &str| keys.get(key).and_then(serde_json::Value::as_u64);
        let (hidden, heads) = (number("hidden_size"), number("num_attention_heads"));
        let derived = hidden.zip(heads).and_then(|(hidden, heads)| hidden.checked_div(heads));
        let (dim, turned) = (number("head_dim").or(derived), self.whole("rope.dimension_count"));
        match turned {
            Some(turned) if Some(turned) != dim => Err(Error::malformed(
                self.path,
                format!(
                    "{turned} channels of a head are turned; expected all {}",
                    dim.unwrap_or(0)
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Scaling of the rotary frequencies, in the words of `config.json`.
    fn rope_scaling(&self, positions: u64) -> Result<serde_json::Value> {
        let original = self.whole("rope.scaling.original_context_length");
        if let Some(divisors) = self.divisors("rope_factors_short.weight")? {
            return Ok(json!({
                "rope_type": "longrope", "short_factor": divisors,
                "original_max_position_embeddings": original.unwrap_or(positions),
                "attention_factor": self.float("rope.scaling.attn_factor"),
            }));
        }
        // Llama 3.1 stores its scaling as divisors that hold for every position.
        if let Some(divisors) = self.divisors("rope_freqs.weight")? {
            return Ok(json!({
                "rope_type": "longrope", "short_factor": divisors,
                "original_max_position_embeddings": positions, "attention_factor": 1.0,
            }));
        }
        let kind = match self.get("rope.scaling.type") {
            Some(Value::Text(kind)) if kind != "none" => kind.as_str(),
            _ => return Ok(serde_json::Value::Null),
        };
        Ok(json!({
            "rope_type": kind, "factor": self.float("rope.scaling.factor"),
            "original_max_position_embeddings": original,
        }))
    }

    /// The numbers of a small tensor, where there is one.
    fn divisors(&self, name: &str) -> Result<Option<Vec<f32>>> {
        let Some(info) = self.header.tensors.get(name) else { return Ok(None) };
        if info.shape.len() != 1 || info.bytes > 1 << 20 {
            let message =
                format!("tensor '{name}' has shape {:?}; expected a short list", info.shape);
            return Err(Error::malformed(self.path, message));
        }
        let TensorInfo { kind, start, bytes, .. } = *info;
        Stored { path: self.path, name, kind, start, bytes }.values().map(Some)
    }
}

/// The `f64` that is written like the `f32` that the file holds.
fn shortest(number: f64) -> f64 {
    (number as f32).to_string().parse().unwrap_or(number)
}
