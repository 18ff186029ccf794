//! Plain greedy texts, cut where they run into a loop, and where two ways to compute them differ.

use crate::{Prompt, Request, Result};
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
    /// The plain greedy continuation of `prompt`, cut where it runs into a loop.
    pub fn of(&mut self, model: &Model, prompt: &Prompt, request: &Request) -> Result<Rc<[u32]>> {
        if let Some(text) = self.texts.get(&prompt.id) {
            return Ok(Rc::clone(text));
        }
        let text: Rc<[u32]> = plain_text(model, prompt, request)?.into();
        self.texts.insert(prompt.id.clone(), Rc::clone(&text));
        Ok(text)
    }
}

/// Plain greedy decoding of `prompt`, cut where it runs into a loop; left whole where acceptance is
/// imposed, since a loop then makes nothing easier.
pub(crate) fn plain_text(model: &Model, prompt: &Prompt, request: &Request) -> Result<Vec<u32>> {
    let limits = Limits::tokens(request.tokens);
    let mut silent = Silent;
    let generation = Generation::new(model, &prompt.tokens, &Plan::Plain, limits, &mut silent)?;
    let mut output = generation.finish()?;
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
    let text: Vec<u32> = prompt.tokens.iter().chain(&first[..position]).copied().collect();
    let mut cache = model.new_cache(text.len() + 1)?;
    let logits = model.prompt_pass(&text, &mut cache, &mut Silent)?.get(0)?.to_vec1::<f32>()?;
    let [a, b] = [first_token, second_token].map(|token| f64::from(logits[token as usize]));
    Ok(Some(NearTie {
        id: prompt.id.clone(),
        position,
        first: names[0].to_string(),
        second: names[1].to_string(),
        first_token,
        second_token,
        logit_gap: (a - b).abs(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_differ_where_a_token_does_or_one_ends() {
        assert_eq!(first_difference(&[1, 2], &[1, 2]), None);
        assert_eq!(first_difference(&[1, 2], &[1, 3, 4]), Some(1));
        assert_eq!(first_difference(&[1, 2], &[1, 2, 3]), Some(2));
        assert_eq!(first_difference(&[1, 2], &[1]), Some(1));
        assert_eq!(first_difference(&[], &[]), None);
    }
}
