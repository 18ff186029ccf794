//! Builds the layers of a model from a source of weights, widening on the way.

use super::reader::{self, Reader};
use crate::backend::Backend;
use crate::backend::convert::Vector;
use crate::backend::embedding::Embedding;
use crate::backend::linear::Linear;
use crate::config::ModelConfig;
use crate::config::architecture::AttentionParts;
use crate::error::{Error, Result};
use crate::model::draft_head::DraftHead;
use crate::model::layer::Layer;
use crate::model::options::LoadOptions;
use crate::weights::encoded::{Matrix, RawTensor};
use crate::weights::source::WeightSource;
use crate::weights::widen::Widening;
use s3d_data::Dtype;
use s3d_kernels::packed::row_bytes;
use s3d_kernels::panels::LANES;
use std::ops::Range;

/// Asks a source for weights by the names and shapes of a Hugging Face checkpoint.
pub(super) struct Builder<'s> {
    pub(super) reader: Reader<'s>,
    /// As in the file, before widening.
    pub(super) config: &'s ModelConfig,
    pub(super) parts: AttentionParts,
    pub(super) widening: Widening,
    /// Of the matrices.
    pub(super) dtype: Dtype,
    pub(super) backend: &'s Backend,
}

impl<'s> Builder<'s> {
    pub(super) fn new(
        source: &'s dyn WeightSource,
        config: &'s ModelConfig,
        options: &'s LoadOptions,
        backend: &'s Backend,
    ) -> Result<Self> {
        config.validate().map_err(Error::invalid)?;
        let widening = Widening::new(options.widen)?;
        let parts = config.attention_parts().map_err(Error::invalid)?;
        let (reader, dtype) = (Reader::new(source), options.dtype);
        if !Dtype::ENGINE.contains(&dtype) {
            let known = Dtype::ENGINE.map(Dtype::name).join(", ");
            return Err(Error::invalid(format!("the engine runs {known}; found {dtype}")));
        }
        backend.check_dtype(dtype)?;
        Ok(Self { reader, config, parts, widening, dtype, backend })
    }

    pub(super) fn wide_config(&self) -> ModelConfig {
        self.widening.config(self.config)
    }

    /// Rows of the embedding or the head, `[vocab, wide hidden]`.
    fn table(&self, name: &str, rows: Range<usize>) -> Result<Matrix> {
        let matrix = self.reader.read(name, self.table_shape(), rows, self.dtype.of_tables())?;
        Ok(self.wide_columns(matrix))
    }

    /// As in the file.
    fn table_shape(&self) -> [usize; 2] {
        [self.config.vocab_size, self.config.hidden_size]
    }

    fn wide_columns(&self, matrix: Matrix) -> Matrix {
        match self.widening.factor() {
            1 => matrix,
            _ => Matrix::F32(self.widening.columns(matrix.into_f32(), self.config.hidden_size)),
        }
    }

    pub(super) fn embedding(&self) -> Result<Embedding> {
        let (masks, hidden) = (self.config.masks(), self.config.hidden_size);
        let masks = match masks {
            0 => Vec::new(),
            _ => self.reader.tensor("s3d.mask_embeddings.weight", &[masks, hidden])?,
        };
        // Of a head on a device no row can be read without waiting for it.
        let at_hand = self.backend.has_weights_at_hand();
        let tokens = match self.config.tie_word_embeddings && at_hand {
            true => None,
            false => Some(self.rows("model.embed_tokens.weight")?),
        };
        Ok(Embedding {
            tokens,
            masks: self.widening.columns(masks, hidden),
            vocab: self.config.vocab_size,
            hidden: hidden * self.widening.factor(),
        })
    }

    /// A table that is looked up and never multiplied, row by row in the type of tables.
    fn rows(&self, name: &str) -> Result<RawTensor> {
        let columns = self.config.hidden_size * self.widening.factor();
        let vocab = self.config.vocab_size;
        // A row that is no whole number of blocks stays in numbers.
        let fits = |dtype: &Dtype| columns.is_multiple_of(dtype.block_weights());
        let dtype = Some(self.dtype.of_tables()).filter(fits).unwrap_or(Dtype::F16);
        let size = row_bytes(dtype, columns);
        let band = self.reader.band(name, self.table_shape(), self.dtype.of_tables())?;
        let mut bytes = vec![0; vocab * size];
        for (number, bytes) in bytes.chunks_mut((band * size).max(1)).enumerate() {
            let start = number * band;
            let table = self.table(name, start..vocab.min(start + band))?;
            reader::check_range(name, &table, dtype)?;
            for (row, raw) in bytes.chunks_exact_mut(size).enumerate() {
                table.encode_row(row, columns, dtype, raw);
            }
        }
        RawTensor::new(dtype, [vocab, columns], bytes)
    }

    pub(super) fn layer(&self, number: usize) -> Result<Layer> {
        let (hidden, neurons) = (self.config.hidden_size, self.config.intermediate_size);
        let [queries, ..] = self.qkv_rows();
        let name = |part: &str| format!("model.layers.{number}.{part}.weight");
        let attention_norm = self.norm(&name("input_layernorm"))?;
        let parts = ["q_proj", "k_proj", "v_proj"].map(|part| name(&format!("self_attn.{part}")));
        let parts = self.matrices(&name("self_attn.qkv_proj"), &parts, &self.qkv_rows())?;
        let parts: Vec<&Matrix> = parts.iter().collect();
        let qkv = Linear::new(&parts, self.wide(hidden), self.dtype, self.backend.home())?;
        let attention_out = self.banded(&name("self_attn.o_proj"), [hidden, queries], 1)?;
        let mlp_norm = self.norm(&name("post_attention_layernorm"))?;
        Ok(Layer {
            attention_norm,
            qkv,
            qkv_bias: self.qkv_bias(number)?,
            head_norms: self.head_norms(number)?,
            turns: self.config.turns(number),
            attention_out,
            out_bias: self.out_bias(number)?,
            mlp_norm,
            gate_up: self.gate_up(number)?,
            gate_up_bias: self.gate_up_bias(number)?,
            // Its inputs are the outputs of gate and up: whole panels.
            down: self.banded(&name("mlp.down_proj"), [hidden, neurons], LANES)?,
            down_bias: self.down_bias(number)?,
            adapters: self.adapters(number)?,
        })
    }

    /// A matrix `[out, inputs]` as a layer, whose inputs are filled up with zeros to a multiple of
    /// `fill`.
    fn banded(&self, name: &str, [out, inputs]: [usize; 2], fill: usize) -> Result<Linear> {
        let wide = self.wide(inputs);
        let filled = wide.next_multiple_of(fill);
        if self.widening.factor() > 1 {
            let matrix = fill_up(self.matrix(name, out, inputs)?, wide, filled);
            return Linear::new(&[&matrix], filled, self.dtype, self.backend.home());
        }
        let band = self.reader.band(name, [out, inputs], self.dtype)?;
        Linear::from_bands([out, filled], self.dtype, self.backend.home(), band, |rows| {
            Ok(fill_up(self.reader.read(name, [out, inputs], rows, self.dtype)?, inputs, filled))
        })
    }

    fn gate_up(&self, layer: usize) -> Result<Linear> {
        let (hidden, neurons) = (self.config.hidden_size, self.config.intermediate_size);
        let name = |part: &str| format!("model.layers.{layer}.mlp.{part}.weight");
        let (fused, names) = (name("gate_up_proj"), [name("gate_proj"), name("up_proj")]);
        // Where each half begins, in which matrix of the file.
        let (halves, rows) = match self.parts.fused {
            true => ([(&fused, 0), (&fused, neurons)], 2 * neurons),
            false => ([(&names[0], 0), (&names[1], 0)], neurons),
        };
        let file = [rows, hidden];
        let wide = [self.wide(neurons), self.wide(hidden)];
        let band = match self.widening.factor() {
            1 => self.reader.band(halves[0].0, file, self.dtype)?,
            _ => rows,
        };
        if band == rows {
            let whole = |_| {
                let mut parts = self.matrices(&fused, &names, &[neurons; 2])?.into_iter();
                let mut next = || parts.next().unwrap_or(Matrix::F32(Vec::new()));
                Ok([next(), next()])
            };
            return Linear::gate_and_up(wide, self.dtype, self.backend.home(), wide[0], whole);
        }
        Linear::gate_and_up(wide, self.dtype, self.backend.home(), band, |rows| {
            let [gate, up] = halves.map(|(name, first)| {
                self.reader.read(name, file, first + rows.start..first + rows.end, self.dtype)
            });
            Ok([gate?, up?])
        })
    }

    pub(super) fn wide(&self, size: usize) -> usize {
        size * self.widening.factor()
    }

    /// Rows of queries, keys and values.
    pub(super) fn qkv_rows(&self) -> [usize; 3] {
        let (heads, kv_heads) = (self.config.num_attention_heads, self.config.kv_heads());
        [heads, kv_heads, kv_heads].map(|heads| heads * self.config.head_dim())
    }

    /// Several matrices over the residual stream: one by one under `names`, or as rows of the
    /// matrix `fused`, as the architecture has them.
    fn matrices(&self, fused: &str, names: &[String], rows: &[usize]) -> Result<Vec<Matrix>> {
        let hidden = self.config.hidden_size;
        if !self.parts.fused {
            let each = names.iter().zip(rows);
            return each.map(|(name, &rows)| self.matrix(name, rows, hidden)).collect();
        }
        let whole = self.reader.matrix(fused, [rows.iter().sum(), hidden], self.dtype)?;
        let parts = whole.split_rows(hidden, rows).into_iter();
        Ok(parts.map(|part| self.widened(part, hidden)).collect())
    }

    /// The biases of queries, keys and values, in this order.
    fn qkv_bias(&self, layer: usize) -> Result<Option<Vector>> {
        if !self.parts.qkv_bias {
            return Ok(None);
        }
        let mut bias = Vec::new();
        for (part, rows) in ["q", "k", "v"].into_iter().zip(self.qkv_rows()) {
            let name = format!("model.layers.{layer}.self_attn.{part}_proj.bias");
            bias.extend(self.widening.outputs(self.reader.tensor(&name, &[rows])?));
        }
        Ok(Some(self.vector(bias)?))
    }

    fn out_bias(&self, layer: usize) -> Result<Option<Vector>> {
        if !self.parts.out_bias {
            return Ok(None);
        }
        let name = format!("model.layers.{layer}.self_attn.o_proj.bias");
        let bias = self.reader.tensor(&name, &[self.config.hidden_size])?;
        Ok(Some(self.vector(self.widening.outputs(bias))?))
    }

    /// The biases of gate and up projection, laid out as their products are: those of a layer over
    /// one input, which is 1.
    fn gate_up_bias(&self, layer: usize) -> Result<Option<Vector>> {
        if !self.parts.mlp_bias {
            return Ok(None);
        }
        let neurons = self.config.intermediate_size;
        let read = |part: &str| {
            let name = format!("model.layers.{layer}.mlp.{part}_proj.bias");
            let bias = self.reader.tensor(&name, &[neurons])?;
            Ok::<_, Error>(Matrix::F32(self.widening.outputs(bias)))
        };
        let (both, wide) = ([read("gate")?, read("up")?], self.wide(neurons));
        let all = |_| Ok(both.clone());
        let biases = Linear::gate_and_up([wide, 1], Dtype::F32, self.backend.home(), wide, all)?;
        let one = self.backend.upload(vec![1.0], 1)?;
        let products = biases.without_swiglu().forward(self.backend, &one)?;
        Ok(Some(self.backend.flat(&products)?))
    }

    fn down_bias(&self, layer: usize) -> Result<Option<Vector>> {
        if !self.parts.mlp_bias {
            return Ok(None);
        }
        let name = format!("model.layers.{layer}.mlp.down_proj.bias");
        let bias = self.reader.tensor(&name, &[self.config.hidden_size])?;
        Ok(Some(self.vector(self.widening.outputs(bias))?))
    }

    /// The norms of query and key heads, `[2, head_dim]`; every copy of a head has the same.
    fn head_norms(&self, layer: usize) -> Result<Option<Vector>> {
        if !self.parts.head_norms {
            return Ok(None);
        }
        let dim = self.config.head_dim();
        let norm = |part: &str| {
            self.reader
                .tensor(&format!("model.layers.{layer}.self_attn.{part}_norm.weight"), &[dim])
        };
        let both = [norm("q")?, norm("k")?].concat();
        Ok(Some(self.small(both, &[2, dim])?))
    }

    /// Refuses weights that nothing asked for.
    pub(super) fn check_all_used(&self) -> Result<()> {
        self.reader.check_all_used(self.config.tie_word_embeddings)
    }

    /// A vector that meets activations, or a matrix of such.
    fn small(&self, numbers: Vec<f32>, shape: &[usize]) -> Result<Vector> {
        self.backend.vector(numbers, shape)
    }

    fn vector(&self, numbers: Vec<f32>) -> Result<Vector> {
        let shape = [numbers.len()];
        self.small(numbers, &shape)
    }

    pub(super) fn final_norm(&self) -> Result<Vector> {
        let weight = self.reader.tensor("model.norm.weight", &[self.config.hidden_size])?;
        self.vector(self.widening.final_norm(weight))
    }

    pub(super) fn head(&self) -> Result<Linear> {
        let name = match self.config.tie_word_embeddings {
            true => "model.embed_tokens.weight",
            false => "lm_head.weight",
        };
        let dtype = self.dtype.of_tables();
        let shape = [self.config.vocab_size, self.wide(self.config.hidden_size)];
        let band = self.reader.band(name, self.table_shape(), dtype)?;
        Linear::from_bands(shape, dtype, self.backend.home(), band, |rows| self.table(name, rows))
    }

    /// The rows of `head` that drafts are chosen by, of a list of `listed` tokens: as they stand in
    /// it, bit by bit.
    pub(super) fn draft_head(
        &self,
        head: &Linear,
        listed: Option<usize>,
    ) -> Result<Option<DraftHead>> {
        let Some(listed) = listed else { return Ok(None) };
        // The list is checked whole, whatever is used of it.
        let list = self.reader.draft_vocabulary(listed, self.config.vocab_size)?;
        let Some(used) = self.config.draft_vocabulary() else { return Ok(None) };
        let tokens = list.first(used);
        Ok(Some(DraftHead { rows: head.some_rows(self.backend, &tokens)?, tokens }))
    }

    /// A matrix `[out, inputs]`, widened on both sides.
    fn matrix(&self, name: &str, out: usize, inputs: usize) -> Result<Matrix> {
        let matrix = self.reader.matrix(name, [out, inputs], self.dtype)?;
        Ok(self.widened(matrix, inputs))
    }

    fn widened(&self, matrix: Matrix, inputs: usize) -> Matrix {
        match self.widening.factor() {
            1 => matrix,
            _ => Matrix::F32(self.widening.matrix(matrix.into_f32(), inputs)),
        }
    }

    fn norm(&self, name: &str) -> Result<Vector> {
        let weight = self.reader.tensor(name, &[self.config.hidden_size])?;
        self.vector(self.widening.outputs(weight))
    }
}

/// Rows of `inputs` weights, filled up with zeros to `filled`.
pub(super) fn fill_up(matrix: Matrix, inputs: usize, filled: usize) -> Matrix {
    if inputs == filled {
        return matrix;
    }
    let matrix = matrix.into_f32();
    let mut wider = vec![0.0; matrix.len() / inputs.max(1) * filled];
    for (row, into) in matrix.chunks_exact(inputs).zip(wider.chunks_exact_mut(filled)) {
        into[..inputs].copy_from_slice(row);
    }
    Matrix::F32(wider)
}
