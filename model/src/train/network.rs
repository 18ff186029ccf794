//! Forward and backward of one training sample, written out over plain slices.
//!
//! Text rows go through every layer. Draft rows go round the skipped layers: there their state is simply
//! carried over. Everything that the backward pass needs stays in the [`Tape`].

use super::attention::{Attended, Geometry, attend, attend_back};
use super::matmul::{Write, linear, linear_back};
use super::ops::{Rotary, cross_entropy, norm, norm_back, swiglu, swiglu_back};
use super::params::{LayerRanges, Layout};
use crate::ModelConfig;
use std::ops::Range;

/// One sequence with its draft groups.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample {
    /// Text rows plus one: row i is to predict token i + 1.
    pub tokens: Vec<u32>,
    /// Positions at which drafting is trained, ascending, from 1 to text - group.
    pub anchors: Vec<usize>,
    /// Layers that draft rows leave out.
    pub skip: Range<usize>,
}

/// Losses of one sample, sums in nats.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Losses {
    /// Over text rows.
    pub text: f64,
    /// Over draft rows, by their place in the group.
    pub draft: Vec<f64>,
}

/// How much one row's cross-entropy counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowWeights {
    pub text: f32,
    pub draft: f32,
}

/// Shape and constants of the network.
pub(super) struct Network {
    pub config: ModelConfig,
    pub layout: Layout,
    pub rotary: Rotary,
    pub group: usize,
}

/// What one layer computed.
#[derive(Default)]
struct LayerTape {
    rows: usize,
    input: Vec<f32>,
    inverse_attention: Vec<f32>,
    normed_attention: Vec<f32>,
    qkv: Vec<f32>,
    probabilities: Vec<f32>,
    attended: Vec<f32>,
    middle: Vec<f32>,
    inverse_mlp: Vec<f32>,
    normed_mlp: Vec<f32>,
    gate_up: Vec<f32>,
    neurons: Vec<f32>,
}

/// What a sample's forward pass computed, and room for its backward pass.
#[derive(Default)]
pub(super) struct Tape {
    layers: Vec<LayerTape>,
    state: Vec<f32>,
    inverse: Vec<f32>,
    normed: Vec<f32>,
    /// [rows, vocabulary]; after [`Network::losses`] their gradient.
    pub logits: Vec<f32>,
    d_state: Vec<f32>,
    d_normed: Vec<f32>,
    d_wide: Vec<f32>,
    d_qkv: Vec<f32>,
    d_inner: Vec<f32>,
    scratch: Vec<f32>,
}

impl Tape {
    /// The query, key and value rows of every layer of the last forward pass.
    pub fn caches(&self) -> Vec<Vec<f32>> {
        self.layers.iter().map(|layer| layer.qkv.clone()).collect()
    }
}

/// `buffer` with `length` elements; what was in it does not matter.
fn room(buffer: &mut Vec<f32>, length: usize) -> &mut [f32] {
    buffer.resize(length, 0.0);
    buffer
}

impl Network {
    /// A network of this shape, for at most `positions` rotary positions and draft groups of `group` rows.
    pub fn new(config: &ModelConfig, positions: usize, group: usize) -> Self {
        Self {
            layout: Layout::new(config),
            rotary: Rotary::new(config.head_dim(), config.rope_theta, positions + group),
            config: config.clone(),
            group,
        }
    }

    pub fn geometry<'a>(&self, sample: &'a Sample) -> Geometry<'a> {
        Geometry {
            text: sample.tokens.len() - 1,
            group: self.group,
            anchors: &sample.anchors,
            heads: self.config.num_attention_heads,
            kv_heads: self.config.kv_heads(),
            head_width: self.config.head_dim(),
        }
    }

    fn epsilon(&self) -> f32 {
        self.config.rms_norm_eps as f32
    }

    /// Element range of the embedding that a row starts from.
    fn embedding(&self, sample: &Sample, row: usize) -> Range<usize> {
        let hidden = self.config.hidden_size;
        let text = sample.tokens.len() - 1;
        let (table, index) = match row.checked_sub(text) {
            None => (&self.layout.embedding, sample.tokens[row] as usize),
            Some(draft) => match draft % self.group {
                0 => {
                    let anchor = sample.anchors[draft / self.group];
                    (&self.layout.embedding, sample.tokens[anchor] as usize)
                }
                mask => (&self.layout.masks, mask - 1),
            },
        };
        table.start + index * hidden..table.start + (index + 1) * hidden
    }

    /// Runs the sample; the logits of all rows are then in `tape.logits`.
    pub fn forward(&self, weights: &[f32], sample: &Sample, tape: &mut Tape) {
        let geometry = self.geometry(sample);
        let (rows, hidden) = (geometry.rows(), self.config.hidden_size);
        tape.layers.resize_with(self.layout.layers.len(), LayerTape::default);
        let state = room(&mut tape.state, rows * hidden);
        for (row, state) in state.chunks_exact_mut(hidden).enumerate() {
            state.copy_from_slice(&weights[self.embedding(sample, row)]);
        }
        for (index, layer) in tape.layers.iter_mut().enumerate() {
            layer.rows = if sample.skip.contains(&index) { geometry.text } else { rows };
            let ranges = &self.layout.layers[index];
            self.attention(weights, ranges, &geometry, layer, &mut tape.state);
            self.mlp(weights, ranges, layer, &mut tape.state);
        }
        let normed = room(&mut tape.normed, rows * hidden);
        let inverse = room(&mut tape.inverse, rows);
        norm(normed, inverse, &tape.state, &weights[self.layout.norm.clone()], self.epsilon());
        let logits = room(&mut tape.logits, rows * self.config.vocab_size);
        linear(logits, normed, &weights[self.layout.embedding.clone()], hidden, Write::Replace);
    }

    fn attention(
        &self,
        weights: &[f32],
        ranges: &LayerRanges,
        geometry: &Geometry,
        tape: &mut LayerTape,
        state: &mut [f32],
    ) {
        let (rows, hidden) = (tape.rows, self.config.hidden_size);
        let state = &mut state[..rows * hidden];
        room(&mut tape.input, rows * hidden).copy_from_slice(state);
        let normed = room(&mut tape.normed_attention, rows * hidden);
        let gain = &weights[ranges.norm_attention.clone()];
        norm(normed, room(&mut tape.inverse_attention, rows), state, gain, self.epsilon());
        let qkv = room(&mut tape.qkv, rows * geometry.stride());
        linear(qkv, normed, &weights[ranges.qkv.clone()], hidden, Write::Replace);
        self.turn(qkv, geometry, 1.0);
        let width = geometry.heads * geometry.head_width;
        let attended = room(&mut tape.attended, rows * width);
        let p = room(&mut tape.probabilities, geometry.heads * rows * geometry.reach());
        attend(attended, p, qkv, geometry, rows);
        linear(state, attended, &weights[ranges.output.clone()], width, Write::Add);
    }

    /// Rotates the queries and keys of all rows, forward (1) or back (-1).
    fn turn(&self, qkv: &mut [f32], geometry: &Geometry, sign: f32) {
        let turned = (geometry.heads + geometry.kv_heads) * geometry.head_width;
        for (row, heads) in qkv.chunks_exact_mut(geometry.stride()).enumerate() {
            self.rotary.rotate(&mut heads[..turned], geometry.position(row), sign);
        }
    }

    fn mlp(&self, weights: &[f32], ranges: &LayerRanges, tape: &mut LayerTape, state: &mut [f32]) {
        let (rows, hidden) = (tape.rows, self.config.hidden_size);
        let width = self.config.intermediate_size;
        let state = &mut state[..rows * hidden];
        room(&mut tape.middle, rows * hidden).copy_from_slice(state);
        let normed = room(&mut tape.normed_mlp, rows * hidden);
        let gain = &weights[ranges.norm_mlp.clone()];
        norm(normed, room(&mut tape.inverse_mlp, rows), state, gain, self.epsilon());
        let gate_up = room(&mut tape.gate_up, rows * 2 * width);
        linear(gate_up, normed, &weights[ranges.gate_up.clone()], hidden, Write::Replace);
        let neurons = room(&mut tape.neurons, rows * width);
        swiglu(neurons, gate_up, width);
        linear(state, neurons, &weights[ranges.down.clone()], width, Write::Add);
    }

    /// The losses of the last forward pass; its logits become their gradient.
    pub fn losses(&self, sample: &Sample, tape: &mut Tape, weight: RowWeights) -> Losses {
        let text = sample.tokens.len() - 1;
        let mut losses = Losses { text: 0.0, draft: vec![0.0; self.group] };
        for (row, logits) in tape.logits.chunks_exact_mut(self.config.vocab_size).enumerate() {
            match row.checked_sub(text) {
                None => {
                    let loss = cross_entropy(logits, sample.tokens[row + 1], weight.text);
                    losses.text += f64::from(loss);
                }
                Some(draft) => {
                    let place = draft % self.group;
                    let target = sample.tokens[sample.anchors[draft / self.group] + place + 1];
                    let loss = cross_entropy(logits, target, weight.draft);
                    losses.draft[place] += f64::from(loss);
                }
            }
        }
        losses
    }

    /// Adds the gradient of all variables to `gradient`, after [`Network::losses`].
    pub fn backward(
        &self,
        weights: &[f32],
        sample: &Sample,
        tape: &mut Tape,
        gradient: &mut [f32],
    ) {
        let geometry = self.geometry(sample);
        let (rows, hidden) = (geometry.rows(), self.config.hidden_size);
        let head = self.layout.embedding.clone();
        let d_normed = room(&mut tape.d_normed, rows * hidden);
        let d_head = &mut gradient[head.clone()];
        linear_back(d_normed, d_head, &tape.logits, &tape.normed, &weights[head], hidden);
        let d_state = room(&mut tape.d_state, rows * hidden);
        d_state.fill(0.0);
        let range = self.layout.norm.clone();
        let (d_gain, gain) = (&mut gradient[range.clone()], &weights[range]);
        norm_back(d_state, d_gain, d_normed, &tape.state, &tape.inverse, gain);
        for index in (0..self.layout.layers.len()).rev() {
            self.mlp_back(weights, index, tape, gradient);
            self.attention_back(weights, index, &geometry, tape, gradient);
        }
        for (row, d_state) in tape.d_state.chunks_exact(hidden).enumerate() {
            for (g, d) in gradient[self.embedding(sample, row)].iter_mut().zip(d_state) {
                *g += d;
            }
        }
    }

    fn mlp_back(&self, weights: &[f32], index: usize, tape: &mut Tape, gradient: &mut [f32]) {
        let ranges = &self.layout.layers[index];
        let layer = &tape.layers[index];
        let (rows, hidden) = (layer.rows, self.config.hidden_size);
        let width = self.config.intermediate_size;
        let d_state = &mut tape.d_state[..rows * hidden];
        let down = ranges.down.clone();
        let d_neurons = room(&mut tape.d_inner, rows * width);
        let d_down = &mut gradient[down.clone()];
        linear_back(d_neurons, d_down, d_state, &layer.neurons, &weights[down], width);
        let d_gate_up = room(&mut tape.d_wide, rows * 2 * width);
        swiglu_back(d_gate_up, d_neurons, &layer.gate_up, width);
        let d_normed = room(&mut tape.d_normed, rows * hidden);
        let range = ranges.gate_up.clone();
        let d_weight = &mut gradient[range.clone()];
        linear_back(d_normed, d_weight, d_gate_up, &layer.normed_mlp, &weights[range], hidden);
        let range = ranges.norm_mlp.clone();
        let (d_gain, gain) = (&mut gradient[range.clone()], &weights[range]);
        norm_back(d_state, d_gain, d_normed, &layer.middle, &layer.inverse_mlp, gain);
    }

    fn attention_back(
        &self,
        weights: &[f32],
        index: usize,
        geometry: &Geometry,
        tape: &mut Tape,
        gradient: &mut [f32],
    ) {
        let ranges = &self.layout.layers[index];
        let layer = &tape.layers[index];
        let (rows, hidden) = (layer.rows, self.config.hidden_size);
        let width = geometry.heads * geometry.head_width;
        let d_state = &mut tape.d_state[..rows * hidden];
        let d_attended = room(&mut tape.d_inner, rows * width);
        let range = ranges.output.clone();
        let d_output = &mut gradient[range.clone()];
        linear_back(d_attended, d_output, d_state, &layer.attended, &weights[range], width);
        let d_qkv = room(&mut tape.d_qkv, rows * geometry.stride());
        let done = Attended {
            qkv: &layer.qkv,
            probabilities: &layer.probabilities,
            out: &layer.attended,
            d_out: d_attended,
        };
        let scratch = room(&mut tape.scratch, 64 * geometry.text);
        attend_back(d_qkv, scratch, &done, geometry, rows);
        self.turn(d_qkv, geometry, -1.0);
        let d_normed = room(&mut tape.d_normed, rows * hidden);
        let range = ranges.qkv.clone();
        let d_weight = &mut gradient[range.clone()];
        linear_back(d_normed, d_weight, d_qkv, &layer.normed_attention, &weights[range], hidden);
        let range = ranges.norm_attention.clone();
        let (d_gain, gain) = (&mut gradient[range.clone()], &weights[range]);
        norm_back(d_state, d_gain, d_normed, &layer.input, &layer.inverse_attention, gain);
    }
}
