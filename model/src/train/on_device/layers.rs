//! The layers on candle's tensors, from a batch to the cross-entropy of its rows.

use super::OnDevice;
use crate::train::batch::Batch;
use crate::train::network::Network;
use crate::{ModelConfig, Result};
use candle_core::{D, DType, Tensor};
use candle_nn::ops::{log_softmax, rms_norm_slow, silu, softmax};
use std::ops::Range;

impl OnDevice {
    /// `x[rows, inputs]` in the device's number type through the matrix at `range`.
    fn linear(&self, x: &Tensor, range: &Range<usize>) -> Result<Tensor> {
        Ok(x.matmul(&self.weight(range)?.to_dtype(self.number)?.t()?)?)
    }

    fn norm(&self, network: &Network, state: &Tensor, gain: &Range<usize>) -> Result<Tensor> {
        let normed = rms_norm_slow(state, self.weight(gain)?, network.config.rms_norm_eps as f32)?;
        Ok(normed.to_dtype(self.number)?)
    }

    /// `x[rows, outputs]` plus the bias at `range`, where there is one.
    fn biased(&self, x: Tensor, range: Option<&Range<usize>>) -> Result<Tensor> {
        match range {
            None => Ok(x),
            Some(range) => Ok(x.broadcast_add(&self.weight(range)?.to_dtype(x.dtype())?)?),
        }
    }

    /// The gain of every query head, then of every key head, where heads are normalised:
    /// `[heads + kv_heads, head_dim]`.
    fn head_gains(
        &self,
        config: &ModelConfig,
        range: Option<&Range<usize>>,
    ) -> Result<Option<Tensor>> {
        let Some(range) = range else { return Ok(None) };
        let (gains, width) = (self.weight(range)?, config.head_dim());
        let of_heads = |first: usize, heads: usize| {
            gains.narrow(0, first, width)?.broadcast_as((heads, width))
        };
        let queries = of_heads(0, config.num_attention_heads)?;
        Ok(Some(Tensor::cat(&[queries, of_heads(width, config.kv_heads())?], 0)?))
    }

    /// Cross-entropy of every row, in nats: `[samples * rows]`.
    pub(super) fn forward(&self, network: &Network, batch: &Batch) -> Result<Tensor> {
        let layout = &network.layout;
        let embedding = self.weight(&layout.embedding)?.clone();
        // Mask rows are numbered on from the vocabulary.
        let table = match layout.masks.is_empty() {
            true => embedding,
            false => Tensor::cat(&[&embedding, self.weight(&layout.masks)?], 0)?,
        };
        let hidden = network.config.hidden_size;
        let mut state =
            table.index_select(&batch.ids, 0)?.reshape((batch.samples, batch.rows, hidden))?;
        let drafts = batch.rows - batch.text;
        for layer in 0..layout.layers.len() {
            state = match batch.skip.contains(&layer) && drafts > 0 {
                false => self.layer(network, batch, layer, &state)?,
                true => {
                    let text = self.layer(network, batch, layer, &batch.texts(&state)?)?;
                    Tensor::cat(&[text, state.narrow(1, batch.text, drafts)?], 1)?
                }
            };
        }
        let state = state.reshape((batch.samples * batch.rows, hidden))?;
        let logits = self.linear(&self.norm(network, &state, &layout.norm)?, &layout.head)?;
        let logs = log_softmax(&logits.to_dtype(DType::F32)?, D::Minus1)?;
        Ok(logs.gather(&batch.targets, 1)?.squeeze(1)?.neg()?)
    }

    /// One layer over `[samples, rows, hidden]`.
    fn layer(
        &self,
        network: &Network,
        batch: &Batch,
        index: usize,
        state: &Tensor,
    ) -> Result<Tensor> {
        let ranges = &network.layout.layers[index];
        let flat = state.flatten(0, 1)?;
        let normed = self.norm(network, &flat, &ranges.norm_attention)?;
        let qkv = self.biased(self.linear(&normed, &ranges.qkv)?, ranges.qkv_bias.as_ref())?;
        let gains = self.head_gains(&network.config, ranges.head_norms.as_ref())?;
        let attended = attend(&network.config, batch, &qkv, gains.as_ref())?;
        let out = self.linear(&attended, &ranges.output)?.to_dtype(DType::F32)?;
        let flat = (flat + self.biased(out, ranges.out_bias.as_ref())?)?;
        let normed = self.norm(network, &flat, &ranges.norm_mlp)?;
        let wide = self.linear(&normed, &ranges.gate_up)?;
        let width = network.config.intermediate_size;
        let neurons = (silu(&wide.narrow(1, 0, width)?)? * wide.narrow(1, width, width)?)?;
        let flat = (flat + self.linear(&neurons, &ranges.down)?.to_dtype(DType::F32)?)?;
        Ok(flat.reshape(state.shape())?)
    }
}

/// Grouped-query attention of `qkv[samples * rows, width]`, with or without the draft rows.
fn attend(
    config: &ModelConfig,
    batch: &Batch,
    qkv: &Tensor,
    gains: Option<&Tensor>,
) -> Result<Tensor> {
    let (heads, kv_heads, width) =
        (config.num_attention_heads, config.kv_heads(), config.head_dim());
    let (all, _) = qkv.dims2()?;
    let (samples, rows) = (batch.samples, all / batch.samples);
    let qkv = qkv.reshape((samples, rows, heads + 2 * kv_heads, width))?;
    let normed = qkv.narrow(2, 0, heads + kv_heads)?;
    let normed = match gains {
        None => normed,
        Some(gains) => norm_heads(&normed, gains, config.rms_norm_eps as f32)?,
    };
    let turned = batch.rotate(&normed)?;
    let apart = |of: &Tensor, first: usize, heads: usize| {
        of.narrow(2, first, heads)?.transpose(1, 2)?.contiguous()
    };
    let shared = (samples, kv_heads, heads / kv_heads * rows, width);
    let queries = (apart(&turned, 0, heads)? * (width as f64).powf(-0.5))?.reshape(shared)?;
    let keys = apart(&turned, heads, kv_heads)?;
    let scores = queries.matmul(&keys.t()?)?.reshape((samples, heads, rows, rows))?;
    let scores = scores.to_dtype(DType::F32)?.broadcast_add(&batch.hidden(rows)?)?;
    let seen = softmax(&scores, D::Minus1)?.to_dtype(qkv.dtype())?;
    let seen = seen.reshape((samples, kv_heads, heads / kv_heads * rows, rows))?;
    let out = seen.matmul(&apart(&qkv, heads + kv_heads, kv_heads)?)?;
    let out = out.reshape((samples, heads, rows, width))?.transpose(1, 2)?;
    Ok(out.reshape((all, heads * width))?)
}

/// Every head of `heads[samples, rows, heads, head_dim]` normalised, in `f32` as all norms are.
fn norm_heads(heads: &Tensor, gains: &Tensor, epsilon: f32) -> Result<Tensor> {
    let normed = rms_norm_slow(&heads.to_dtype(DType::F32)?, gains, epsilon)?;
    Ok(normed.to_dtype(heads.dtype())?)
}
