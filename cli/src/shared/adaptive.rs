//! Drafts that adapt to the text, by what a run directory holds: the plan `auto:DIR`.

use crate::shared::load_run;
use crate::shared::usage::usage;
use anyhow::Context;
use s3d_data::{DraftPlan, Plan, Recommendation, Run, RunDir};
use s3d_model::DraftPolicy;
use s3d_simulator::policy::{self, Adaptive};
use s3d_simulator::{Request, choose};
use std::path::Path;

/// The folder of `auto:DIR`; nothing where a plan is of another kind.
///
/// # Errors
/// No folder behind the colon.
pub fn folder(plan: &str) -> anyhow::Result<Option<&Path>> {
    match plan.strip_prefix("auto:") {
        Some("") => Err(usage("--plan auto: expected auto:DIR with a run directory, found none")),
        folder => Ok(folder.map(Path::new)),
    }
}

/// Drafts that adapt, ready for a text.
pub struct AutoPlan {
    /// The choice's window and drafting, with the most drafts of an iteration.
    pub plan: Plan,
    policy: Adaptive,
}

impl AutoPlan {
    /// By the run in `folder`.
    ///
    /// # Errors
    /// No run, one that was not concluded or chose no plan, no traces of its choice.
    pub fn load(folder: &Path) -> anyhow::Result<Self> {
        let dir = RunDir::new(folder);
        let run = load_run::load(&dir).with_context(|| named(folder))?;
        Self::of(&run, &choice(&dir)?).with_context(|| named(folder))
    }

    /// By a run and its choice.
    ///
    /// # Errors
    /// No traces of the choice, or costs that are not known.
    pub fn of(run: &Run, choice: &DraftPlan) -> anyhow::Result<Self> {
        let (plan, policy) = policy::of_run(run, &Request::of(&run.header), choice)?;
        Ok(Self { plan: Plan::Speculate(plan), policy })
    }

    /// All that it decides by, in words that tell policies apart.
    pub fn described(&self) -> String {
        format!("{} {:?}", self.plan, self.policy)
    }

    /// The policy for a new text.
    pub fn policy(&self) -> Box<dyn DraftPolicy> {
        Box::new(Follows(self.policy.clone()))
    }
}

/// The plan that the run in `dir` chose, or chooses now where nothing was concluded yet.
///
/// # Errors
/// A run that cannot choose, or has no plan to choose.
pub fn choice_of(dir: &RunDir, run: &Run) -> anyhow::Result<DraftPlan> {
    if dir.recommendation().is_file() {
        return choice(dir);
    }
    let request = Request { with_errors: false, ..Request::of(&run.header) };
    drafting(choose(run, &request)?.recommendation, dir)
}

fn named(folder: &Path) -> String {
    format!("auto:{}", folder.display())
}

/// The plan that the run in `dir` chose, whether or not it advises to speculate.
///
/// # Errors
/// A run that was not concluded, or has no plan to choose.
pub fn choice(dir: &RunDir) -> anyhow::Result<DraftPlan> {
    let advice =
        || format!("expected a run that was concluded; try 's3d report {0}'", dir.root().display());
    drafting(dir.load_recommendation().with_context(advice)?, dir)
}

fn drafting(recommendation: Recommendation, dir: &RunDir) -> anyhow::Result<DraftPlan> {
    let chosen = recommendation.choice.and_then(|choice| choice.plan.draft().cloned());
    chosen.with_context(|| format!("{}: the run chose no plan that drafts", dir.root().display()))
}

/// Asks the simulator's policy.
struct Follows(Adaptive);

impl DraftPolicy for Follows {
    fn drafts(&mut self) -> usize {
        self.0.drafts()
    }

    fn told(&mut self, drafted: usize, accepted: usize) {
        self.0.told(drafted, accepted);
    }
}
