//! Greedy decoding and acceptance with the trainer's own network: slow, simple, and independent of
//! the inference engine, so that either can check the other.

use super::attention::Geometry;
use super::matmul::{Write, linear};
use super::network::Network;
use super::ops::{add_bias, add_scaled, arg_max, dot, norm, swiglu};
use super::tape::{HeadTape, Tape};
use crate::targets::Sample;
use std::ops::Range;

impl Network {
    /// Extends `prompt` greedily by at most `count` tokens, stopping after `end`.
    pub(crate) fn continue_text(
        &self,
        weights: &[f32],
        prompt: &[u32],
        count: usize,
        end: u32,
        tape: &mut Tape,
    ) -> Vec<u32> {
        let mut text = prompt.to_vec();
        // `Sample` wants one token more than it has rows; the last one is only a target.
        text.push(end);
        let sample = Sample::new(text.clone(), Vec::new(), 0..0);
        self.forward(weights, &sample, tape);
        text.pop();
        let mut caches = tape.caches();
        let vocabulary = self.config.vocab_size;
        let mut logits = tape.logits[(prompt.len() - 1) * vocabulary..].to_vec();
        for position in prompt.len()..prompt.len() + count {
            let token = arg_max(&logits);
            text.push(token);
            if token == end {
                break;
            }
            self.next(weights, token, position, &mut caches, &mut logits);
        }
        text
    }

    /// Feeds one token; `caches` hold the query, key and value rows of every layer so far.
    fn next(
        &self,
        weights: &[f32],
        token: u32,
        position: usize,
        caches: &mut [Vec<f32>],
        logits: &mut [f32],
    ) {
        let (config, layout) = (&self.config, &self.layout);
        let (hidden, width) = (config.hidden_size, config.intermediate_size);
        let epsilon = config.rms_norm_eps as f32;
        let at = layout.embedding.start + token as usize * hidden;
        let mut state = weights[at..at + hidden].to_vec();
        let mut normed = vec![0.0; hidden];
        let mut gate_up = vec![0.0; 2 * width];
        let mut neurons = vec![0.0; width];
        let mut inverse = [0.0];
        for (layer, cache) in caches.iter_mut().enumerate() {
            let ranges = &layout.layers[layer];
            norm(
                &mut normed,
                &mut inverse,
                &state,
                &weights[ranges.norm_attention.clone()],
                epsilon,
            );
            let attended = self.attend_one(weights, layer, &normed, position, cache);
            let output = &weights[ranges.output.clone()];
            linear(&mut state, &attended, output, attended.len(), Write::Add);
            if let Some(bias) = &ranges.out_bias {
                add_bias(&mut state, &weights[bias.clone()]);
            }
            norm(&mut normed, &mut inverse, &state, &weights[ranges.norm_mlp.clone()], epsilon);
            linear(&mut gate_up, &normed, &weights[ranges.gate_up.clone()], hidden, Write::Replace);
            swiglu(&mut neurons, &gate_up, width);
            linear(&mut state, &neurons, &weights[ranges.down.clone()], width, Write::Add);
        }
        norm(&mut normed, &mut inverse, &state, &weights[layout.norm.clone()], epsilon);
        linear(logits, &normed, &weights[layout.head.clone()], hidden, Write::Replace);
    }

    /// Attention of one new row over the cache, to which the row is appended.
    fn attend_one(
        &self,
        weights: &[f32],
        layer: usize,
        normed: &[f32],
        position: usize,
        cache: &mut Vec<f32>,
    ) -> Vec<f32> {
        let empty = Sample::new(vec![0], Vec::new(), 0..0);
        let geometry: Geometry = self.geometry(&empty);
        let (stride, head_width) = (geometry.stride(), geometry.head_width);
        let mut row = vec![0.0; stride];
        let weight = &weights[self.layout.layers[layer].qkv.clone()];
        linear(&mut row, normed, weight, normed.len(), Write::Replace);
        let heads = self.heads(weights, layer);
        heads.forward(&mut row, &mut HeadTape::default(), |_| position);
        cache.extend(&row);
        let mut out = vec![0.0; geometry.heads * head_width];
        for (head, out) in out.chunks_exact_mut(head_width).enumerate() {
            let (q, k, v) = geometry.columns(head);
            let query = &row[q..][..head_width];
            let mut scores: Vec<f32> = cache
                .chunks_exact(stride)
                .map(|row| geometry.scale() * dot(query, &row[k..][..head_width]))
                .collect();
            super::ops::softmax(&mut scores, &mut []);
            for (weight, row) in scores.iter().zip(cache.chunks_exact(stride)) {
                add_scaled(out, *weight, &row[v..][..head_width]);
            }
        }
        out
    }

    /// Drafts that an iteration would get accepted when its last committed token is `text[t]`, for
    /// every t from `from` on at which a whole group has a text to be compared with. `text` must be
    /// what greedy decoding gives.
    pub(crate) fn accepted(
        &self,
        weights: &[f32],
        text: &[u32],
        from: usize,
        skip: Range<usize>,
        tape: &mut Tape,
    ) -> Vec<usize> {
        let starts: Vec<usize> = (from.max(1)..text.len().saturating_sub(self.group)).collect();
        let mut accepted = Vec::with_capacity(starts.len());
        for anchors in starts.chunks(64) {
            let sample = Sample::new(text.to_vec(), anchors.to_vec(), skip.clone());
            self.forward_from(sample.text(), weights, &sample, tape);
            let groups = tape.logits.chunks_exact(self.group * self.config.vocab_size);
            for (t, group) in sample.anchors.iter().zip(groups) {
                let drafts = group.chunks_exact(self.config.vocab_size).map(arg_max);
                accepted.push(drafts.zip(&text[t + 1..]).take_while(|(d, t)| d == *t).count());
            }
        }
        accepted
    }
}
