//! Builds the layers of a model from a source of weights, widening on the way.

use crate::embedding::Embedding;
use crate::linear::Linear;
use crate::model::{Layer, LoadOptions};
use crate::weights::WeightSource;
use crate::widen::Widening;
use crate::{Error, ModelConfig, Result};
use candle_core::{Device, Tensor};

/// Asks a source for weights by the names and shapes of a Llama checkpoint.
pub(crate) struct Builder<'s> {
    source: &'s dyn WeightSource,
    /// As in the file, before widening.
    config: &'s ModelConfig,
    widening: Widening,
    device: &'s Device,
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
        Ok(Self { source, config, widening, device: &options.device, packed })
    }

    pub fn wide_config(&self) -> ModelConfig {
        self.widening.config(self.config)
    }

    /// The embedding matrix `[vocab, wide hidden]`.
    fn token_matrix(&self) -> Result<Vec<f32>> {
        let (vocab, hidden) = (self.config.vocab_size, self.config.hidden_size);
        let matrix = self.source.tensor("model.embed_tokens.weight", &[vocab, hidden])?;
        Ok(self.widening.columns(matrix, hidden))
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
            false => Some(self.layout(Linear::new(&self.token_matrix()?, wide, self.device)?)?),
        };
        Ok(Embedding {
            tokens,
            masks: self.widening.columns(masks, hidden),
            vocab: self.config.vocab_size,
            hidden: wide,
        })
    }

    pub fn layer(&self, number: usize) -> Result<Layer> {
        let (heads, kv_heads) = (self.config.num_attention_heads, self.config.kv_heads());
        let (hidden, head_dim) = (self.config.hidden_size, self.config.head_dim());
        let neurons = self.config.intermediate_size;
        let name = |part: &str| format!("model.layers.{number}.{part}.weight");
        let matrix = |part: &str, out: usize, inputs: usize| self.matrix(&name(part), out, inputs);
        let wide = hidden * self.widening.factor();
        let linear = |matrix: &[f32], inputs: usize| {
            self.layout(Linear::new(matrix, inputs * self.widening.factor(), self.device)?)
        };
        let attention_norm = self.norm(&name("input_layernorm"))?;
        let qkv = [
            matrix("self_attn.q_proj", heads * head_dim, hidden)?,
            matrix("self_attn.k_proj", kv_heads * head_dim, hidden)?,
            matrix("self_attn.v_proj", kv_heads * head_dim, hidden)?,
        ];
        let out = matrix("self_attn.o_proj", hidden, heads * head_dim)?;
        let mlp_norm = self.norm(&name("post_attention_layernorm"))?;
        let gate = matrix("mlp.gate_proj", neurons, hidden)?;
        let up = matrix("mlp.up_proj", neurons, hidden)?;
        Ok(Layer {
            attention_norm,
            qkv: linear(&qkv.concat(), hidden)?,
            attention_out: linear(&out, heads * head_dim)?,
            mlp_norm,
            gate_up: self.layout(Linear::gate_and_up(&gate, &up, wide, self.device)?)?,
            down: self.down(&matrix("mlp.down_proj", hidden, neurons)?)?,
        })
    }

    /// A layer in the form that the operations want.
    fn layout(&self, linear: Linear) -> Result<Linear> {
        if self.packed { Ok(linear) } else { linear.to_plain() }
    }

    /// The down projection, its inputs filled up to the outputs of gate and up.
    fn down(&self, matrix: &[f32]) -> Result<Linear> {
        let neurons = self.config.intermediate_size * self.widening.factor();
        let inputs = neurons.next_multiple_of(crate::kernels::LANES);
        let mut filled = vec![0.0; matrix.len() / neurons * inputs];
        for (row, into) in matrix.chunks_exact(neurons).zip(filled.chunks_exact_mut(inputs)) {
            into[..neurons].copy_from_slice(row);
        }
        self.layout(Linear::new(&filled, inputs, self.device)?)
    }

    pub fn final_norm(&self) -> Result<Tensor> {
        let weight = self.source.tensor("model.norm.weight", &[self.config.hidden_size])?;
        Ok(Tensor::new(self.widening.final_norm(weight), self.device)?)
    }

    pub fn head(&self) -> Result<Linear> {
        let (vocab, hidden) = (self.config.vocab_size, self.config.hidden_size);
        let matrix = match self.config.tie_word_embeddings {
            true => self.token_matrix()?,
            false => {
                let matrix = self.source.tensor("lm_head.weight", &[vocab, hidden])?;
                self.widening.columns(matrix, hidden)
            }
        };
        self.layout(Linear::new(&matrix, hidden * self.widening.factor(), self.device)?)
    }

    /// A matrix `[out, inputs]`, widened on both sides.
    fn matrix(&self, name: &str, out: usize, inputs: usize) -> Result<Vec<f32>> {
        Ok(self.widening.matrix(self.source.tensor(name, &[out, inputs])?, inputs))
    }

    fn norm(&self, name: &str) -> Result<Tensor> {
        let weight = self.source.tensor(name, &[self.config.hidden_size])?;
        Ok(Tensor::new(self.widening.outputs(weight), self.device)?)
    }
}
