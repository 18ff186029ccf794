//! The layers on candle's tensors, from a batch to the cross-entropy of its rows.

use super::backend::OnDevice;
use super::frozen::FrozenMatmul;
use crate::candle::batch::Batch;
use crate::cpu::network::Network;
use crate::layout::AdapterRanges;
use crate::targets::DraftTargets;
use candle_core::{D, DType, Tensor};
use candle_nn::ops::{log_softmax, rms_norm_slow, silu, softmax};
use s3d_model::config::Part;
use s3d_model::{ModelConfig, Result};
use std::ops::Range;

impl OnDevice {
    /// `x[rows, inputs]` in the device's number type through the matrix at `range`.
    fn linear(&self, x: &Tensor, range: &Range<usize>) -> Result<Tensor> {
        let matrix = self.weight(range)?;
        match matrix.is_variable() {
            true => Ok(x.matmul(&matrix.to_dtype(self.number)?.t()?)?),
            false => Ok(x.apply_op2(&matrix.t()?, FrozenMatmul)?),
        }
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

    /// Cross-entropy of every row, in nats: `[samples * rows]`. Draft rows are to predict what
    /// `targets` says; where the model has adapters the text is not judged, and costs nothing.
    pub(crate) fn forward(
        &self,
        network: &Network,
        batch: &Batch,
        targets: DraftTargets,
    ) -> Result<Tensor> {
        let (mut text, mut drafts) = self.embed(network, batch)?;
        for layer in 0..network.layout.layers.len() {
            let (left, memory) = self.layer(network, batch, layer, &text, None)?;
            drafts = match drafts {
                Some(drafts) if !batch.skip.contains(&layer) => {
                    Some(self.layer(network, batch, layer, &drafts, Some(&memory))?.0)
                }
                carried => carried,
            };
            text = left;
        }
        let judged = network.layout.adapters.is_empty();
        let logits = match judged || targets == DraftTargets::Choices {
            true => Some(self.logits(network, &text)?),
            false => None,
        };
        let all = (batch.samples, batch.text);
        let text = match &logits {
            Some(logits) if judged => nats(logits, &batch.text_targets)?.reshape(all)?,
            _ => Tensor::zeros(all, DType::F32, &self.device)?,
        };
        let (Some(drafts), Some(rows)) = (drafts, &batch.drafts) else {
            return Ok(text.flatten_all()?);
        };
        let targets = match (targets, &logits) {
            (DraftTargets::Choices, Some(logits)) => {
                logits.argmax(D::Minus1)?.index_select(&rows.after, 0)?.unsqueeze(1)?
            }
            _ => rows.targets.clone(),
        };
        let drafts = nats(&self.logits(network, &drafts)?, &targets)?;
        let drafts = drafts.reshape((batch.samples, batch.rows - batch.text))?;
        Ok(Tensor::cat(&[text, drafts], 1)?.flatten_all()?)
    }

    /// What text and draft rows begin with: `[samples, rows, hidden]` each.
    fn embed(&self, network: &Network, batch: &Batch) -> Result<(Tensor, Option<Tensor>)> {
        let layout = &network.layout;
        let of = |ids: &Tensor| -> Result<Tensor> {
            let rows = self.weight(&layout.embedding)?.index_select(ids, 0)?;
            let rows = rows.to_dtype(DType::F32)?;
            Ok(rows.reshape((batch.samples, (), network.config.hidden_size))?)
        };
        let text = of(&batch.text_ids)?;
        let Some(drafts) = &batch.drafts else { return Ok((text, None)) };
        let anchors = of(&drafts.ids)?.unsqueeze(2)?;
        let (samples, groups, _, hidden) = anchors.dims4()?;
        let masks = self.weight(&layout.masks)?;
        let masks = masks.broadcast_as((samples, groups, network.group - 1, hidden))?;
        let drafts = Tensor::cat(&[anchors, masks], 2)?;
        Ok((text, Some(drafts.reshape((samples, groups * network.group, hidden))?)))
    }

    /// Logits of `[samples, rows, hidden]`, row by row, in `f32`.
    fn logits(&self, network: &Network, state: &Tensor) -> Result<Tensor> {
        let normed = self.norm(network, &state.flatten(0, 1)?, &network.layout.norm)?;
        Ok(self.linear(&normed, &network.layout.head)?.to_dtype(DType::F32)?)
    }

    /// What the adapter of `part` adds to the products of the draft rows `x`, if the model has
    /// adapters.
    fn adapt(
        &self,
        network: &Network,
        index: usize,
        part: Part,
        x: &Tensor,
        products: Tensor,
    ) -> Result<Tensor> {
        let layer = network.layout.adapters.get(index);
        let (Some(layer), Some(config)) = (layer, network.config.adapters()) else {
            return Ok(products);
        };
        let AdapterRanges { a, b } = &layer[part as usize];
        let added = self.linear(&self.linear(x, a)?, b)?;
        Ok((products + (added * f64::from(config.scale()))?)?)
    }

    /// One layer over `[samples, rows, hidden]`: over all text rows, or, with the keys and values
    /// that these had, over all draft rows. Returns what leaves it, and its own keys and values.
    fn layer(
        &self,
        network: &Network,
        batch: &Batch,
        index: usize,
        state: &Tensor,
        memory: Option<&Memory>,
    ) -> Result<(Tensor, Memory)> {
        let (config, ranges) = (&network.config, &network.layout.layers[index]);
        let through = |x: &Tensor, range: &Range<usize>, part: Part| {
            let products = self.linear(x, range)?;
            match memory {
                None => Ok(products),
                Some(_) => self.adapt(network, index, part, x, products),
            }
        };
        let flat = state.flatten(0, 1)?;
        let normed = self.norm(network, &flat, &ranges.norm_attention)?;
        let qkv = through(&normed, &ranges.qkv, Part::Qkv)?;
        let qkv = self.biased(qkv, ranges.qkv_bias.as_ref())?;
        let gains = self.head_gains(config, ranges.head_norms.as_ref())?;
        let first = if memory.is_some() { batch.text } else { 0 };
        let (queries, own) = heads(config, batch, first, &qkv, gains.as_ref())?;
        let seen = match memory {
            None => &own,
            Some(memory) => &memory.and(&own)?,
        };
        let attended = attend(config, &batch.hidden(first)?, &queries, seen)?;
        let out = through(&attended, &ranges.output, Part::AttentionOut)?.to_dtype(DType::F32)?;
        let flat = (flat + self.biased(out, ranges.out_bias.as_ref())?)?;
        let normed = self.norm(network, &flat, &ranges.norm_mlp)?;
        let wide = through(&normed, &ranges.gate_up, Part::GateUp)?;
        let width = config.intermediate_size;
        let neurons = (silu(&wide.narrow(1, 0, width)?)? * wide.narrow(1, width, width)?)?;
        let flat = (flat + through(&neurons, &ranges.down, Part::Down)?.to_dtype(DType::F32)?)?;
        Ok((flat.reshape(state.shape())?, own))
    }
}

/// Keys and values of some rows in one layer: `[samples, kv_heads, rows, head_dim]` each.
struct Memory {
    keys: Tensor,
    values: Tensor,
}

impl Memory {
    /// These, then `more`.
    fn and(&self, more: &Self) -> Result<Self> {
        Ok(Self {
            keys: Tensor::cat(&[&self.keys, &more.keys], 2)?,
            values: Tensor::cat(&[&self.values, &more.values], 2)?,
        })
    }
}

/// Cross-entropy of rows of logits with `targets[rows, 1]`: `[rows]`.
fn nats(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    Ok(log_softmax(logits, D::Minus1)?.gather(targets, 1)?.squeeze(1)?.neg()?)
}

/// Queries, `[samples, heads, rows, head_dim]`, keys and values of `qkv[samples * rows, width]`,
/// whose rows are those of the batch from `first` on.
fn heads(
    config: &ModelConfig,
    batch: &Batch,
    first: usize,
    qkv: &Tensor,
    gains: Option<&Tensor>,
) -> Result<(Tensor, Memory)> {
    let (heads, kv_heads, width) =
        (config.num_attention_heads, config.kv_heads(), config.head_dim());
    let qkv = qkv.reshape((batch.samples, (), heads + 2 * kv_heads, width))?;
    let normed = qkv.narrow(2, 0, heads + kv_heads)?;
    let normed = match gains {
        None => normed,
        Some(gains) => norm_heads(&normed, gains, config.rms_norm_eps as f32)?,
    };
    let turned = batch.rotate(first, &normed)?;
    let apart = |of: &Tensor, first: usize, heads: usize| {
        of.narrow(2, first, heads)?.transpose(1, 2)?.contiguous()
    };
    let queries = (apart(&turned, 0, heads)? * (width as f64).powf(-0.5))?;
    let keys = apart(&turned, heads, kv_heads)?;
    Ok((queries, Memory { keys, values: apart(&qkv, heads + kv_heads, kv_heads)? }))
}

/// Grouped-query attention: `[samples * rows, heads * head_dim]`. `hidden` is added to the scores.
fn attend(
    config: &ModelConfig,
    hidden: &Tensor,
    queries: &Tensor,
    seen: &Memory,
) -> Result<Tensor> {
    let (samples, heads, rows, width) = queries.dims4()?;
    let (kv_heads, keys) = (config.kv_heads(), seen.keys.dim(2)?);
    let shared = |last: usize| (samples, kv_heads, heads / kv_heads * rows, last);
    let scores = queries.reshape(shared(width))?.matmul(&seen.keys.t()?)?;
    let scores = scores.reshape((samples, heads, rows, keys))?.to_dtype(DType::F32)?;
    let shares = softmax(&scores.broadcast_add(hidden)?, D::Minus1)?.to_dtype(queries.dtype())?;
    let out = shares.reshape(shared(keys))?.matmul(&seen.values)?;
    let out = out.reshape((samples, heads, rows, width))?.transpose(1, 2)?;
    Ok(out.reshape((samples * rows, heads * width))?)
}

/// Every head of `heads[samples, rows, heads, head_dim]` normalised, in `f32` as all norms are.
fn norm_heads(heads: &Tensor, gains: &Tensor, epsilon: f32) -> Result<Tensor> {
    let normed = rms_norm_slow(&heads.to_dtype(DType::F32)?, gains, epsilon)?;
    Ok(normed.to_dtype(heads.dtype())?)
}
