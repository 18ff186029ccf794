//! Builds the layers of a model from a source of weights, widening on the way.

use crate::config::AttentionParts;
use crate::embedding::Embedding;
use crate::kernels::row_bytes;
use crate::linear::{BAND, Linear};
use crate::model::{Layer, LoadOptions};
use crate::raw::{Matrix, RawTensor};
use crate::weights::WeightSource;
use crate::widen::Widening;
use crate::{Error, ModelConfig, Result};
use candle_core::{Device, Tensor};
use s3d_data::Dtype;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;

/// Asks a source for weights by the names and shapes of a Hugging Face checkpoint.
pub(crate) struct Builder<'s> {
    source: &'s dyn WeightSource,
    /// As in the file, before widening.
    config: &'s ModelConfig,
    parts: AttentionParts,
    widening: Widening,
    device: &'s Device,
    /// Of the matrices.
    dtype: Dtype,
    /// Whether linear layers are packed for the kernels.
    packed: bool,
    /// Names that were asked for.
    asked: RefCell<BTreeSet<String>>,
}

impl<'s> Builder<'s> {
    pub fn new(
        source: &'s dyn WeightSource,
        config: &'s ModelConfig,
        options: &'s LoadOptions,
        packed: bool,
    ) -> Result<Self> {
        config.validate().map_err(Error::invalid)?;
        let widening = Widening::new(options.widen)?;
        let parts = config.attention_parts().map_err(Error::invalid)?;
        let (device, dtype, asked) = (&options.device, options.dtype, RefCell::default());
        if !Dtype::ENGINE.contains(&dtype) {
            let known = Dtype::ENGINE.map(Dtype::name).join(", ");
            return Err(Error::invalid(format!("the engine runs {known}; found {dtype}")));
        }
        Ok(Self { source, config, parts, widening, device, dtype, packed, asked })
    }

    pub fn wide_config(&self) -> ModelConfig {
        self.widening.config(self.config)
    }

    /// The embedding or the head, `[vocab, wide hidden]`.
    fn table(&self, name: &str) -> Result<Matrix> {
        let (vocab, hidden) = (self.config.vocab_size, self.config.hidden_size);
        self.ask(name);
        let matrix = self.source.matrix(name, [vocab, hidden], self.dtype.of_tables())?;
        Ok(self.wide_columns(matrix))
    }

    /// Rows of a table; nothing where the source can only give it whole. In a small model a table is most
    /// of all weights: band by band it needs no second copy.
    fn band(&self, name: &str, rows: Range<usize>) -> Result<Option<Matrix>> {
        let shape = [self.config.vocab_size, self.config.hidden_size];
        self.ask(name);
        let band = self.source.rows(name, shape, rows, self.dtype.of_tables())?;
        Ok(band.map(|band| self.wide_columns(band)))
    }

    fn wide_columns(&self, matrix: Matrix) -> Matrix {
        match self.widening.factor() {
            1 => matrix,
            _ => Matrix::F32(self.widening.columns(matrix.into_f32(), self.config.hidden_size)),
        }
    }

    pub fn embedding(&self) -> Result<Embedding> {
        let (masks, hidden) = (self.config.masks(), self.config.hidden_size);
        let masks = match masks {
            0 => Vec::new(),
            _ => self.tensor("s3d.mask_embeddings.weight", &[masks, hidden])?,
        };
        let tokens = match self.config.tie_word_embeddings {
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
        let mut bytes = Vec::new();
        let mut append = |matrix: &Matrix, rows: usize| {
            let start = bytes.len();
            bytes.resize(start + rows * size, 0);
            for (row, raw) in bytes[start..].chunks_exact_mut(size).enumerate() {
                matrix.encode_row(row, columns, dtype, raw);
            }
        };
        if self.band(name, 0..0)?.is_none() {
            match self.table(name)? {
                Matrix::Raw(tensor) if tensor.dtype == dtype => return Ok(tensor),
                matrix => append(&matrix, vocab),
            }
        } else {
            for start in (0..vocab).step_by(BAND) {
                let end = vocab.min(start + BAND);
                let band = self.band(name, start..end)?;
                append(&band.unwrap_or(Matrix::F32(Vec::new())), end - start);
            }
        }
        RawTensor::new(dtype, [vocab, columns], bytes)
    }

    pub fn layer(&self, number: usize) -> Result<Layer> {
        let (hidden, neurons) = (self.config.hidden_size, self.config.intermediate_size);
        let [queries, ..] = self.qkv_rows();
        let name = |part: &str| format!("model.layers.{number}.{part}.weight");
        let matrix = |part: &str, out: usize, inputs: usize| self.matrix(&name(part), out, inputs);
        let factor = self.widening.factor();
        let attention_norm = self.norm(&name("input_layernorm"))?;
        let parts = ["q_proj", "k_proj", "v_proj"].map(|part| name(&format!("self_attn.{part}")));
        let parts = self.matrices(&name("self_attn.qkv_proj"), &parts, &self.qkv_rows())?;
        let qkv = self.linear(&parts.iter().collect::<Vec<_>>(), hidden * factor)?;
        drop(parts);
        let out = matrix("self_attn.o_proj", hidden, queries)?;
        let attention_out = self.linear(&[&out], queries * factor)?;
        drop(out);
        let mlp_norm = self.norm(&name("post_attention_layernorm"))?;
        let parts = [name("mlp.gate_proj"), name("mlp.up_proj")];
        let pair = self.matrices(&name("mlp.gate_up_proj"), &parts, &[neurons; 2])?;
        let gate_up = Linear::gate_and_up(&pair[0], &pair[1], hidden * factor, self.dtype)?;
        drop(pair);
        Ok(Layer {
            attention_norm,
            qkv,
            qkv_bias: self.qkv_bias(number)?,
            head_norms: self.head_norms(number)?,
            attention_out,
            out_bias: self.out_bias(number)?,
            mlp_norm,
            gate_up: self.layout(gate_up)?,
            down: self.down(matrix("mlp.down_proj", hidden, neurons)?)?,
        })
    }

    fn linear(&self, parts: &[&Matrix], inputs: usize) -> Result<Linear> {
        self.layout(Linear::new(parts, inputs, self.dtype)?)
    }

    /// Rows of queries, keys and values.
    fn qkv_rows(&self) -> [usize; 3] {
        let (heads, kv_heads) = (self.config.num_attention_heads, self.config.kv_heads());
        [heads, kv_heads, kv_heads].map(|heads| heads * self.config.head_dim())
    }

    /// Several matrices over the residual stream: one by one under `names`, or as rows of the matrix
    /// `fused`, as the architecture has them.
    fn matrices(&self, fused: &str, names: &[String], rows: &[usize]) -> Result<Vec<Matrix>> {
        let hidden = self.config.hidden_size;
        if !self.parts.fused {
            let each = names.iter().zip(rows);
            return each.map(|(name, &rows)| self.matrix(name, rows, hidden)).collect();
        }
        self.ask(fused);
        let whole = self.source.matrix(fused, [rows.iter().sum(), hidden], self.dtype)?;
        let parts = whole.split_rows(hidden, rows).into_iter();
        Ok(parts.map(|part| self.widened(part, hidden)).collect())
    }

    /// The biases of queries, keys and values, in this order.
    fn qkv_bias(&self, layer: usize) -> Result<Option<Tensor>> {
        if !self.parts.qkv_bias {
            return Ok(None);
        }
        let mut bias = Vec::new();
        for (part, rows) in ["q", "k", "v"].into_iter().zip(self.qkv_rows()) {
            let name = format!("model.layers.{layer}.self_attn.{part}_proj.bias");
            bias.extend(self.widening.outputs(self.tensor(&name, &[rows])?));
        }
        Ok(Some(Tensor::new(bias, self.device)?))
    }

    fn out_bias(&self, layer: usize) -> Result<Option<Tensor>> {
        if !self.parts.out_bias {
            return Ok(None);
        }
        let name = format!("model.layers.{layer}.self_attn.o_proj.bias");
        let bias = self.tensor(&name, &[self.config.hidden_size])?;
        Ok(Some(Tensor::new(self.widening.outputs(bias), self.device)?))
    }

    /// The norms of query and key heads, `[2, head_dim]`; every copy of a head has the same.
    fn head_norms(&self, layer: usize) -> Result<Option<Tensor>> {
        if !self.parts.head_norms {
            return Ok(None);
        }
        let dim = self.config.head_dim();
        let norm = |part: &str| {
            self.tensor(&format!("model.layers.{layer}.self_attn.{part}_norm.weight"), &[dim])
        };
        let both = [norm("q")?, norm("k")?].concat();
        Ok(Some(Tensor::from_vec(both, (2, dim), self.device)?))
    }

    /// Refuses weights of layers that nothing asked for: a model without them is another model.
    pub fn check_all_used(&self) -> Result<()> {
        let asked = self.asked.borrow();
        let names = self.source.names();
        let left = names.iter().find(|name| {
            let idle = name.ends_with("rotary_emb.inv_freq");
            name.starts_with("model.layers.") && !idle && !asked.contains(*name)
        });
        match left {
            None => Ok(()),
            Some(name) => Err(Error::invalid(format!(
                "the checkpoint holds '{name}', which its configuration does not call for; is it of another architecture, or of more layers?"
            ))),
        }
    }

    /// Remembers that a name was asked for.
    fn ask(&self, name: &str) {
        self.asked.borrow_mut().insert(name.to_string());
    }

    /// A tensor of the source.
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        self.ask(name);
        self.source.tensor(name, shape)
    }

    /// A layer in the form that the operations want.
    fn layout(&self, linear: Linear) -> Result<Linear> {
        if self.packed { Ok(linear) } else { linear.to_plain(self.device) }
    }

    /// The down projection, its inputs filled up to the outputs of gate and up.
    fn down(&self, matrix: Matrix) -> Result<Linear> {
        let neurons = self.config.intermediate_size * self.widening.factor();
        let inputs = neurons.next_multiple_of(crate::kernels::LANES);
        if inputs == neurons {
            return self.linear(&[&matrix], inputs);
        }
        let matrix = matrix.into_f32();
        let mut filled = vec![0.0; matrix.len() / neurons * inputs];
        for (row, into) in matrix.chunks_exact(neurons).zip(filled.chunks_exact_mut(inputs)) {
            into[..neurons].copy_from_slice(row);
        }
        self.linear(&[&Matrix::F32(filled)], inputs)
    }

    pub fn final_norm(&self) -> Result<Tensor> {
        let weight = self.tensor("model.norm.weight", &[self.config.hidden_size])?;
        Ok(Tensor::new(self.widening.final_norm(weight), self.device)?)
    }

    pub fn head(&self) -> Result<Linear> {
        let name = match self.config.tie_word_embeddings {
            true => "model.embed_tokens.weight",
            false => "lm_head.weight",
        };
        let inputs = self.config.hidden_size * self.widening.factor();
        let dtype = self.dtype.of_tables();
        if self.band(name, 0..0)?.is_none() {
            let table = self.table(name)?;
            return self.layout(Linear::new(&[&table], inputs, dtype)?);
        }
        let head = Linear::from_bands(self.config.vocab_size, inputs, dtype, |rows| {
            Ok(self.band(name, rows)?.unwrap_or(Matrix::F32(Vec::new())))
        });
        self.layout(head?)
    }

    /// A matrix `[out, inputs]`, widened on both sides.
    fn matrix(&self, name: &str, out: usize, inputs: usize) -> Result<Matrix> {
        self.ask(name);
        let matrix = self.source.matrix(name, [out, inputs], self.dtype)?;
        Ok(self.widened(matrix, inputs))
    }

    fn widened(&self, matrix: Matrix, inputs: usize) -> Matrix {
        match self.widening.factor() {
            1 => matrix,
            _ => Matrix::F32(self.widening.matrix(matrix.into_f32(), inputs)),
        }
    }

    fn norm(&self, name: &str) -> Result<Tensor> {
        let weight = self.tensor(name, &[self.config.hidden_size])?;
        Ok(Tensor::new(self.widening.outputs(weight), self.device)?)
    }
}
