//! The passes of one step or iteration, timed: of one text, or of several that share them.

use crate::error::Result;
use crate::pass_watch::{PassWatch, Place};
use s3d_data::{Component, DraftPlan, Drafting, LatencySample};
use s3d_model::sample::choose_rows;
use s3d_model::{KvCache, Model};

/// Texts whose passes are timed: all continue the same token at the same context.
pub(super) struct Texts<'c> {
    model: &'c Model,
    /// Keys and values of `context - 1` tokens of each.
    caches: &'c mut [KvCache],
    token: u32,
    context: usize,
}

impl<'c> Texts<'c> {
    /// Texts that hold all tokens before `token`, the last of `context`.
    pub(super) fn new(
        model: &'c Model,
        caches: &'c mut [KvCache],
        (token, context): (u32, usize),
    ) -> Self {
        Self { model, caches, token, context }
    }

    /// Draft passes, then the verify pass, all timed; the caches are left as they were found.
    pub(super) fn speculate(
        &mut self,
        plan: &DraftPlan,
        watch: &mut PassWatch<'_>,
    ) -> Result<Vec<LatencySample>> {
        let predictors = plan.predictors.get();
        let (passes, masks) = match plan.drafting {
            Drafting::Simultaneous => (1, predictors - 1),
            Drafting::Sequential => (predictors, 0),
        };
        let mut samples = Vec::new();
        for pass in 0..passes {
            let place = self.place(Component::DraftPass, masks + 1, pass);
            watch.pass(place, &mut samples, |watch| self.draft(plan, masks, watch))?;
        }
        self.cut_back();
        let place = self.place(Component::VerifyPass, predictors + 1, 0);
        watch.pass(place, &mut samples, |watch| self.full(predictors + 1, watch))?;
        self.cut_back();
        Ok(samples)
    }

    /// Two plain steps; the second is kept, since it finds the cache as a plain step leaves it.
    pub(super) fn step_twice(&mut self, watch: &mut PassWatch<'_>) -> Result<Vec<LatencySample>> {
        let mut samples = Vec::new();
        for _ in 0..2 {
            samples.clear();
            let place = self.place(Component::FullPass, 1, 0);
            watch.pass(place, &mut samples, |watch| self.full(1, watch))?;
            self.cut_back();
        }
        Ok(samples)
    }

    /// A pass over `width` tokens of each, the first of them `further` tokens on.
    fn place(&self, component: Component, width: usize, further: usize) -> Place {
        let (context, batch) = (self.context + further, self.caches.len());
        Place { component, width, context, batch }
    }

    fn draft(
        &mut self,
        plan: &DraftPlan,
        masks: usize,
        watch: &mut PassWatch<'_>,
    ) -> s3d_model::Result<Vec<u32>> {
        let (model, token) = (self.model, self.token);
        let logits = match &mut *self.caches {
            [cache] => model.draft_pass(plan.drafting, token, masks, &plan.skip, cache, watch)?,
            several => {
                let texts = several.iter_mut().map(|cache| (token, cache));
                model.draft_pass_together((plan.drafting, masks, &plan.skip), texts, watch)?
            }
        };
        choose_rows(&logits, watch.sampling.as_ref())
    }

    fn full(&mut self, width: usize, watch: &mut PassWatch<'_>) -> s3d_model::Result<Vec<u32>> {
        let fed = vec![self.token; width];
        let logits = match &mut *self.caches {
            [cache] => self.model.full_pass(&fed, cache, watch)?,
            several => {
                let texts = several.iter_mut().map(|cache| (&*fed, cache));
                self.model.full_pass_together(texts, watch)?
            }
        };
        choose_rows(&logits, watch.sampling.as_ref())
    }

    fn cut_back(&mut self) {
        let held = self.context - 1;
        self.caches.iter_mut().for_each(|cache| cache.truncate(held));
    }
}
