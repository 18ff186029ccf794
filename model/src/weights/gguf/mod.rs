//! Weights, configuration and vocabulary from a GGUF file, as llama.cpp writes them.
//!
//! Tensors answer to their Hugging Face names. llama.cpp turns neighbouring channels in its `llama`
//! architecture, where everyone else turns channels half a head apart: its converter reorders the
//! rows of queries and keys, and here they are put back.

pub(crate) mod header;
mod keys;
mod parts;
mod rope;

use super::source::WeightSource;
use super::stored::{Stored, hash_files};
use crate::config::ModelConfig;
use crate::config::architecture::Architecture;
use crate::error::{Error, Result};
use crate::tokenizer::vocabulary::Vocabulary;
use crate::weights::encoded::Matrix;
use header::{TensorInfo, Value};
use keys::Keys;
use parts::Parts;
use rope::Divisors;
use s3d_data::Dtype;
use s3d_kernels::codes::number_type::NumberType;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A GGUF file, or all parts of a split one, whose headers were read.
#[derive(Debug)]
pub struct GgufFile {
    /// The file that was named.
    path: PathBuf,
    /// All parts, in order.
    parts: Vec<PathBuf>,
    metadata: BTreeMap<String, Value>,
    tensors: BTreeMap<String, TensorInfo>,
    /// The part of each tensor that is not in the first.
    places: BTreeMap<String, usize>,
    architecture: Architecture,
    config: ModelConfig,
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

/// Tensors that scale rotary frequencies.
const ROPE: [&str; 3] =
    ["rope_freqs.weight", "rope_factors_short.weight", "rope_factors_long.weight"];

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
pub(crate) fn is_gguf(path: &Path) -> bool {
    use std::io::Read;
    let mut magic = [0; 4];
    let starts = File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok();
    starts && magic == *b"GGUF" || path.extension().is_some_and(|end| end == "gguf")
}

impl GgufFile {
    /// Reads the header of a file, and of the other parts where it is split.
    ///
    /// # Errors
    /// When it cannot be read, is no such file, or describes no model this engine can run.
    pub fn open(path: &Path) -> Result<Self> {
        let Parts { paths, metadata, tensors, places } = Parts::open(path)?;
        let fail = |message: String| Error::malformed(path, message);
        let (architecture, name) = keys::architecture(&metadata).map_err(fail)?;
        let mut file = Self {
            path: path.to_path_buf(),
            parts: paths,
            metadata,
            tensors,
            places,
            architecture,
            config: ModelConfig::story(),
        };
        let divisors = Divisors {
            all: file.divisors(ROPE[0])?,
            short: file.divisors(ROPE[1])?,
            long: file.divisors(ROPE[2])?,
        };
        let keys = Keys { metadata: &file.metadata, tensors: &file.tensors, name: &name };
        let rope = rope::scaling(&keys, divisors).map_err(fail)?;
        let keys = keys.config(architecture, rope).map_err(fail)?;
        let json = serde_json::Value::Object(keys).to_string();
        file.config = ModelConfig::from_json(&json).map_err(fail)?;
        file.check_tensors()?;
        Ok(file)
    }

    /// Refuses tensors outside the layers that are not read: a model without them is another model.
    fn check_tensors(&self) -> Result<()> {
        let known = |name: &str| {
            let outside = OUTSIDE.iter().any(|(_, there)| *there == name);
            outside || ROPE.contains(&name) || name.starts_with("blk.")
        };
        match self.tensors.keys().find(|name| !known(name)) {
            None => Ok(()),
            Some(name) => {
                let message = format!(
                    "tensor '{}' is not known, and may change what the model computes",
                    name.chars().take(80).collect::<String>().escape_debug()
                );
                Err(Error::malformed(&self.path, message))
            }
        }
    }

    /// The numbers of a small tensor, where there is one.
    fn divisors(&self, name: &str) -> Result<Option<Vec<f32>>> {
        let Some(info) = self.tensors.get(name) else { return Ok(None) };
        if info.shape.len() != 1 || info.bytes > 1 << 20 {
            let message =
                format!("tensor '{name}' has shape {:?}; expected a short list", info.shape);
            return Err(Error::malformed(&self.path, message));
        }
        self.stored(name, info).values().map(Some)
    }

    /// The configuration that the metadata describe.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The type of most weights in the matrices of the layers; nothing where there is none.
    pub(crate) fn main_type(&self) -> Option<NumberType> {
        let mut weights: HashMap<NumberType, u64> = HashMap::new();
        let layers = self
            .tensors
            .iter()
            .filter(|(name, info)| name.starts_with("blk.") && info.shape.len() > 1);
        for (_, info) in layers {
            *weights.entry(info.kind).or_default() += info.shape.iter().product::<usize>() as u64;
        }
        // By name where two have as many, so that the answer is always the same.
        weights.into_iter().max_by_key(|(kind, count)| (*count, kind.name())).map(|(kind, _)| kind)
    }

    /// The tokenizer's data; nothing where the file has none.
    pub fn vocabulary(&self) -> Option<Vocabulary> {
        let get = |key: &str| self.metadata.get(&format!("tokenizer.ggml.{key}"));
        let text = |key: &str| match self.metadata.get(key) {
            Some(Value::Text(text)) => Some(text.clone()),
            _ => None,
        };
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
            model: text("tokenizer.ggml.model").unwrap_or_default(),
            pre: text("tokenizer.ggml.pre").unwrap_or_default(),
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
            add_end: flag("add_eos_token"),
            add_space: flag("add_space_prefix"),
            chat_template: text("tokenizer.chat_template"),
            name: text("general.name").unwrap_or_default(),
        })
    }

    fn find(&self, name: &str, shape: &[usize]) -> Result<&TensorInfo> {
        let there = name_there(name).unwrap_or_else(|| name.to_string());
        let info = self.tensors.get(&there).ok_or_else(|| {
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
        let there = name_there(name);
        let part = self.places.get(there.as_deref().unwrap_or(name)).copied().unwrap_or(0);
        let path = self.parts.get(part).unwrap_or(&self.path);
        Stored { path, name, kind, start, bytes }
    }

    /// The heads whose rows llama.cpp has reordered in this tensor.
    fn reordered(&self, name: &str) -> Option<usize> {
        if !matches!(self.architecture, Architecture::Llama | Architecture::SmolLm3) {
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
        let outside = OUTSIDE.iter().filter(|(_, there)| self.tensors.contains_key(*there));
        let outside = outside.map(|(here, _)| (*here).to_string());
        self.tensors.keys().filter_map(here).chain(outside).collect()
    }

    fn notes(&self) -> Vec<String> {
        keys::tokenizer_notes(&self.metadata)
    }

    fn content_hash(&self) -> Result<String> {
        hash_files(self.parts.iter())
    }
}
