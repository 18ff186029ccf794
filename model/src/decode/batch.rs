//! Plain decoding of many texts at once: their rows go through the weights together, each text
//! attends to itself.
//!
//! A pass over one row reads every weight for that row alone; over the next rows of fifty texts it
//! reads them once for all. No row's bits depend on the pass it sits in, so every text is what it
//! is alone, token for token. A text that has ended leaves, and the next one that waits takes its
//! place: its prompt goes along with the others' rows.

use crate::backend::convert::Rows;
use crate::backend::embedding::Row;
use crate::backend::kv_cache::KvCache;
use crate::backend::logits::{Logits, for_each_row};
use crate::backend::placed::{LayerCache, Rotated};
use crate::decode::observer::Silent;
use crate::decode::sample::Sampling;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::model::positions::Places;
use s3d_kernels::elementwise::argmax;
use std::ops::ControlFlow;

/// A text to write.
#[derive(Debug, Clone)]
pub struct Order {
    /// The tokens that it begins with, at least one.
    pub prompt: Vec<u32>,
    /// Tokens after them, at most; an end-of-text token ends it before.
    pub tokens: usize,
    /// How tokens are chosen.
    pub sampling: Sampling,
}

/// A text that is being written.
struct Running {
    /// Which of the orders it is.
    number: usize,
    order: Order,
    cache: KvCache,
    output: Vec<u32>,
    /// Tokens that the next pass feeds: the prompt, then the latest token.
    fed: Vec<u32>,
}

/// Writes all `orders`, up to `width` of them at a time, and hands each output to `done` with its
/// number when it is complete, which is in no fixed order; `done` may break off.
///
/// # Errors
/// No place; a model on a device, or of candle's own operations; a prompt that is empty or too
/// long; what `orders` and `done` return.
pub fn decode_together(
    model: &Model,
    orders: impl IntoIterator<Item = Result<Order>>,
    width: usize,
    done: &mut dyn FnMut(usize, Vec<u32>) -> Result<ControlFlow<()>>,
) -> Result<()> {
    if width == 0 || model.tie_width() > 0.0 {
        return Err(Error::invalid(
            "texts are decoded together on the CPU, one or more at a time; decode one after the other \
             elsewhere",
        ));
    }
    let mut waiting = orders.into_iter().enumerate();
    let mut running: Vec<Running> = Vec::with_capacity(width);
    loop {
        while running.len() < width {
            let Some((number, order)) = waiting.next() else { break };
            running.push(Running::begin(model, number, order?)?);
        }
        if running.is_empty() {
            return Ok(());
        }
        let logits = model.pass_together(&mut running)?;
        let mut chosen = Vec::with_capacity(running.len());
        let mut texts = running.iter();
        let mut wrong = None;
        for_each_row(&logits, |row| match texts.next().map(|text| text.choose(row)) {
            Some(Ok(token)) => chosen.push(token),
            Some(Err(error)) => wrong = Some(error),
            None => {}
        })?;
        wrong.map_or(Ok(()), Err)?;
        for (text, token) in running.iter_mut().zip(chosen) {
            text.output.push(token);
            text.fed = vec![token];
        }
        let ended = running.extract_if(.., |text| text.has_ended(model)).collect::<Vec<_>>();
        for text in ended {
            model.give_back(text.cache);
            if done(text.number, text.output)?.is_break() {
                return Ok(());
            }
        }
    }
}

impl Running {
    fn begin(model: &Model, number: usize, order: Order) -> Result<Self> {
        let (prompt, positions) = (order.prompt.len(), model.positions());
        if prompt == 0 || prompt >= positions || order.tokens == 0 {
            return Err(Error::invalid(format!(
                "expected a prompt of 1 to {} tokens and a text of at least one more; found \
                 {prompt}, and {} more",
                positions - 1,
                order.tokens
            )));
        }
        let room = positions.min(prompt.saturating_add(order.tokens));
        let cache = model.new_cache(room)?;
        Ok(Self { number, cache, output: Vec::new(), fed: order.prompt.clone(), order })
    }

    /// Where the rows that it feeds stand in it.
    fn places(&self) -> Result<Places> {
        self.cache.reserve(self.fed.len())?;
        Ok(Places::next(self.cache.len(), self.fed.len()))
    }

    /// The token after the one whose logits these are.
    fn choose(&self, logits: &[f32]) -> Result<u32> {
        let sampling = &self.order.sampling;
        if sampling.is_greedy() {
            return Ok(argmax(logits));
        }
        let number = sampling.numbers(self.output.len()).choose;
        Ok(sampling.distribution(logits)?.draw(number))
    }

    fn has_ended(&self, model: &Model) -> bool {
        let length = self.order.prompt.len() + self.output.len();
        let end = self.output.last().is_some_and(|token| model.config.is_end(*token));
        end || self.output.len() >= self.order.tokens || length >= model.positions()
    }
}

impl Model {
    /// One full-depth pass over what all `texts` feed; logits `[texts, vocab]` after the last token
    /// of each.
    fn pass_together(&self, texts: &mut [Running]) -> Result<Logits> {
        let rows: Vec<Row> =
            texts.iter().flat_map(|text| text.fed.iter().map(|token| Row::Token(*token))).collect();
        let places = texts.iter().map(Running::places).collect::<Result<Vec<_>>>()?;
        let together = Places {
            positions: places.iter().flat_map(|places| places.positions.clone()).collect(),
            blocks: Vec::new(),
            append: true,
            adapted: false,
        };
        self.check_positions(&together)?;
        let at = (&*together.positions, &*together.blocks, true);
        let standing = self.backend.place(self.heads(), &self.rotary, at)?;
        let mut x = self.embedding.look_up(&rows, &self.head, &self.backend)?;
        for (number, layer) in self.layers.iter().enumerate() {
            let rotated = self.rotated(layer, &x, (&together, &standing))?;
            let mut attended = Vec::with_capacity(texts.len());
            let mut row = 0;
            for (text, places) in texts.iter().zip(&places) {
                let own = self.backend.part(&rotated, row..row + text.fed.len())?;
                attended.push(self.attend_alone(&own, places, text.cache.layer(number))?);
                row += text.fed.len();
            }
            x = self.attended(layer, &x, &self.backend.joined(&attended)?, &together)?;
            x = self.mlp(layer, &x, &together)?;
        }
        let mut row = 0;
        let mut last = Vec::with_capacity(texts.len());
        for text in texts.iter_mut() {
            row += text.fed.len();
            last.push(self.backend.row(&x, row - 1)?);
            text.cache.advance(text.fed.len());
        }
        self.head_pass(&self.backend.joined(&last)?, &mut Silent)
    }

    /// Attention of one text's rows, which are written to its cache.
    fn attend_alone(
        &self,
        rotated: &Rotated,
        places: &Places,
        cache: LayerCache<'_>,
    ) -> Result<Rows> {
        let at = (&*places.positions, &*places.blocks, true);
        let standing = self.backend.place(self.heads(), &self.rotary, at)?;
        self.attend(rotated, (places, &standing), cache)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Generation, Limits, LoadOptions, ModelConfig, Silent};
    use s3d_data::{Dtype, Plan};

    fn model(dtype: Dtype, end: Option<u32>) -> Model {
        let config = ModelConfig {
            hidden_size: 64,
            intermediate_size: 72,
            num_hidden_layers: 3,
            num_attention_heads: 4,
            num_key_value_heads: Some(2),
            head_dim: Some(16),
            vocab_size: 40,
            eos_token_id: end.map(crate::config::EndTokens::One),
            ..ModelConfig::story()
        };
        let options = LoadOptions { threads: 2, dtype, ..LoadOptions::default() };
        Model::random(&config, 11, &options).unwrap()
    }

    /// Prompts of 1 to 23 tokens, of which some are asked for few tokens and some for many; every
    /// other one drawn.
    fn orders() -> Vec<Order> {
        let order = |i: u32| Order {
            prompt: (0..=i * 5 % 23).map(|j| (i * 7 + j * 3) % 40).collect(),
            tokens: 3 + (i as usize * 11) % 29,
            sampling: Sampling::new(if i.is_multiple_of(2) { 0.0 } else { 1.0 }, u64::from(i))
                .unwrap(),
        };
        (0..14).map(order).collect()
    }

    fn together(model: &Model, width: usize) -> Vec<Vec<u32>> {
        let mut outputs = vec![Vec::new(); orders().len()];
        decode_together(model, orders().into_iter().map(Ok), width, &mut |number, output| {
            assert!(outputs[number].is_empty());
            outputs[number] = output;
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
        outputs
    }

    /// source: each text decoded alone, by `Generation`.
    #[test]
    fn every_text_of_a_batch_is_what_it_is_alone_token_for_token() {
        for (dtype, end) in [(Dtype::F32, Some(7)), (Dtype::F16, None), (Dtype::Q8_0, Some(3))] {
            let model = model(dtype, end);
            let alone = |order: Order| {
                let limits = Limits::tokens(order.tokens);
                Generation::new(&model, &order.prompt, &Plan::Plain, limits, &mut Silent)
                    .unwrap()
                    .sampling(order.sampling)
                    .finish()
                    .unwrap()
            };
            let wanted: Vec<Vec<u32>> = orders().into_iter().map(alone).collect();
            let different = wanted.iter().flatten().collect::<std::collections::HashSet<_>>();
            assert!(different.len() > 10, "the comparison must not be trivial: {wanted:?}");
            for width in [1, 4, 64] {
                assert_eq!(together(&model, width), wanted, "{dtype}, {width} at a time");
            }
        }
    }

    #[test]
    fn a_batch_breaks_off_when_it_is_told_to() {
        let model = model(Dtype::F32, None);
        let mut heard = 0;
        let mut once = |_, _| {
            heard += 1;
            Ok(ControlFlow::Break(()))
        };
        decode_together(&model, orders().into_iter().map(Ok), 4, &mut once).unwrap();
        assert_eq!(heard, 1);
    }

    #[test]
    fn what_cannot_be_decoded_together_is_refused() {
        let model = model(Dtype::F32, None);
        let greedy = Sampling::new(0.0, 1).unwrap();
        let order = |prompt: &[u32]| Order { prompt: prompt.to_vec(), tokens: 4, sampling: greedy };
        let said = |model: &Model, prompt: &[u32], width| {
            let mut done = |_, _| Ok(ControlFlow::Continue(()));
            let found = decode_together(model, [Ok(order(prompt))], width, &mut done);
            found.unwrap_err().to_string()
        };
        assert!(said(&model, &[], 2).contains("found 0"));
        assert!(said(&model, &[40], 2).contains("outside the vocabulary"));
        assert!(said(&model, &vec![1; model.positions()], 2).contains("1 to"));
        assert!(said(&model, &[1], 0).contains("one or more at a time"));
    }
}
