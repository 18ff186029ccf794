//! Builds the layers of a model from a source of weights, widening on the way.

use crate::config::AttentionParts;
use crate::embedding::Embedding;
use crate::linear::Linear;
use crate::model::{Layer, LoadOptions};
use crate::weights::WeightSource;
use crate::widen::Widening;
use crate::{Error, ModelConfig, Result};
use candle_core::{Device, Tensor};
use std::cell::RefCell;
use std::collections::BTreeSet;

/// Asks a source for weights by the names and shapes of a Hugging Face checkpoint.
pub(crate) struct Builder<'s> {
    source: &'s dyn WeightSource,
    /// As in the file, before widening.
    config: &'s ModelConfig,
    parts: AttentionParts,
    widening: Widening,
    device: &'s Device,
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
        let (device, asked) = (&options.device, RefCell::default());
        Ok(Self { source, config, parts, widening, device, packed, asked })
    }

    pub fn wide_config(&self) -> ModelConfig {
        self.widening.config(self.config)
    }

    /// The embedding matrix `[vocab, wide hidden]`.
    fn token_matrix(&self) -> Result<Vec<f32>> {
        let (vocab, hidden) = (self.config.vocab_size, self.config.hidden_size);
        let matrix = self.tensor("model.embed_tokens.weight", &[vocab, hidden])?;
        Ok(self.widening.columns(matrix, hidden))
    }

    pub fn embedding(&self) -> Result<Embedding> {
        let (masks, hidden) = (self.config.masks(), self.config.hidden_size);
        let wide = hidden * self.widening.factor();
        let masks = match masks {
            0 => Vec::new(),
            _ => self.tensor("s3d.mask_embeddings.weight", &[masks, hidden])?,
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
        let (hidden, neurons) = (self.config.hidden_size, self.config.intermediate_size);
        let [queries, ..] = self.qkv_rows();
        let name = |part: &str| format!("model.layers.{number}.{part}.weight");
        let matrix = |part: &str, out: usize, inputs: usize| self.matrix(&name(part), out, inputs);
        let wide = hidden * self.widening.factor();
        let linear = |matrix: &[f32], inputs: usize| {
            self.layout(Linear::new(matrix, inputs * self.widening.factor(), self.device)?)
        };
        let attention_norm = self.norm(&name("input_layernorm"))?;
        let parts = ["q_proj", "k_proj", "v_proj"].map(|part| name(&format!("self_attn.{part}")));
        let qkv = self.matrices(&name("self_attn.qkv_proj"), &parts, &self.qkv_rows())?.concat();
        let qkv = linear(&qkv, hidden)?;
        let out = linear(&matrix("self_attn.o_proj", hidden, queries)?, queries)?;
        let mlp_norm = self.norm(&name("post_attention_layernorm"))?;
        let parts = [name("mlp.gate_proj"), name("mlp.up_proj")];
        let pair = self.matrices(&name("mlp.gate_up_proj"), &parts, &[neurons; 2])?;
        let gate_up = Linear::gate_and_up(&pair[0], &pair[1], wide, self.device)?;
        drop(pair);
        Ok(Layer {
            attention_norm,
            qkv,
            qkv_bias: self.qkv_bias(number)?,
            head_norms: self.head_norms(number)?,
            attention_out: out,
            out_bias: self.out_bias(number)?,
            mlp_norm,
            gate_up: self.layout(gate_up)?,
            down: self.down(&matrix("mlp.down_proj", hidden, neurons)?)?,
        })
    }

    /// Rows of queries, keys and values.
    fn qkv_rows(&self) -> [usize; 3] {
        let (heads, kv_heads) = (self.config.num_attention_heads, self.config.kv_heads());
        [heads, kv_heads, kv_heads].map(|heads| heads * self.config.head_dim())
    }

    /// Several matrices over the residual stream: one by one under `names`, or as rows of the matrix
    /// `fused`, as the architecture has them.
    fn matrices(&self, fused: &str, names: &[String], rows: &[usize]) -> Result<Vec<Vec<f32>>> {
        let hidden = self.config.hidden_size;
        if !self.parts.fused {
            let each = names.iter().zip(rows);
            return each.map(|(name, &rows)| self.matrix(name, rows, hidden)).collect();
        }
        let mut rest = self.tensor(fused, &[rows.iter().sum(), hidden])?;
        let mut parts = Vec::new();
        for &rows in rows {
            let later = rest.split_off(rows * hidden);
            parts.push(self.widening.matrix(std::mem::replace(&mut rest, later), hidden));
        }
        Ok(parts)
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

    /// A tensor of the source.
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        self.asked.borrow_mut().insert(name.to_string());
        self.source.tensor(name, shape)
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
        let weight = self.tensor("model.norm.weight", &[self.config.hidden_size])?;
        Ok(Tensor::new(self.widening.final_norm(weight), self.device)?)
    }

    pub fn head(&self) -> Result<Linear> {
        let (vocab, hidden) = (self.config.vocab_size, self.config.hidden_size);
        let matrix = match self.config.tie_word_embeddings {
            true => self.token_matrix()?,
            false => {
                let matrix = self.tensor("lm_head.weight", &[vocab, hidden])?;
                self.widening.columns(matrix, hidden)
            }
        };
        self.layout(Linear::new(&matrix, hidden * self.widening.factor(), self.device)?)
    }

    /// A matrix `[out, inputs]`, widened on both sides.
    fn matrix(&self, name: &str, out: usize, inputs: usize) -> Result<Vec<f32>> {
        Ok(self.widening.matrix(self.tensor(name, &[out, inputs])?, inputs))
    }

    fn norm(&self, name: &str) -> Result<Tensor> {
        let weight = self.tensor(name, &[self.config.hidden_size])?;
        Ok(Tensor::new(self.widening.outputs(weight), self.device)?)
    }
}
