//! Forward and backward of one training sample, written out over plain slices.
//!
//! Text rows go through every layer. Draft rows go round the skipped layers: there their state is
//! simply carried over. Everything that the backward pass needs stays in the [`Tape`].
//!
//! Where the model has adapters, they act on draft rows, and only they and the masks are trained:
//! text rows are then constants that the backward pass never enters.

use super::attention::{Attended, Geometry, attend, attend_back};
use super::halves::Rows;
use super::heads::Heads;
use super::low_rank::LowRank;
use super::matmul::Write;
use super::ops::{
    Rotary, add_bias, add_bias_back, arg_max, norm, norm_back, row_loss, softmax_rows, swiglu,
    swiglu_back,
};
use super::products::{Product, Products, Vocabulary};
use super::tape::{LayerTape, Tape, resize};
use crate::layout::Layout;
use crate::targets::{DraftLoss, DraftTargets, Losses, RowWeights, Sample};
use s3d_model::config::Part;
use s3d_model::{Error, ModelConfig, Result};
use std::ops::Range;

/// Shape and constants of the network.
pub(crate) struct Network {
    pub config: ModelConfig,
    pub layout: Layout,
    pub rotary: Rotary,
    pub group: usize,
    /// How its matrices are multiplied.
    pub products: Products,
}

impl Network {
    /// A network of this shape, for at most `positions` rotary positions and draft groups of
    /// `group` rows.
    ///
    /// # Errors
    /// An architecture or a rotation that is unknown.
    pub(crate) fn new(config: &ModelConfig, positions: usize, group: usize) -> Result<Self> {
        let parts = config.attention_parts().map_err(Error::invalid)?;
        if !config.turns_all() || parts.mlp_bias {
            return Err(Error::invalid(
                "training does not support partial rotation or layers without rotation \
                 (partial_rotary_factor, no_rope_layers), nor mlp_bias; expected one without",
            ));
        }
        let rope = config.rope_for(positions).map_err(Error::invalid)?;
        Ok(Self {
            layout: Layout::new(config, parts),
            rotary: Rotary::new(&rope, positions + group),
            config: config.clone(),
            group,
            products: Products::default(),
        })
    }

    /// The first row that training differentiates: with adapters, the first draft row.
    pub(crate) fn first_trained(&self, sample: &Sample) -> usize {
        if self.layout.adapters.is_empty() { 0 } else { sample.text() }
    }

    /// The adapter of `part` in layer `index`, if there are any.
    fn adapter<'w>(&'w self, weights: &'w [f32], index: usize, part: Part) -> Option<LowRank<'w>> {
        LowRank::of(&self.layout, &self.config, weights, index, part)
    }

    pub(crate) fn geometry<'a>(&self, sample: &'a Sample) -> Geometry<'a> {
        Geometry {
            text: sample.text(),
            group: self.group,
            anchors: &sample.anchors,
            heads: self.config.num_attention_heads,
            kv_heads: self.config.kv_heads(),
            head_width: self.config.head_dim(),
        }
    }

    /// The heads of layer `layer`.
    pub(crate) fn heads<'w>(&'w self, weights: &'w [f32], layer: usize) -> Heads<'w> {
        let config = &self.config;
        Heads {
            weights,
            ranges: &self.layout.layers[layer],
            rotary: &self.rotary,
            epsilon: config.rms_norm_eps as f32,
            queries: config.num_attention_heads,
            keys: config.kv_heads(),
            width: config.head_dim(),
        }
    }

    fn epsilon(&self) -> f32 {
        self.config.rms_norm_eps as f32
    }

    /// Element range of the embedding that a row starts from.
    pub(crate) fn embedding(&self, sample: &Sample, row: usize) -> Range<usize> {
        let hidden = self.config.hidden_size;
        let text = sample.text();
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

    /// The token that a row is to predict.
    pub(crate) fn target(&self, sample: &Sample, row: usize) -> u32 {
        match row.checked_sub(sample.text()) {
            None => sample.tokens[row + 1],
            Some(draft) => sample.next[sample.anchors[draft / self.group] + draft % self.group],
        }
    }

    /// Runs the sample; the logits of all rows are then in `tape.logits`.
    pub(crate) fn forward(&self, weights: &[f32], sample: &Sample, tape: &mut Tape) {
        self.forward_from(0, weights, sample, tape);
    }

    /// Runs the sample; the logits of the rows from `first` on, over the whole vocabulary, are then
    /// in `tape.logits`.
    pub(crate) fn forward_from(
        &self,
        first: usize,
        weights: &[f32],
        sample: &Sample,
        tape: &mut Tape,
    ) {
        self.layers(weights, sample, tape);
        self.read_out(first..self.geometry(sample).rows(), None, weights, tape);
    }

    /// Runs the sample to learn from its rows from `first` on, whose logits are then in
    /// `tape.logits`: draft rows are to predict what `targets` says.
    pub(crate) fn forward_to_learn(
        &self,
        first: usize,
        targets: DraftTargets,
        weights: &[f32],
        sample: &mut Sample,
        tape: &mut Tape,
    ) {
        self.layers(weights, sample, tape);
        let part = self.products.vocabulary.as_ref();
        if targets == DraftTargets::Choices {
            self.read_out(0..sample.text(), part, weights, tape);
            let rows = tape.logits.chunks_exact(tape.width).map(arg_max);
            sample.next = rows.map(|place| part.map_or(place, |part| part.token(place))).collect();
            std::mem::swap(&mut tape.logits, &mut tape.teacher);
            softmax_rows(&mut tape.teacher, tape.width);
        }
        self.read_out(first..self.geometry(sample).rows(), part, weights, tape);
    }

    /// Runs the sample through the layers: what leaves the last one is then in `tape.state`.
    fn layers(&self, weights: &[f32], sample: &Sample, tape: &mut Tape) {
        let geometry = self.geometry(sample);
        let (rows, hidden) = (geometry.rows(), self.config.hidden_size);
        tape.layers.resize_with(self.layout.layers.len(), LayerTape::default);
        let state = resize(&mut tape.state, rows * hidden);
        for (row, state) in state.chunks_exact_mut(hidden).enumerate() {
            state.copy_from_slice(&weights[self.embedding(sample, row)]);
        }
        for (index, layer) in tape.layers.iter_mut().enumerate() {
            layer.rows = if sample.skip.contains(&index) { geometry.text } else { rows };
            let room = (&mut tape.state[..], &mut tape.rows);
            self.attention(weights, index, &geometry, layer, room);
            let room = (&mut tape.state[..], &mut tape.rows);
            self.mlp(weights, index, geometry.text, layer, room);
        }
    }

    /// The logits of some rows, over the whole vocabulary or a part of it, from `tape.state` into
    /// `tape.logits`.
    fn read_out(
        &self,
        rows: Range<usize>,
        part: Option<&Vocabulary>,
        weights: &[f32],
        tape: &mut Tape,
    ) {
        let hidden = self.config.hidden_size;
        tape.first = rows.start;
        let state = &tape.state[rows.start * hidden..rows.end * hidden];
        let normed = resize(&mut tape.normed, rows.len() * hidden);
        let inverse = resize(&mut tape.inverse, rows.len());
        norm(normed, inverse, state, &weights[self.layout.norm.clone()], self.epsilon());
        tape.width = part.map_or(self.config.vocab_size, Vocabulary::len);
        let logits = resize(&mut tape.logits, rows.len() * tape.width);
        self.head(weights, part).forward(logits, normed, &mut tape.rows, Write::Replace);
    }

    /// The head, over the whole vocabulary or a part of it.
    fn head<'w>(&self, weights: &'w [f32], part: Option<&'w Vocabulary>) -> Product<'w> {
        let whole = || Product::new(&weights[self.layout.head.clone()], self.config.hidden_size);
        part.map_or_else(whole, Vocabulary::product)
    }

    /// The matrix `part` of layer `index`.
    fn matrix<'w>(&'w self, weights: &'w [f32], index: usize, part: Part) -> Product<'w> {
        let range = self.layout.layers[index].matrix(part);
        let product = Product::new(&weights[range.clone()], part.sizes(&self.config)[0]);
        product.with(self.products.halves(index, part))
    }

    fn attention(
        &self,
        weights: &[f32],
        index: usize,
        geometry: &Geometry,
        tape: &mut LayerTape,
        (state, buffer): (&mut [f32], &mut Rows),
    ) {
        let ranges = &self.layout.layers[index];
        let drafts = |width: usize| geometry.text * width..;
        let (rows, hidden) = (tape.rows, self.config.hidden_size);
        let state = &mut state[..rows * hidden];
        resize(&mut tape.input, rows * hidden).copy_from_slice(state);
        let normed = resize(&mut tape.normed_attention, rows * hidden);
        let gain = &weights[ranges.norm_attention.clone()];
        norm(normed, resize(&mut tape.inverse_attention, rows), state, gain, self.epsilon());
        let qkv = resize(&mut tape.qkv, rows * geometry.stride());
        self.matrix(weights, index, Part::Qkv).forward(qkv, normed, buffer, Write::Replace);
        if let Some(adapter) = self.adapter(weights, index, Part::Qkv) {
            adapter.add(&mut qkv[drafts(geometry.stride())], &normed[drafts(hidden)]);
        }
        let heads = self.heads(weights, index);
        heads.forward(qkv, &mut tape.heads, |row| geometry.position(row));
        let width = geometry.heads * geometry.head_width;
        let attended = resize(&mut tape.attended, rows * width);
        let p = resize(&mut tape.probabilities, geometry.heads * rows * geometry.reach());
        attend(attended, p, qkv, geometry, rows);
        let output = self.matrix(weights, index, Part::AttentionOut);
        output.forward(state, attended, buffer, Write::Add);
        if let Some(adapter) = self.adapter(weights, index, Part::AttentionOut) {
            adapter.add(&mut state[drafts(hidden)], &attended[drafts(width)]);
        }
        if let Some(bias) = &ranges.out_bias {
            add_bias(state, &weights[bias.clone()]);
        }
    }

    fn mlp(
        &self,
        weights: &[f32],
        index: usize,
        text: usize,
        tape: &mut LayerTape,
        (state, buffer): (&mut [f32], &mut Rows),
    ) {
        let ranges = &self.layout.layers[index];
        let drafts = |width: usize| text * width..;
        let (rows, hidden) = (tape.rows, self.config.hidden_size);
        let width = self.config.intermediate_size;
        let state = &mut state[..rows * hidden];
        resize(&mut tape.middle, rows * hidden).copy_from_slice(state);
        let normed = resize(&mut tape.normed_mlp, rows * hidden);
        let gain = &weights[ranges.norm_mlp.clone()];
        norm(normed, resize(&mut tape.inverse_mlp, rows), state, gain, self.epsilon());
        let gate_up = resize(&mut tape.gate_up, rows * 2 * width);
        self.matrix(weights, index, Part::GateUp).forward(gate_up, normed, buffer, Write::Replace);
        if let Some(adapter) = self.adapter(weights, index, Part::GateUp) {
            adapter.add(&mut gate_up[drafts(2 * width)], &normed[drafts(hidden)]);
        }
        let neurons = resize(&mut tape.neurons, rows * width);
        swiglu(neurons, gate_up, width);
        self.matrix(weights, index, Part::Down).forward(state, neurons, buffer, Write::Add);
        if let Some(adapter) = self.adapter(weights, index, Part::Down) {
            adapter.add(&mut state[drafts(hidden)], &neurons[drafts(width)]);
        }
    }

    /// The losses of the last forward pass, of the rows that have logits; these become their
    /// gradient. What is reported is cross-entropy, whatever the gradient is of.
    pub(crate) fn losses(&self, sample: &Sample, tape: &mut Tape, weight: RowWeights) -> Losses {
        let (text, width, first) = (sample.text(), tape.width, tape.first);
        let part = self.products.vocabulary.as_ref().filter(|part| part.len() == width);
        let falls: Vec<f32> = (0..self.group).map(|i| weight.fall.powi(i as i32)).collect();
        let mut losses =
            Losses { text: 0.0, draft: vec![0.0; self.group], groups: sample.anchors.len() };
        let rows = tape.logits.chunks_exact_mut(width).enumerate();
        for (row, logits) in rows.map(|(row, logits)| (first + row, logits)) {
            let target = self.target(sample, row);
            let target = part.map_or(target, |part| part.place(target));
            let Some(draft) = row.checked_sub(text) else {
                let loss = row_loss(logits, target, weight.text, DraftLoss::default(), &[]);
                losses.text += f64::from(loss);
                continue;
            };
            let place = draft % self.group;
            let says = (sample.anchors[draft / self.group] + place) * width;
            let says = tape.teacher.get(says..says + width).unwrap_or_default();
            let loss = row_loss(logits, target, weight.draft * falls[place], weight.loss, says);
            losses.draft[place] += f64::from(loss);
        }
        losses
    }

    /// Adds the gradient of all trained variables to `gradient`, after [`Network::losses`]. With
    /// adapters the forward pass must have begun at [`Self::first_trained`].
    pub(crate) fn backward(
        &self,
        weights: &[f32],
        sample: &Sample,
        tape: &mut Tape,
        gradient: &mut [f32],
    ) {
        let (geometry, layout, first) = (self.geometry(sample), &self.layout, tape.first);
        let (rows, hidden) = (geometry.rows(), self.config.hidden_size);
        let part = self.products.vocabulary.as_ref().filter(|part| part.len() == tape.width);
        let d_normed = resize(&mut tape.d_normed, (rows - first) * hidden);
        let d_head = layout.gradient(gradient, &layout.head);
        let (logits, buffer) = (&tape.logits, &mut tape.rows);
        self.head(weights, part).back(d_normed, d_head, logits, &tape.normed, buffer);
        let d_state = resize(&mut tape.d_state, rows * hidden);
        d_state.fill(0.0);
        let d_gain = layout.gradient(gradient, &layout.norm);
        let (state, gain) = (&tape.state[first * hidden..], &weights[layout.norm.clone()]);
        norm_back(&mut d_state[first * hidden..], d_gain, d_normed, state, &tape.inverse, gain);
        for index in (0..layout.layers.len()).rev() {
            if tape.layers[index].rows <= first {
                continue;
            }
            self.mlp_back(weights, index, tape, gradient);
            self.attention_back(weights, index, &geometry, tape, gradient);
        }
        for (row, d_state) in tape.d_state.chunks_exact(hidden).enumerate().skip(first) {
            if let Some(gradient) = layout.gradient(gradient, &self.embedding(sample, row)) {
                gradient.iter_mut().zip(d_state).for_each(|(g, d)| *g += d);
            }
        }
    }

    fn mlp_back(&self, weights: &[f32], index: usize, tape: &mut Tape, gradient: &mut [f32]) {
        let (layout, first) = (&self.layout, tape.first);
        let (ranges, layer) = (&layout.layers[index], &tape.layers[index]);
        let (rows, hidden) = (layer.rows, self.config.hidden_size);
        let width = self.config.intermediate_size;
        let span = |width: usize| first * width..rows * width;
        let d_state = &mut tape.d_state[span(hidden)];
        let d_neurons = resize(&mut tape.d_inner, (rows - first) * width);
        let (neurons, down) =
            (&layer.neurons[span(width)], self.matrix(weights, index, Part::Down));
        let d_down = layout.gradient(gradient, &ranges.down);
        down.back(d_neurons, d_down, d_state, neurons, &mut tape.rows);
        if let Some(adapter) = self.adapter(weights, index, Part::Down) {
            adapter.back(layout, d_neurons, gradient, d_state, neurons);
        }
        let d_gate_up = resize(&mut tape.d_wide, (rows - first) * 2 * width);
        swiglu_back(d_gate_up, d_neurons, &layer.gate_up[span(2 * width)], width);
        let d_normed = resize(&mut tape.d_normed, (rows - first) * hidden);
        let normed = &layer.normed_mlp[span(hidden)];
        let d_weight = layout.gradient(gradient, &ranges.gate_up);
        let gate_up = self.matrix(weights, index, Part::GateUp);
        gate_up.back(d_normed, d_weight, d_gate_up, normed, &mut tape.rows);
        if let Some(adapter) = self.adapter(weights, index, Part::GateUp) {
            adapter.back(layout, d_normed, gradient, d_gate_up, normed);
        }
        let d_gain = layout.gradient(gradient, &ranges.norm_mlp);
        let (middle, inverse) = (&layer.middle[span(hidden)], &layer.inverse_mlp[first..]);
        norm_back(d_state, d_gain, d_normed, middle, inverse, &weights[ranges.norm_mlp.clone()]);
    }

    fn attention_back(
        &self,
        weights: &[f32],
        index: usize,
        geometry: &Geometry,
        tape: &mut Tape,
        gradient: &mut [f32],
    ) {
        let (layout, first) = (&self.layout, tape.first);
        let (ranges, layer) = (&layout.layers[index], &tape.layers[index]);
        let (rows, hidden) = (layer.rows, self.config.hidden_size);
        let width = geometry.heads * geometry.head_width;
        let span = |width: usize| first * width..rows * width;
        let d_state = &mut tape.d_state[span(hidden)];
        let d_attended = &mut resize(&mut tape.d_inner, rows * width)[first * width..];
        let attended = &layer.attended[span(width)];
        let d_output = layout.gradient(gradient, &ranges.output);
        let output = self.matrix(weights, index, Part::AttentionOut);
        output.back(d_attended, d_output, d_state, attended, &mut tape.rows);
        if let Some(adapter) = self.adapter(weights, index, Part::AttentionOut) {
            adapter.back(layout, d_attended, gradient, d_state, attended);
        }
        let bias = ranges.out_bias.as_ref();
        if let Some(d_bias) = bias.and_then(|bias| layout.gradient(gradient, bias)) {
            add_bias_back(d_bias, d_state);
        }
        let d_qkv = resize(&mut tape.d_qkv, rows * geometry.stride());
        let done = Attended {
            qkv: &layer.qkv,
            probabilities: &layer.probabilities,
            out: &layer.attended,
            d_out: &tape.d_inner,
        };
        let scratch = resize(&mut tape.scratch, 64 * geometry.text);
        attend_back(d_qkv, scratch, &done, geometry, [first, rows]);
        let heads = self.heads(weights, index);
        heads.back(layout, d_qkv, gradient, (&layer.heads, first), |row| geometry.position(row));
        let d_qkv = &d_qkv[first * geometry.stride()..];
        let d_normed = resize(&mut tape.d_normed, (rows - first) * hidden);
        let normed = &layer.normed_attention[span(hidden)];
        let d_weight = layout.gradient(gradient, &ranges.qkv);
        let qkv = self.matrix(weights, index, Part::Qkv);
        qkv.back(d_normed, d_weight, d_qkv, normed, &mut tape.rows);
        if let Some(adapter) = self.adapter(weights, index, Part::Qkv) {
            adapter.back(layout, d_normed, gradient, d_qkv, normed);
        }
        let d_gain = layout.gradient(gradient, &ranges.norm_attention);
        let (input, inverse) = (&layer.input[span(hidden)], &layer.inverse_attention[first..]);
        let gain = &weights[ranges.norm_attention.clone()];
        norm_back(d_state, d_gain, d_normed, input, inverse, gain);
    }
}
