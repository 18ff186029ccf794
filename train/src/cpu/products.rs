//! How the matrices of the network are multiplied: in `f32`, or, where they are frozen and the
//! recipe says so, in `bf16`; and the part of the vocabulary that drafts learn to choose from.

use super::halves::{Halves, Rows};
use super::matmul::{Write, linear, linear_back};
use crate::layout::Layout;
use rayon::prelude::*;
use s3d_model::ModelConfig;
use s3d_model::config::Part;

/// What of the network is packed beside its weights; nothing by default.
#[derive(Default)]
pub(crate) struct Products {
    /// Of every layer, of every [`Part`], forward and back; none: `f32`.
    layers: Vec<[[Halves; 2]; 4]>,
    /// The tokens that drafts learn to choose from; none: all.
    pub vocabulary: Option<Vocabulary>,
}

impl Products {
    /// Packs the layers.
    pub(crate) fn pack_layers(&mut self, layout: &Layout, config: &ModelConfig, weights: &[f32]) {
        let pack = |layer: usize| {
            Part::ALL.map(|part| {
                let weight = &weights[layout.layers[layer].matrix(part).clone()];
                let inputs = part.sizes(config)[0];
                [Halves::forward(weight, inputs), Halves::backward(weight, inputs)]
            })
        };
        self.layers = (0..layout.layers.len()).into_par_iter().map(pack).collect();
    }

    /// The packed forms of one matrix, where there are any.
    pub(crate) fn halves(&self, layer: usize, part: Part) -> Option<&[Halves; 2]> {
        self.layers.get(layer).map(|parts| &parts[part as usize])
    }
}

/// One matrix `[outputs, inputs]`, and how it is multiplied.
pub(crate) struct Product<'w> {
    weight: &'w [f32],
    inputs: usize,
    halves: Option<&'w [Halves; 2]>,
}

impl<'w> Product<'w> {
    /// In `f32`.
    pub(crate) fn new(weight: &'w [f32], inputs: usize) -> Self {
        Self { weight, inputs, halves: None }
    }

    /// In `bf16`, where there are packed forms.
    pub(crate) fn with(self, halves: Option<&'w [Halves; 2]>) -> Self {
        Self { halves, ..self }
    }

    /// `out = x * weight^T`, or added to it.
    pub(crate) fn forward(&self, out: &mut [f32], x: &[f32], rows: &mut Rows, mode: Write) {
        match self.halves {
            Some([forward, _]) => {
                forward.multiply(out, rows.set(x, self.inputs), mode == Write::Add);
            }
            None => linear(out, x, self.weight, self.inputs, mode),
        }
    }

    /// Gradients: `d_x = d_out * weight` and, where they are wanted, `d_weight += d_out^T * x`.
    pub(crate) fn back(
        &self,
        d_x: &mut [f32],
        d_weight: Option<&mut [f32]>,
        d_out: &[f32],
        x: &[f32],
        rows: &mut Rows,
    ) {
        match (self.halves, &d_weight) {
            (Some([_, back]), None) => {
                back.multiply(d_x, rows.set(d_out, self.weight.len() / self.inputs), false);
            }
            _ => linear_back(d_x, d_weight, d_out, x, self.weight, self.inputs),
        }
    }
}

/// A part of the vocabulary, with its rows of the head.
pub(crate) struct Vocabulary {
    /// The tokens, ascending.
    tokens: Vec<u32>,
    /// Of every token of the whole vocabulary, its place here; that of the last one where it has
    /// none.
    places: Vec<u32>,
    weight: Vec<f32>,
    inputs: usize,
    halves: Option<[Halves; 2]>,
}

impl Vocabulary {
    /// The part of `head[vocabulary, inputs]` that `tokens` (ascending, at least one) are.
    pub(crate) fn new(tokens: Vec<u32>, head: &[f32], inputs: usize, in_halves: bool) -> Self {
        let mut places = vec![tokens.len() as u32 - 1; head.len() / inputs];
        for (place, token) in tokens.iter().enumerate() {
            places[*token as usize] = place as u32;
        }
        let rows = tokens.iter().map(|token| *token as usize * inputs);
        let weight: Vec<f32> = rows.flat_map(|at| &head[at..at + inputs]).copied().collect();
        let pack = || [Halves::forward(&weight, inputs), Halves::backward(&weight, inputs)];
        let halves = in_halves.then(pack);
        Self { tokens, places, weight, inputs, halves }
    }

    /// How many tokens.
    pub(crate) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// The token at a place.
    pub(crate) fn token(&self, place: u32) -> u32 {
        self.tokens[place as usize]
    }

    /// The place of a token.
    pub(crate) fn place(&self, token: u32) -> u32 {
        self.places[token as usize]
    }

    /// Its rows of the head.
    pub(crate) fn product(&self) -> Product<'_> {
        Product::new(&self.weight, self.inputs).with(self.halves.as_ref())
    }
}
