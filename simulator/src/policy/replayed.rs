//! What drafts that adapt would have gained on the texts of a run: exact, since a trace holds what
//! every iteration would have accepted wherever it starts and however many tokens it drafts.
//!
//! Each text is judged by what the *other* texts say of acceptance, as a new text would be.

use crate::error::{Error, Result};
use crate::policy::adaptive::{Adaptive, Settings};
use crate::policy::law::{CostByDrafts, acceptance};
use crate::policy::ratio::ratio;
use crate::predict::request::Request;
use crate::traces::table::TraceTable;
use crate::traces::walk::{visit, walk};
use s3d_data::{AcceptanceCounts, DraftPlan, Drafting, Estimate, Plan, Predictors, Run, Trace};
use serde::Serialize;

/// One text. Times are in plain steps, without the prompt pass.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TextReplay {
    /// Its name.
    pub id: String,
    /// Its workload.
    pub task: Option<String>,
    /// Plain decoding: its tokens after the first.
    pub plain: f64,
    /// The run's choice.
    pub choice: f64,
    /// The number of drafts that is best for all texts.
    pub fixed: f64,
    /// Drafts that adapt.
    pub policy: f64,
    /// Iterations of these, plain steps among them.
    pub iterations: u64,
    /// The number of drafts that is best for this text, known beforehand.
    pub oracle: f64,
    /// That number.
    pub oracle_drafts: usize,
}

/// Texts together: speedups are ratios of total times.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PolicyRow {
    /// The workload; null: all texts.
    pub task: Option<String>,
    /// Texts.
    pub texts: usize,
    /// Speedup of the choice over plain decoding.
    pub choice: f64,
    /// Of the number of drafts that is best for all texts.
    pub fixed: f64,
    /// Of drafts that adapt.
    pub policy: Estimate,
    /// Of the best number for each text.
    pub oracle: f64,
    /// Drafts that adapt over the best fixed number, with the interval over texts.
    pub over_fixed: Estimate,
}

/// What a policy would have gained on a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PolicyReplay {
    /// The run's choice, which every text starts with.
    pub plan: Plan,
    /// The most drafts that are looked at.
    pub most: usize,
    /// The best number of drafts for all texts; 0: plain decoding.
    pub fixed_drafts: usize,
    /// Cost of an iteration in plain steps, by number of drafts from 0 on.
    pub cost_by_drafts: Vec<f64>,
    /// Acceptance rate of each draft given those before it, over all texts.
    pub acceptance: Vec<f64>,
    /// Weight of these rates, in observations.
    pub prior_weight: f64,
    /// All texts.
    pub all: PolicyRow,
    /// Those of each workload.
    pub by_task: Vec<PolicyRow>,
    /// Those on which the choice is slower than plain decoding; null where there is none.
    pub losing: Option<PolicyRow>,
    /// The largest time of a text over that of plain decoding.
    pub worst: f64,
    /// Every text.
    pub texts: Vec<TextReplay>,
}

/// The drafts of `choice` with as many predictors as the run traced, and a policy for a new text.
///
/// # Errors
/// No traces of the choice's window, or costs that are not known.
pub fn of_run(run: &Run, request: &Request, choice: &DraftPlan) -> Result<(DraftPlan, Adaptive)> {
    let known = Known::of(run, request, choice)?;
    let plan = DraftPlan { predictors: Predictors::new(known.costs.most())?, ..choice.clone() };
    let start = choice.predictors.get();
    Ok((plan, Adaptive::new(known.costs, &known.counts, start, Settings::default())))
}

/// Replays the texts of `run` that were traced under the window of `choice`.
///
/// # Errors
/// As [`of_run`].
pub fn replay_policy(
    run: &Run,
    request: &Request,
    choice: &DraftPlan,
    settings: Settings,
) -> Result<PolicyReplay> {
    let known = Known::of(run, request, choice)?;
    let (costs, start) = (&known.costs, choice.predictors.get());
    let most = costs.most();
    let seconds = |text: &Text, drafts: usize| match drafts {
        0 => text.plain(),
        _ => walk(&text.trace.accepted, drafts).iterations as f64 * costs.at(drafts),
    };
    let total = |drafts: usize| known.texts.iter().map(|text| seconds(text, drafts)).sum::<f64>();
    let best = |time: &dyn Fn(usize) -> f64| {
        (0..=most).min_by(|&a, &b| time(a).total_cmp(&time(b))).unwrap_or(0)
    };
    let fixed_drafts = best(&total);
    let replayed = |text: &Text| {
        let others = known.without(text);
        let policy = Adaptive::new(costs.clone(), &others, start, settings);
        let (iterations, time) = follow(&text.trace.accepted, costs, policy);
        let oracle_drafts = best(&|drafts| seconds(text, drafts));
        TextReplay {
            id: text.trace.id.clone(),
            task: text.trace.task.clone(),
            plain: text.plain(),
            choice: seconds(text, start.min(most)),
            fixed: seconds(text, fixed_drafts),
            policy: time,
            iterations,
            oracle: seconds(text, oracle_drafts),
            oracle_drafts,
        }
    };
    let texts: Vec<TextReplay> = known.texts.iter().map(replayed).collect();
    let strata: Vec<usize> = known.texts.iter().map(|text| text.stratum).collect();
    let rows = Rows { texts: &texts, strata: &strata, request };
    let tasks = rows.tasks();
    let by_task = tasks.iter().filter_map(|task| rows.row(|text| text.task.as_ref() == Some(task)));
    let named = |(row, task): (PolicyRow, &String)| PolicyRow { task: Some(task.clone()), ..row };
    let worst = texts.iter().map(|text| text.policy / text.plain).fold(0.0, f64::max);
    Ok(PolicyReplay {
        plan: Plan::Speculate(choice.clone()),
        most,
        fixed_drafts,
        cost_by_drafts: costs.all().to_vec(),
        acceptance: rates(&known.counts),
        prior_weight: settings.weight,
        all: rows.row(|_| true).ok_or_else(|| no_traces(choice))?,
        by_task: by_task.zip(&tasks).map(named).collect(),
        losing: rows.row(|text| text.choice > text.plain),
        worst,
        texts,
    })
}

/// Follows `policy` through a text: its iterations, and their time in plain steps.
pub(crate) fn follow(accepted: &[u32], costs: &CostByDrafts, mut policy: Adaptive) -> (u64, f64) {
    let (mut iterations, mut time) = (0, 0.0);
    visit(accepted, |_, right| {
        let drafts = policy.drafts();
        let kept = (right as usize).min(drafts);
        policy.told(drafts, kept);
        iterations += 1;
        time += costs.at(drafts);
        kept
    });
    (iterations, time)
}

/// A text of the choice's window.
struct Text<'a> {
    trace: &'a Trace,
    stratum: usize,
    counts: AcceptanceCounts,
}

impl Text<'_> {
    fn plain(&self) -> f64 {
        self.trace.tokens() as f64 - 1.0
    }
}

/// What a run says of the window of its choice.
struct Known<'a> {
    texts: Vec<Text<'a>>,
    costs: CostByDrafts,
    counts: AcceptanceCounts,
}

impl<'a> Known<'a> {
    fn of(run: &'a Run, request: &Request, choice: &DraftPlan) -> Result<Self> {
        let way = choice.draft();
        let table = TraceTable::of(run)?;
        let strata = table.strata();
        let row = table.ways.get(&way).cloned().unwrap_or_default();
        let traces = row.into_iter().zip(strata);
        let traces: Vec<(&Trace, usize)> = traces
            .filter_map(|(trace, stratum)| Some((trace.filter(|t| t.tokens() > 1)?, stratum)))
            .collect();
        let depth = |(trace, _): &(&Trace, usize)| trace.gamma_max.map(Predictors::get);
        let most = traces.iter().filter_map(depth).min().unwrap_or(request.gamma_max);
        // One pass over the last token and all masks has no more of these than the model.
        let masks = run.header.model.shape.masks;
        let most = match way.drafting {
            Drafting::Simultaneous if masks > 0 => most.min(masks + 1),
            _ => most,
        };
        if traces.is_empty() {
            return Err(no_traces(choice));
        }
        let text = |(trace, stratum): (&'a Trace, usize)| Text {
            counts: acceptance(std::iter::once(trace), most),
            trace,
            stratum,
        };
        let counts = acceptance(traces.iter().map(|(trace, _)| *trace), most);
        let costs = CostByDrafts::of(run, request, &way, most)?;
        Ok(Self { texts: traces.into_iter().map(text).collect(), costs, counts })
    }

    /// The counts of all other texts.
    fn without(&self, text: &Text) -> AcceptanceCounts {
        let less = |all: &[u64], own: &[u64]| all.iter().zip(own).map(|(a, b)| a - b).collect();
        AcceptanceCounts {
            attempted: less(&self.counts.attempted, &text.counts.attempted),
            accepted: less(&self.counts.accepted, &text.counts.accepted),
        }
    }
}

fn no_traces(choice: &DraftPlan) -> Error {
    let what = format!("acceptance traces of {} in the run", choice.skip);
    Error::missing(what, "measure acceptance of its choice, or give a run that did")
}

fn rates(counts: &AcceptanceCounts) -> Vec<f64> {
    let pairs = counts.accepted.iter().zip(&counts.attempted);
    pairs
        .filter(|(_, tried)| **tried > 0)
        .map(|(right, tried)| *right as f64 / *tried as f64)
        .collect()
}

/// Texts to be summed up, with what their intervals need.
struct Rows<'a> {
    texts: &'a [TextReplay],
    strata: &'a [usize],
    request: &'a Request,
}

impl Rows<'_> {
    fn tasks(&self) -> Vec<String> {
        let mut tasks: Vec<String> = self.texts.iter().filter_map(|t| t.task.clone()).collect();
        tasks.sort_unstable();
        tasks.dedup();
        tasks
    }

    /// The texts that `meant` names together; nothing where there is none.
    fn row(&self, meant: impl Fn(&TextReplay) -> bool) -> Option<PolicyRow> {
        let own: Vec<usize> = (0..self.texts.len()).filter(|&i| meant(&self.texts[i])).collect();
        let sum = |time: &dyn Fn(&TextReplay) -> f64| {
            own.iter().map(|&i| time(&self.texts[i])).sum::<f64>()
        };
        let plain = sum(&|text| text.plain);
        let speedup = |time: &dyn Fn(&TextReplay) -> f64| plain / sum(time);
        (!own.is_empty()).then(|| PolicyRow {
            task: None,
            texts: own.len(),
            choice: speedup(&|text| text.choice),
            fixed: speedup(&|text| text.fixed),
            policy: self.ratio(&own, |text| text.plain),
            oracle: speedup(&|text| text.oracle),
            over_fixed: self.ratio(&own, |text| text.fixed),
        })
    }

    /// `time` over that of the policy, with its interval.
    fn ratio(&self, own: &[usize], time: impl Fn(&TextReplay) -> f64) -> Estimate {
        let strata: Vec<usize> = own.iter().map(|&i| self.strata[i]).collect();
        let above: Vec<f64> = own.iter().map(|&i| time(&self.texts[i])).collect();
        let below: Vec<f64> = own.iter().map(|&i| self.texts[i].policy).collect();
        ratio(&above, &below, &strata, self.request)
    }
}
