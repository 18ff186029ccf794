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
            argmax_rows(&model.draft_pass(token, masks, &plan.skip, cache, observer)?)?
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
        let logits = model.draft_pass(last, 0, &plan.skip, cache, observer)?;
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
            return Err(Error::invalid(format!(
                "plan {plan} drafts {drafts} tokens at once, a model with {} masks at most {most}; use fewer, or seq:{plan}",
                self.config.masks()
            )));
        }
        Ok(())
    }

    /// Whether this model has the sub-layers that `skip` leaves out, and others.
    pub(crate) fn check_skip(&self, skip: &Skip) -> Result<()> {
        let layers = self.layers.len();
        let last = match skip {
            Skip::Window(window) => window.end(),
            Skip::Set { layers, .. } => {
                layers.attention.iter().chain(&layers.mlp).map(|layer| layer + 1).max().unwrap_or(0)
            }
        };
        if last > layers {
            let message =
                format!("{skip} skips layer {}; the model has layers 0..{layers}", last - 1);
            return Err(Error::invalid(message));
        }
        if (0..layers).all(|layer| skip.skips_attention(layer) && skip.skips_mlp(layer)) {
            return Err(Error::invalid(format!("{skip} skips all of the {layers} layers")));
        }
        Ok(())
    }
}
