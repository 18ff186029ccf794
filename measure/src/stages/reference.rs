//! Plain texts, greedy or drawn, cut where they run into a loop, and where two ways to compute
//! them differ.

use crate::drawing;
use crate::error::Result;
use crate::request::{Prompt, Request};
use s3d_data::{NearTie, Plan};
use s3d_model::{Generation, Limits, Model, Silent, loop_cut};
use std::collections::HashMap;
use std::rc::Rc;

/// Plain texts by prompt, made when they are first asked for.
#[derive(Debug, Default)]
pub(crate) struct References {
    texts: HashMap<String, Rc<[u32]>>,
}

impl References {
    /// The plain continuation of `prompt`, cut where it runs into a loop.
    pub(crate) fn of(
        &mut self,
        model: &Model,
        prompt: &Prompt,
        request: &Request,
    ) -> Result<Rc<[u32]>> {
        if let Some(text) = self.texts.get(&prompt.id) {
            return Ok(Rc::clone(text));
        }
        let text: Rc<[u32]> = plain_text(model, prompt, request)?.into();
        self.texts.insert(prompt.id.clone(), Rc::clone(&text));
        Ok(text)
    }
}

/// Plain decoding of `prompt`, greedy or drawn, cut where it runs into a loop; left whole where
/// acceptance is imposed, since a loop then makes nothing easier.
pub(crate) fn plain_text(model: &Model, prompt: &Prompt, request: &Request) -> Result<Vec<u32>> {
    let limits = Limits::tokens(request.tokens);
    let mut silent = Silent;
    let generation = Generation::new(model, &prompt.tokens, &Plan::Plain, limits, &mut silent)?;
    let mut output = match drawing::of_text(request, prompt)? {
        Some(sampling) => generation.sampling(sampling).finish()?,
        None => generation.finish()?,
    };
    if request.impose.is_none() {
        output.truncate(loop_cut(&output, model.tokenizer())?);
    }
    Ok(output)
}

/// The first position at which two texts differ; a text that ends early differs where it ends.
pub(crate) fn first_difference(expected: &[u32], found: &[u32]) -> Option<usize> {
    let same = expected.iter().zip(found).take_while(|(a, b)| a == b).count();
    (same < expected.len().max(found.len())).then_some(same)
}

/// How a text compares with the plain one.
#[derive(Debug, Clone, PartialEq)]
pub enum Agreement {
    /// Token for token the same.
    Same,
    /// They part where two tokens are so close that passes of different widths may swap them, on a
    /// device where a row's bits depend on the width of its pass.
    NearTie {
        /// Output position, from 0.
        position: usize,
        /// Gap between the two tokens' logits.
        logit_gap: f64,
    },
    /// They part where nothing explains it.
    Different {
        /// Output position, from 0.
        position: usize,
    },
}

/// Compares the text `found` with the plain one after `prompt`, both by `model`.
///
/// # Errors
/// When the model cannot be asked for its logits.
pub fn compare(model: &Model, prompt: &[u32], plain: &[u32], found: &[u32]) -> Result<Agreement> {
    let Some(position) = first_difference(plain, found) else { return Ok(Agreement::Same) };
    let width = model.tie_width();
    if let (true, Some((logit_gap, largest))) =
        (width > 0.0, gap_at(model, prompt, plain, found, position)?)
        && logit_gap <= width * largest
    {
        return Ok(Agreement::NearTie { position, logit_gap });
    }
    Ok(Agreement::Different { position })
}

/// The gap between the logits of the two tokens at `position`, up to which the texts agree, and the
/// size of the largest logit; none where one of the texts has ended.
fn gap_at(
    model: &Model,
    prompt: &[u32],
    first: &[u32],
    second: &[u32],
    position: usize,
) -> Result<Option<(f64, f64)>> {
    let (Some(&a), Some(&b)) = (first.get(position), second.get(position)) else {
        return Ok(None);
    };
    let text = [prompt, &first[..position]].concat();
    let mut cache = model.new_cache(text.len() + 1)?;
    let logits = model.prompt_pass(&text, &mut cache, &mut Silent)?.to_rows()?.concat();
    let largest = logits.iter().fold(0.0f32, |most, logit| most.max(logit.abs()));
    let [a, b] = [a, b].map(|token| f64::from(logits[token as usize]));
    Ok(Some(((a - b).abs(), f64::from(largest))))
}

/// What `model` thinks of the two tokens at `position`, up to which the texts `first` and `second`
/// agree; none where one of them has ended.
pub(crate) fn near_tie(
    model: &Model,
    prompt: &Prompt,
    first: &[u32],
    second: &[u32],
    position: usize,
    names: [&str; 2],
) -> Result<Option<NearTie>> {
    let (Some(&first_token), Some(&second_token)) = (first.get(position), second.get(position))
    else {
        return Ok(None);
    };
    let gap = gap_at(model, &prompt.tokens, first, second, position)?;
    let Some((logit_gap, _)) = gap else { return Ok(None) };
    Ok(Some(NearTie {
        id: prompt.id.clone(),
        position,
        first: names[0].to_string(),
        second: names[1].to_string(),
        first_token,
        second_token,
        logit_gap,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_bits_do_not_depend_on_the_width_a_difference_is_never_a_tie() {
        let config = s3d_model::ModelConfig {
            num_hidden_layers: 1,
            hidden_size: 32,
            intermediate_size: 32,
            ..s3d_model::ModelConfig::story()
        };
        let model = Model::random(&config, 1, &s3d_model::LoadOptions::default()).unwrap();
        let compare = |found: &[u32]| compare(&model, &[1, 2], &[3, 4], found).unwrap();
        assert_eq!(compare(&[3, 4]), Agreement::Same);
        assert_eq!(compare(&[3, 5]), Agreement::Different { position: 1 });
        assert_eq!(compare(&[3]), Agreement::Different { position: 1 });
        let gap = gap_at(&model, &[1, 2], &[3, 4], &[3, 5], 1).unwrap().unwrap();
        assert!(gap.0 > 0.0 && gap.1 >= gap.0 / 2.0, "{gap:?}");
        assert_eq!(gap_at(&model, &[1, 2], &[3, 4], &[3], 1).unwrap(), None);
    }

    #[test]
    fn texts_differ_where_a_token_does_or_one_ends() {
        assert_eq!(first_difference(&[1, 2], &[1, 2]), None);
        assert_eq!(first_difference(&[1, 2], &[1, 3, 4]), Some(1));
        assert_eq!(first_difference(&[1, 2], &[1, 2, 3]), Some(2));
        assert_eq!(first_difference(&[1, 2], &[1]), Some(1));
        assert_eq!(first_difference(&[], &[]), None);
    }
}
