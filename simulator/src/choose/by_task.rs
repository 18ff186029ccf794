//! The choice by task: is one plan for all texts good enough for each class of them?
//!
//! Costs are common to all classes: an iteration costs the same whatever is written. What differs
//! is tokens per iteration, and those come from walking the traces of the class's texts.
//!
//! The best of many plans on few texts looks better than it is. So each text is judged under the
//! plan that is best on the *other* texts of its class (leave-one-out cross-fitting). Against that
//! the choice is compared, text by text. Another plan than the choice is named for a class only
//! where the choice loses to it with 95 % confidence; its speedup is the cross-fitted one.

use crate::choose::baseline::WORTH;
use crate::predict::evaluated::Evaluated;
use crate::predict::reported::ENOUGH_TEXTS;
use crate::predict::request::Request;
use crate::statistics::{Z95, student};
use crate::traces::walk::walk_text;
use rayon::prelude::*;
use s3d_data::{Answer, Basis, Estimate, TaskResult, Trace};

/// What there is to say of each task with enough texts; nothing where fewer than two have them.
pub(super) fn by_task(all: &Evaluated, choice: usize, request: &Request) -> Vec<TaskResult> {
    let tasks = all.walked.table.task_names();
    let judge = |task: &&str| Class::of(all, choice, task)?.judged(all, request);
    let results: Vec<TaskResult> = tasks.iter().filter_map(judge).collect();
    if results.len() < 2 { Vec::new() } else { results }
}

/// The texts of one task under every plan that was traced on all of them.
struct Class<'a> {
    task: &'a str,
    /// Tokens after the first, by text.
    tokens: Vec<f64>,
    /// The plans, the choice first.
    plans: Vec<Candidate>,
}

/// A plan on the texts of a class.
struct Candidate {
    /// Its row among the evaluated plans.
    index: usize,
    /// Iterations, by text.
    iterations: Vec<f64>,
    /// Plain steps per iteration, to choose by.
    cost: f64,
}

/// Plain steps per iteration: the value, and in each draw.
struct Cost {
    value: f64,
    draws: Vec<f64>,
}

/// Plain steps that each text takes under its plan: its iterations, and what one costs.
struct Spent(Vec<(f64, Cost)>);

impl<'a> Class<'a> {
    /// Nothing where fewer than four texts of `task` were traced under the choice.
    fn of(all: &Evaluated<'a>, choice: usize, task: &'a str) -> Option<Self> {
        let table = &all.walked.table;
        let row = |index: usize| table.ways.get(&all.predictions[index].plan.draft());
        let own = row(choice)?;
        let meant = |place: &usize| {
            table.tasks[*place] == Some(task) && own[*place].is_some_and(|text| text.tokens() > 1)
        };
        let texts: Vec<usize> = (0..own.len()).filter(meant).collect();
        if texts.len() < ENOUGH_TEXTS {
            return None;
        }
        let tokens = texts.iter().filter_map(|&place| own[place]).map(|t| t.tokens() as f64 - 1.0);
        let tokens = tokens.collect();
        let candidate = |index: usize| {
            let traces: Option<Vec<&Trace>> =
                row(index).and_then(|row| texts.iter().map(|&place| row[place]).collect());
            Candidate::new(all, index, &traces?)
        };
        let others = (0..all.predictions.len()).into_par_iter();
        let others = others.filter(|&index| index != choice && all.fits[index]);
        let mut plans = vec![candidate(choice)?];
        plans.par_extend(others.filter_map(candidate));
        Some(Self { task, tokens, plans })
    }

    /// The plan that takes least time on all texts but `left_out`; the choice where none is faster.
    fn best(&self, left_out: Option<usize>) -> &Candidate {
        let time = |plan: &Candidate| {
            let own = left_out.map_or(0.0, |text| plan.iterations[text]);
            (plan.iterations.iter().sum::<f64>() - own) * plan.cost
        };
        // Of equal plans `min_by` takes the first: the choice.
        let best = self.plans.iter().min_by(|a, b| time(a).total_cmp(&time(b)));
        best.unwrap_or(&self.plans[0])
    }

    fn judged(&self, all: &Evaluated, request: &Request) -> Option<TaskResult> {
        let choice = &self.plans[0];
        let folds: Vec<&Candidate> =
            (0..self.tokens.len()).map(|text| self.best(Some(text))).collect();
        // Measured costs are compared with measured ones only, predicted with predicted.
        let alike = |text: usize| folds[text].measured(all) && choice.measured(all);
        let fold = |text: usize| folds[text].spent(all, text, folds[text].measured(all));
        let same = |text: usize| choice.spent(all, text, choice.measured(all));
        let best = self.spent(fold)?;
        let chosen = self.spent(same)?;
        let best_alike = self.spent(|text| folds[text].spent(all, text, alike(text)))?;
        let chosen_alike = self.spent(|text| choice.spent(all, text, alike(text)))?;

        let tokens = Spent::exact(&self.tokens, request.draws);
        let speedup_of_choice = tokens.over(&chosen);
        let speedup_of_best = tokens.over(&best);
        let kept = best_alike.over(&chosen_alike);
        let loss_of_choice =
            Estimate { value: 1.0 - kept.value, low: end(kept.high), high: end(kept.low) };
        let changes = loss_of_choice.is_above(0.0);
        let (named, speedup) = match changes {
            true => (self.best(None), speedup_of_best),
            false => (choice, speedup_of_choice),
        };
        let iterations = Spent::exact(&named.iterations, request.draws);
        Some(TaskResult {
            task: self.task.into(),
            texts: self.tokens.len(),
            plan: all.plan(named.index),
            verdict: verdict(speedup, speedup_of_best),
            speedup,
            tokens_per_iteration: tokens.over(&iterations),
            speedup_of_choice,
            loss_of_choice,
            basis: if named.measured(all) { Basis::Measured } else { Basis::Predicted },
        })
    }

    fn spent(&self, of: impl Fn(usize) -> Option<(f64, Cost)>) -> Option<Spent> {
        (0..self.tokens.len()).map(of).collect::<Option<_>>().map(Spent)
    }
}

/// The end of an interval of `1 - ratio`.
fn end(ratio: Option<f64>) -> Option<f64> {
    ratio.map(|ratio| 1.0 - ratio)
}

/// By the rule of the verdict on all texts: nothing gains where neither the named plan nor the best
/// one does.
fn verdict(named: Estimate, best: Estimate) -> Answer {
    let most = named.ends().1.max(best.ends().1);
    match named.is_above(1.0) {
        true => Answer::Speculate,
        false if named.interval().is_some() && most <= WORTH => Answer::DoNot,
        false => Answer::CannotTellYet,
    }
}

impl Candidate {
    fn new(all: &Evaluated, index: usize, traces: &[&Trace]) -> Option<Self> {
        let prediction = &all.predictions[index];
        let cost = prediction.tokens_per_iteration.value / all.scores[index];
        let drafts = prediction.plan.predictors.get();
        let iterations =
            traces.iter().map(|text| walk_text(text, text.tokens(), drafts).iterations);
        let usable = cost.is_finite() && cost > 0.0;
        usable.then(|| Self { index, iterations: iterations.collect(), cost })
    }

    /// Whether the cost of an iteration was measured end to end.
    fn measured(&self, all: &Evaluated) -> bool {
        all.reported[self.index].is_some()
    }

    /// What `text` takes by measured costs, or by predicted ones.
    fn spent(&self, all: &Evaluated, text: usize, measured: bool) -> Option<(f64, Cost)> {
        Some((self.iterations[text], Cost::of(all, self.index, measured)?))
    }
}

impl Cost {
    /// Tokens per iteration over all texts, over the speedup there: the one cost that every number
    /// of the plan rests on, with its doubt.
    fn of(all: &Evaluated, index: usize, measured: bool) -> Option<Self> {
        let prediction = &all.predictions[index];
        let tokens = all.walked.texts.of(&prediction.plan)?;
        let reported = all.reported[index].as_ref().filter(|_| measured);
        let (speedup, draws) = match reported {
            Some(reported) => (reported.speedup.value, &reported.draws),
            None => (prediction.speedup.value, &prediction.draws),
        };
        let draws = tokens.draws.iter().zip(draws).map(|(tokens, speedup)| tokens / speedup);
        Some(Self { value: tokens.value / speedup, draws: draws.collect() })
    }
}

impl Spent {
    /// Counts that cost nothing in doubt.
    fn exact(counts: &[f64], draws: usize) -> Self {
        let one = |&count: &f64| (count, Cost { value: 1.0, draws: vec![1.0; draws] });
        Self(counts.iter().map(one).collect())
    }

    fn total(&self) -> f64 {
        self.0.iter().map(|(count, cost)| count * cost.value).sum()
    }

    /// The total at the costs of draw `draw`.
    fn drawn(&self, draw: usize) -> f64 {
        let one = |(count, cost): &(f64, Cost)| count * cost.draws.get(draw).unwrap_or(&f64::NAN);
        self.0.iter().map(one).sum()
    }

    /// The ratio of two totals over the same texts, with its interval.
    ///
    /// Texts are the clusters, and may be four: a bootstrap of four never leaves their range, which
    /// holds the truth in 7 of 8 cases only. So the interval is that of the jackknife on the
    /// logarithm (Efron and Tibshirani, An Introduction to the Bootstrap, ch. 11), with Student's
    /// quantile (a degree of freedom goes to the mean, one to the choice of the plan); the doubt
    /// about costs comes on top, in quadrature.
    fn over(&self, other: &Self) -> Estimate {
        let (own, others) = (self.total(), other.total());
        let (value, texts) = (own / others, self.0.len() as f64);
        let without = |((a, ca), (b, cb)): (&(f64, Cost), &(f64, Cost))| {
            ((own - a * ca.value) / (others - b * cb.value)).ln()
        };
        let folds: Vec<f64> = self.0.iter().zip(&other.0).map(without).collect();
        let mean = folds.iter().sum::<f64>() / texts;
        let squares: f64 = folds.iter().map(|fold| (fold - mean).powi(2)).sum();
        let of_texts = (squares * (texts - 1.0) / texts).sqrt();
        let draws = self.0.first().map_or(0, |(_, cost)| cost.draws.len());
        let logs = (0..draws).map(|draw| (self.drawn(draw) / other.drawn(draw) / value).ln());
        let logs: Vec<f64> = logs.filter(|log| log.is_finite()).collect();
        let of_costs = (logs.iter().map(|log| log * log).sum::<f64>() / logs.len() as f64).sqrt();
        let degrees = self.0.len().saturating_sub(2);
        let half = (student(degrees) * of_texts).hypot(Z95 * of_costs);
        match half.is_finite() {
            true => Estimate::new(value, value * (-half).exp(), value * half.exp()),
            false => Estimate::alone(value),
        }
    }
}
