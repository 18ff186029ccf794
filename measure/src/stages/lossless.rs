//! A speculative text is kept only when it equals the plain one.

use crate::bench::Bench;
use crate::error::{Error, Result};
use crate::request::Prompt;
use crate::stages::reference::{Agreement, compare, first_difference, near_tie};
use s3d_data::{Observation, Plan, ThroughputSample};

/// Keeps the samples whose text equals the plain one; `waiting` is empty afterwards. Stock decoding
/// adds in another order and may differ anywhere; speculation only on a device whose sums depend on
/// the width of a pass, and there only at a near-tie. Both are written down.
pub(crate) fn keep_equal(
    bench: &mut Bench<'_>,
    prompt: &Prompt,
    plain: &[u32],
    waiting: &mut Vec<(ThroughputSample, Vec<u32>)>,
) -> Result<()> {
    for (sample, tokens) in waiting.drain(..) {
        let mut kept = Vec::new();
        if let Some(position) = first_difference(plain, &tokens) {
            let model = bench.subject.model;
            let (way, other) = match sample.plan {
                Plan::Stock => ("own kernel", "stock".to_string()),
                ref plan => {
                    let agreement = compare(model, &prompt.tokens, plain, &tokens)?;
                    if !matches!(agreement, Agreement::NearTie { .. }) {
                        return Err(mismatch(plan, prompt, position, plain, &tokens));
                    }
                    ("plain", plan.to_string())
                }
            };
            let tie = near_tie(model, prompt, plain, &tokens, position, [way, &other])?;
            kept.extend(tie.map(Observation::NearTie));
        }
        // Together: a run that goes on after a kill finds both or none.
        kept.push(Observation::Throughput(sample));
        bench.recorder.append(kept)?;
    }
    Ok(())
}

/// A text that is not the plain one, from `position` on.
pub(super) fn mismatch(
    plan: &Plan,
    prompt: &Prompt,
    position: usize,
    plain: &[u32],
    found: &[u32],
) -> Error {
    let token = |tokens: &[u32]| match tokens.get(position) {
        Some(token) => token.to_string(),
        None => "the end of the text".to_string(),
    };
    Error::Mismatch {
        plan: Box::new(plan.clone()),
        prompt: prompt.id.clone(),
        position,
        expected: token(plain),
        found: token(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mismatch_names_plan_prompt_position_and_tokens() {
        let prompt = Prompt { id: "story-3".into(), task: None, tokens: vec![1] };
        let plan: Plan = "3..9:4".parse().unwrap();
        let plain = [5, 6, 7];
        let text = |found: &[u32]| {
            let position = first_difference(&plain, found).unwrap();
            mismatch(&plan, &prompt, position, &plain, found).to_string()
        };
        let changed = text(&[5, 9, 7]);
        assert!(changed.contains("plan 3..9:4") && changed.contains("'story-3'"), "{changed}");
        assert!(changed.contains("position 1: expected token 6, found 9"), "{changed}");
        assert!(text(&[5, 6]).contains("found the end of the text"));
    }
}
