//! Builds the layers of a model from a source of weights, widening on the way.

use crate::embedding::Embedding;
use crate::linear::Linear;
use crate::model::{Layer, LoadOptions};
use crate::raw::{Matrix, RawTensor, encode_row};
use crate::weights::WeightSource;
use crate::widen::Widening;
use crate::{Error, ModelConfig, Result};
use candle_core::{Device, Tensor};
use s3d_data::Dtype;

/// Asks a source for weights by the names and shapes of a Llama checkpoint.
pub(crate) struct Builder<'s> {
    source: &'s dyn WeightSource,
    /// As in the file, before widening.
    config: &'s ModelConfig,
    widening: Widening,
    device: &'s Device,
    /// Of the matrices.
    dtype: Dtype,
    /// Whether linear layers are packed for the kernels.
    packed: bool,
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
        if !Dtype::ENGINE.contains(&options.dtype) {
            let known = Dtype::ENGINE.map(Dtype::name).join(", ");
            let message = format!("the engine runs {known}; found {}", options.dtype);
            return Err(Error::invalid(message));
        }
        Ok(Self { source, config, widening, device: &options.device, dtype: options.dtype, packed })
    }

    pub fn wide_config(&self) -> ModelConfig {
        self.widening.config(self.config)
    }

    /// A matrix `[vocab, wide hidden]`: embedding or head.
    fn table(&self, name: &str) -> Result<Matrix> {
        let (vocab, hidden) = (self.config.vocab_size, self.config.hidden_size);
        let matrix = self.source.matrix(name, [vocab, hidden], self.dtype.of_tables())?;
        Ok(match self.widening.factor() {
            1 => matrix,
            _ => Matrix::F32(self.widening.columns(matrix.into_f32(), hidden)),
        })
    }

    pub fn embedding(&self) -> Result<Embedding> {
        let (masks, hidden) = (self.config.masks(), self.config.hidden_size);
        let wide = hidden * self.widening.factor();
        let masks = match masks {
            0 => Vec::new(),
            _ => self.source.tensor("s3d.mask_embeddings.weight", &[masks, hidden])?,
        };
        let tokens = match self.config.tie_word_embeddings {
            true => None,
            false => Some(self.rows(self.table("model.embed_tokens.weight")?, wide)?),
        };
        Ok(Embedding {
            tokens,
            masks: self.widening.columns(masks, hidden),
            vocab: self.config.vocab_size,
            hidden: wide,
        })
    }

    /// A table that is looked up and never multiplied, row by row in the type of tables.
    fn rows(&self, matrix: Matrix, columns: usize) -> Result<RawTensor> {
        // A row that is no whole number of blocks stays in numbers.
        let fits = |dtype: &Dtype| columns.is_multiple_of(dtype.block_weights());
        let dtype = Some(self.dtype.of_tables()).filter(fits).unwrap_or(Dtype::F16);
        let numbers = match matrix {
            Matrix::Raw(tensor) if tensor.dtype == dtype => return Ok(tensor),
            other => other.into_f32(),
        };
        let size = crate::kernels::row_bytes(dtype, columns);
        let rows = numbers.len() / columns;
        let mut bytes = vec![0; rows * size];
        for (row, raw) in numbers.chunks_exact(columns).zip(bytes.chunks_exact_mut(size)) {
            encode_row(dtype, row, raw);
        }
        RawTensor::new(dtype, [rows, columns], bytes)
    }

    pub fn layer(&self, number: usize) -> Result<Layer> {
        let (heads, kv_heads) = (self.config.num_attention_heads, self.config.kv_heads());
        let (hidden, head_dim) = (self.config.hidden_size, self.config.head_dim());
        let neurons = self.config.intermediate_size;
        let name = |part: &str| format!("model.layers.{number}.{part}.weight");
        let matrix = |part: &str, out: usize, inputs: usize| self.matrix(&name(part), out, inputs);
        let wide = hidden * self.widening.factor();
        let attention_norm = self.norm(&name("input_layernorm"))?;
        let qkv = [
            matrix("self_attn.q_proj", heads * head_dim, hidden)?,
            matrix("self_attn.k_proj", kv_heads * head_dim, hidden)?,
            matrix("self_attn.v_proj", kv_heads * head_dim, hidden)?,
        ];
        let qkv = self.linear(&qkv.each_ref(), wide)?;
        let out = matrix("self_attn.o_proj", hidden, heads * head_dim)?;
        let attention_out = self.linear(&[&out], heads * head_dim * self.widening.factor())?;
        drop(out);
        let mlp_norm = self.norm(&name("post_attention_layernorm"))?;
        let gate = matrix("mlp.gate_proj", neurons, hidden)?;
        let up = matrix("mlp.up_proj", neurons, hidden)?;
        let gate_up = self.layout(Linear::gate_and_up(&gate, &up, wide, self.dtype)?)?;
        drop((gate, up));
        let down = self.down(matrix("mlp.down_proj", hidden, neurons)?)?;
        Ok(Layer { attention_norm, qkv, attention_out, mlp_norm, gate_up, down })
    }

    fn linear(&self, parts: &[&Matrix], inputs: usize) -> Result<Linear> {
        self.layout(Linear::new(parts, inputs, self.dtype)?)
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
        let weight = self.source.tensor("model.norm.weight", &[self.config.hidden_size])?;
        Ok(Tensor::new(self.widening.final_norm(weight), self.device)?)
    }

    pub fn head(&self) -> Result<Linear> {
        let name = match self.config.tie_word_embeddings {
            true => "model.embed_tokens.weight",
            false => "lm_head.weight",
        };
        let inputs = self.config.hidden_size * self.widening.factor();
        let table = self.table(name)?;
        self.layout(Linear::new(&[&table], inputs, self.dtype.of_tables())?)
    }

    /// A matrix `[out, inputs]`, widened on both sides.
    fn matrix(&self, name: &str, out: usize, inputs: usize) -> Result<Matrix> {
        let matrix = self.source.matrix(name, [out, inputs], self.dtype)?;
        Ok(match self.widening.factor() {
            1 => matrix,
            _ => Matrix::F32(self.widening.matrix(matrix.into_f32(), inputs)),
        })
    }

    fn norm(&self, name: &str) -> Result<Tensor> {
        let weight = self.source.tensor(name, &[self.config.hidden_size])?;
        Ok(Tensor::new(self.widening.outputs(weight), self.device)?)
    }
}
