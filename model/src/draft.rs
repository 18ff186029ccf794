//! Drafting: tokens guessed by a part of the layers, in one pass or in several.

use crate::model::Model;
use crate::observe::Observer;
use crate::transformer::argmax_rows;
use crate::{Error, KvCache, Result};
use s3d_data::{DraftPlan, Drafting, Skip};

/// Drafts `plan.predictors` tokens after `token`, which continues the text in `cache`. The cache is
/// left as it was found.
///
/// # Errors
/// When a pass fails (see [`Model::draft_pass`]).
pub fn draft(
    model: &Model,
    token: u32,
    plan: &DraftPlan,
    cache: &mut KvCache,
    observer: &mut dyn Observer,
) -> Result<Vec<u32>> {
    let len = cache.len();
    let drafts = match plan.drafting {
        Drafting::Simultaneous => {
            let masks = plan.predictors.get() - 1;
            let logits =
                model.draft_pass(plan.drafting, token, masks, &plan.skip, cache, observer)?;
            argmax_rows(&logits)?
        }
        Drafting::Sequential => draft_in_turn(model, token, plan, cache, observer)?,
    };
    cache.truncate(len);
    Ok(drafts)
}

/// One pass of width 1 per draft, each fed the draft before.
fn draft_in_turn(
    model: &Model,
    token: u32,
    plan: &DraftPlan,
    cache: &mut KvCache,
    observer: &mut dyn Observer,
) -> Result<Vec<u32>> {
    let mut drafts = Vec::with_capacity(plan.predictors.get());
    let mut last = token;
    for _ in 0..plan.predictors.get() {
        let logits = model.draft_pass(plan.drafting, last, 0, &plan.skip, cache, observer)?;
        last = argmax_rows(&logits)?[0];
        drafts.push(last);
    }
    Ok(drafts)
}

impl Model {
    /// Whether this model can draft by `plan`.
    ///
    /// # Errors
    /// Says what does not fit: layers that do not exist, nothing left to run, too few masks.
    pub fn check_plan(&self, plan: &DraftPlan) -> Result<()> {
        self.check_skip(&plan.skip)?;
        let (drafts, most) = (plan.predictors.get(), self.config.masks() + 1);
        if plan.drafting == Drafting::Simultaneous && drafts > most {
            let needs = match self.config.masks() {
                0 => "which this checkpoint was not trained for (it has no mask embeddings; add them with s3d train --model DIR --corpus FILES --out OTHER); draft one after the other with".to_string(),
                masks => format!("a model with {masks} masks at most {most}; use fewer, or"),
            };
            return Err(Error::invalid(format!(
                "plan {plan} drafts {drafts} tokens at once, {needs} seq:{plan}"
            )));
        }
        Ok(())
    }

    /// Whether this model has the sub-layers that `skip` leaves out, and others.
    pub(crate) fn check_skip(&self, skip: &Skip) -> Result<()> {
        Ok(skip.check(self.layers.len())?)
    }
}
