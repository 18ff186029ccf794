//! Walking a trace as decoding would: the exact number of iterations, and their time.
//!
//! `accepted[c - 1]` says what an iteration would have accepted if it started with `c` output
//! tokens committed. The walk starts at `c = 1` (the prompt pass commits the first token) and moves
//! on by `min(accepted, drafts) + 1` until the text is complete; positions that it jumps over count
//! for nothing, which is why averages over all positions over-predict.
//!
//! Of texts whose tokens were drawn, iterations and times are what to expect, given the text
//! ([`crate::traces::walk`]): drafts are not drawn.

use crate::cost::typed::TypedCosts;
use crate::error::{Error, Result};
use crate::traces::walk::{visit_text, walk_text};
use s3d_data::{Drafting, Predictors, Skip, Trace};
use serde::{Serialize, Serializer};

/// How many tokens an iteration drafts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum DraftLength {
    /// Always this many.
    Fixed(Predictors),
    /// Exactly as many as will be accepted: the bound on every policy.
    Oracle,
    /// At most `most`, ended by the first draft whose top probability lies below `threshold`. That
    /// draft is paid for but not verified; a simultaneous pass still feeds all `most`.
    Confident {
        /// Most drafts.
        most: Predictors,
        /// Probability below which drafting stops; 0 = never.
        threshold: f64,
    },
}

/// How a replay counts time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReplayOptions {
    /// How drafts are made.
    pub drafting: Drafting,
    /// How many.
    pub draft_length: DraftLength,
    /// Texts decoded at once; at least 1.
    pub batch: usize,
    /// Whether both times hold the prompt pass.
    pub include_prompt: bool,
}

/// One text, decoded both ways.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RequestReplay {
    /// Its name.
    pub id: String,
    /// Prompt tokens.
    pub prompt: usize,
    /// Output tokens.
    pub tokens: usize,
    /// Iterations after the prompt pass; of a drawn text, what to expect.
    #[serde(serialize_with = "whole")]
    pub iterations: f64,
    /// The prompt pass.
    pub prompt_seconds: f64,
    /// Plain decoding.
    pub plain_seconds: f64,
    /// Speculative decoding.
    pub speculative_seconds: f64,
    /// Plain over speculative; null where neither takes time.
    pub speedup: Option<f64>,
}

/// The three averages of speedup over texts; they differ where texts differ.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Speedups {
    /// All plain seconds over all speculative seconds: what a user waits. The default.
    pub ratio_of_totals: Option<f64>,
    /// Mean over texts of their speedup.
    pub mean_of_ratios: Option<f64>,
    /// Mean speculative tokens/s over mean plain tokens/s.
    pub ratio_of_mean_rates: Option<f64>,
}

/// All texts together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReplayTotal {
    /// Output tokens.
    pub tokens: usize,
    /// Iterations.
    #[serde(serialize_with = "whole")]
    pub iterations: f64,
    /// `(tokens - texts) / iterations`: the prompt pass commits one token of each text.
    pub tokens_per_iteration: Option<f64>,
    /// Plain decoding.
    pub plain_seconds: f64,
    /// Speculative decoding.
    pub speculative_seconds: f64,
    /// The three averages.
    pub speedup: Speedups,
}

/// Writes a count as a whole number where it is one.
fn whole<S: Serializer>(count: &f64, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    match count.fract() == 0.0 {
        true => serializer.serialize_u64(*count as u64),
        false => serializer.serialize_f64(*count),
    }
}

/// What a replay found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Replay {
    /// Each text.
    pub requests: Vec<RequestReplay>,
    /// All of them.
    pub total: ReplayTotal,
    /// Whether a time came from outside a cost table.
    #[serde(skip)]
    pub extrapolated: bool,
}

/// Replays `traces` of one window and drafting with `costs`.
///
/// # Errors
/// No traces, a trace that contradicts itself or the options, several windows or draftings, more
/// drafts than a trace knows of, a confidence policy without confidences, `batch` 0, costs that add
/// up to nothing.
pub fn replay(traces: &[Trace], costs: &TypedCosts, options: &ReplayOptions) -> Result<Replay> {
    check(traces, options)?;
    let texts: Result<Vec<_>> = traces.iter().map(|trace| one(trace, costs, options)).collect();
    let requests = texts?;
    let total = total(&requests, options.batch);
    let extrapolated =
        costs.has_table() && traces.iter().any(|trace| extrapolates(trace, costs, options));
    Ok(Replay { requests, total, extrapolated })
}

/// The drafting and skip that all `traces` share, as far as they say.
///
/// # Errors
/// Two draftings or two windows among them.
pub fn common_identity(traces: &[Trace]) -> Result<(Option<Drafting>, Option<Skip>)> {
    let mut drafting = None;
    let mut skip = None;
    for trace in traces {
        merge("drafting", &mut drafting, trace.drafting)?;
        merge("skip window", &mut skip, trace.skip())?;
    }
    Ok((drafting, skip))
}

fn merge<T: PartialEq + std::fmt::Display>(
    what: &str,
    known: &mut Option<T>,
    new: Option<T>,
) -> Result<()> {
    match (&known, new) {
        (Some(old), Some(new)) if *old != new => {
            Err(Error::domain(format!("{what} of the traces"), format!("{old} everywhere"), new))
        }
        (None, Some(new)) => {
            *known = Some(new);
            Ok(())
        }
        _ => Ok(()),
    }
}

fn check(traces: &[Trace], options: &ReplayOptions) -> Result<()> {
    if traces.is_empty() {
        return Err(Error::missing("traces", "give at least one line of accepted counts"));
    }
    if options.batch == 0 {
        return Err(Error::domain("batch", "at least 1", 0));
    }
    let mut drafting = Some(options.drafting);
    merge("drafting", &mut drafting, common_identity(traces)?.0)?;
    traces.iter().try_for_each(|trace| {
        trace.validate()?;
        check_length(trace, options.draft_length)
    })
}

fn check_length(trace: &Trace, length: DraftLength) -> Result<()> {
    let most = match length {
        DraftLength::Fixed(most) | DraftLength::Confident { most, .. } => most.get(),
        DraftLength::Oracle => 0,
    };
    if let Some(known) = trace.gamma_max
        && most > known.get()
    {
        let expected = format!("at most the gamma_max = {known} of trace '{}'", trace.id);
        return Err(Error::domain("predictors", expected, most));
    }
    if matches!(length, DraftLength::Confident { .. }) && trace.confidence.is_none() {
        let advice = "measure acceptance with confidences, or use a fixed number of predictors";
        return Err(Error::missing(format!("confidences in trace '{}'", trace.id), advice));
    }
    Ok(())
}

fn one(trace: &Trace, costs: &TypedCosts, options: &ReplayOptions) -> Result<RequestReplay> {
    let prompt_seconds = costs.prompt_seconds(trace.prompt, options.batch);
    let before = if options.include_prompt { prompt_seconds } else { 0.0 };
    let (iterations, seconds) = speculative(trace, costs, options);
    let (plain, speculative) = (before + plain(trace, costs, options.batch), before + seconds);
    if trace.tokens() > 1 && !(plain > 0.0 && speculative > 0.0) {
        return Err(Error::domain("costs", "passes that take time", "a sum of 0 seconds"));
    }
    Ok(RequestReplay {
        id: trace.id.clone(),
        prompt: trace.prompt,
        tokens: trace.tokens(),
        iterations,
        prompt_seconds,
        plain_seconds: plain,
        speculative_seconds: speculative,
        speedup: (speculative > 0.0).then(|| plain / speculative),
    })
}

/// Plain steps after the prompt pass.
fn plain(trace: &Trace, costs: &TypedCosts, batch: usize) -> f64 {
    let steps = trace.tokens() - 1;
    match costs.step_slope(batch) {
        // Affine in the context: a step at 0 for each, and the slope times the sum of contexts.
        Some(slope) => {
            let contexts = steps * trace.prompt + steps * (steps + 1) / 2;
            steps as f64 * costs.plain_step_seconds(0, batch) + slope * contexts as f64
        }
        None => (1..=steps).map(|c| costs.plain_step_seconds(trace.prompt + c, batch)).sum(),
    }
}

/// Iterations after the prompt pass, and their seconds.
fn speculative(trace: &Trace, costs: &TypedCosts, options: &ReplayOptions) -> (f64, f64) {
    let (drafting, batch) = (options.drafting, options.batch);
    if let DraftLength::Fixed(drafts) = options.draft_length
        && let Some(slope) = costs.iteration_slope(drafting, drafts.get(), batch)
    {
        let walk = walk_text(trace, trace.tokens(), drafts.get());
        let contexts = walk.iterations * trace.prompt as f64 + walk.positions;
        let fixed = costs.iteration_seconds(drafting, drafts.get(), 0, batch);
        return (walk.iterations, walk.iterations * fixed + slope * contexts);
    }
    stepwise(trace, costs, options)
}

/// The reference of [`speculative`]: every iteration's time, one by one.
fn stepwise(trace: &Trace, costs: &TypedCosts, options: &ReplayOptions) -> (f64, f64) {
    let (mut iterations, mut seconds) = (0.0, 0.0);
    visit_text(trace, |committed, accepted, probability| {
        let context = trace.prompt + committed;
        let (drafted, verified) = drafts(trace, committed, accepted, options);
        iterations += probability;
        let one = costs.draft_seconds(options.drafting, drafted, context, options.batch)
            + costs.full.seconds(options.batch * (verified + 1), options.batch * context)
            + costs.step;
        seconds += probability * one;
        verified
    });
    (iterations, seconds)
}

/// Drafts paid for and drafts verified by the iteration at `committed`.
fn drafts(
    trace: &Trace,
    committed: usize,
    accepted: u32,
    options: &ReplayOptions,
) -> (usize, usize) {
    match options.draft_length {
        DraftLength::Fixed(drafts) => (drafts.get(), drafts.get()),
        DraftLength::Oracle => (accepted as usize, accepted as usize),
        DraftLength::Confident { most, threshold } => {
            let sure = sure(trace, committed, most.get(), threshold);
            match options.drafting {
                Drafting::Simultaneous => (most.get(), sure),
                Drafting::Sequential => ((sure + 1).min(most.get()), sure),
            }
        }
    }
}

/// Of `most` drafts at `committed`, those before the first whose confidence lies below `threshold`.
/// The confidences of sequential drafts are those after the reference text: where an earlier draft
/// is wrong, drafting itself may go on for longer or shorter, but what it then drafts is not
/// accepted either way.
pub(crate) fn sure(trace: &Trace, committed: usize, most: usize, threshold: f64) -> usize {
    let row = trace.confidence.as_ref().and_then(|rows| rows.get(committed - 1));
    let sure = |p: &&f32| f64::from(**p) >= threshold;
    row.map_or(0, |row| row.iter().take(most).take_while(sure).count())
}

fn extrapolates(trace: &Trace, costs: &TypedCosts, options: &ReplayOptions) -> bool {
    let batch = options.batch;
    let mut outside = options.include_prompt && costs.full.extrapolates(batch * trace.prompt, 0);
    let last = trace.prompt + trace.tokens() - 1;
    outside |= trace.tokens() > 1
        && [trace.prompt + 1, last].iter().any(|c| costs.full.extrapolates(batch, batch * c));
    visit_text(trace, |committed, accepted, _| {
        let (drafted, verified) = drafts(trace, committed, accepted, options);
        let context = trace.prompt + committed;
        outside |= costs.extrapolates(options.drafting, drafted, context, batch);
        verified
    });
    outside
}

fn total(requests: &[RequestReplay], batch: usize) -> ReplayTotal {
    let sum = |f: fn(&RequestReplay) -> f64| requests.iter().map(f).sum::<f64>();
    let (plain, speculative) = (sum(|r| r.plain_seconds), sum(|r| r.speculative_seconds));
    let tokens: usize = requests.iter().map(|r| r.tokens).sum();
    let iterations = sum(|r| r.iterations);
    let timed: Vec<_> = requests.iter().filter(|r| r.speedup.is_some()).collect();
    let mean = |f: &dyn Fn(&RequestReplay) -> f64| {
        timed.iter().map(|r| f(r)).sum::<f64>() / timed.len() as f64
    };
    let rate = |seconds: f64, r: &RequestReplay| (batch * r.tokens) as f64 / seconds;
    let known = !timed.is_empty();
    ReplayTotal {
        tokens,
        iterations,
        tokens_per_iteration: (iterations > 0.0)
            .then(|| (tokens - requests.len()) as f64 / iterations),
        plain_seconds: plain,
        speculative_seconds: speculative,
        speedup: Speedups {
            ratio_of_totals: known.then(|| plain / speculative),
            mean_of_ratios: known.then(|| mean(&|r| r.plain_seconds / r.speculative_seconds)),
            ratio_of_mean_rates: known.then(|| {
                mean(&|r| rate(r.speculative_seconds, r)) / mean(&|r| rate(r.plain_seconds, r))
            }),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::law::{Affine, PassLaw};
    use crate::cost::typed::DraftCost;
    use crate::traces::walk::TextCounts;
    use proptest::prelude::*;

    fn trace(prompt: usize, accepted: &[u32]) -> Trace {
        let line = format!(r#"{{"id":"r1","prompt":{prompt},"accepted":{accepted:?}}}"#);
        serde_json::from_str(&line).unwrap()
    }

    fn affine(a: f64, b: f64, c: f64) -> PassLaw {
        PassLaw::Affine(Affine::new(a, b, c).unwrap())
    }

    fn worked(charge_when_empty: bool) -> TypedCosts {
        let draft =
            DraftCost::Law { law: affine(2.0, 0.5, 0.01), extra_tokens: 1, charge_when_empty };
        TypedCosts { full: affine(10.0, 1.0, 0.1), draft, step: 1.0 }
    }

    fn options(draft_length: DraftLength) -> ReplayOptions {
        let drafting = Drafting::Simultaneous;
        ReplayOptions { drafting, draft_length, batch: 1, include_prompt: true }
    }

    fn fixed(drafts: usize) -> DraftLength {
        DraftLength::Fixed(Predictors::new(drafts).unwrap())
    }

    #[test]
    fn the_worked_case() {
        // source: by hand. Prompt 13 + 1; plain steps 11.4 + 11.5 + 11.6 + 11.7 + 4 * 1.
        // Iterations at n = 4 and n = 7: drafts 3.54 + 3.57, verify 13.4 + 13.7, steps 2.
        let traces = [trace(3, &[2, 0, 1, 0, 0])];
        let result = replay(&traces, &worked(true), &options(fixed(2))).unwrap();
        assert!((result.total.plain_seconds - 64.2).abs() < 1e-12);
        assert!((result.total.speculative_seconds - 50.21).abs() < 1e-12);
        assert_eq!((result.total.iterations, result.total.tokens_per_iteration), (2.0, Some(2.0)));
        let json = serde_json::to_value(&result.total).unwrap();
        assert_eq!(json["iterations"], serde_json::json!(2), "a whole number stays one");
        for (charge, seconds) in [(true, 47.21), (false, 44.64)] {
            let result = replay(&traces, &worked(charge), &options(DraftLength::Oracle)).unwrap();
            assert!((result.total.speculative_seconds - seconds).abs() < 1e-12);
        }
    }

    #[test]
    fn what_to_expect_of_a_drawn_text_by_hand() {
        // source: by hand, with the costs of the worked case. From 1 token of 3 on: with 1/4 both
        // drafts are accepted, with 1/2 the first (both end the text), with 1/2 * 1/2 none, and a
        // second iteration follows. Oracle drafts 2, 1, 0 at n = 4; then 1 or 0 at n = 5.
        let mut text = trace(3, &[2, 1, 0]);
        text.accept_probability = Some(vec![vec![0.5, 0.5], vec![0.25], vec![]]);
        let found = |length| replay(&[text.clone()], &worked(false), &options(length)).unwrap();
        let fixed_two = found(fixed(2)).total;
        assert_eq!((fixed_two.iterations, fixed_two.tokens_per_iteration), (1.5, Some(2.0 / 1.5)));
        let iteration = |n: f64, drafts: f64| {
            let draft = if drafts > 0.0 { 2.0 + 0.5 * (drafts + 1.0) + 0.01 * n } else { 0.0 };
            draft + 10.0 + (drafts + 1.0) + 0.1 * n + 1.0
        };
        let expected = 14.0 + iteration(4.0, 2.0) + 0.5 * iteration(5.0, 2.0);
        assert!((fixed_two.speculative_seconds - expected).abs() < 1e-12);
        let oracle = found(DraftLength::Oracle).total;
        let first =
            0.25 * iteration(4.0, 2.0) + 0.25 * iteration(4.0, 1.0) + 0.5 * iteration(4.0, 0.0);
        let second = 0.25 * iteration(5.0, 1.0) + 0.75 * iteration(5.0, 0.0);
        assert!((oracle.speculative_seconds - (14.0 + first + 0.5 * second)).abs() < 1e-12);
        let json = serde_json::to_value(&fixed_two).unwrap();
        assert_eq!(json["iterations"], serde_json::json!(1.5));
    }

    #[test]
    fn three_averages_and_their_nulls() {
        // source: by hand. Times in passes of 1: plain 3 and 1 steps; speculative 1 and 1
        // iterations of 1 + 1 without the prompt: speedups 3/2 and 1/2.
        let traces = [trace(1, &[2, 0, 0, 0]), trace(1, &[0, 0]), trace(1, &[0])];
        let exclude = ReplayOptions { include_prompt: false, ..options(fixed(2)) };
        let result = replay(&traces, &TypedCosts::ideal(1.0), &exclude).unwrap();
        assert_eq!(result.requests[2].speedup, None);
        let speedup = result.total.speedup;
        assert_eq!(speedup.ratio_of_totals, Some(1.0));
        assert_eq!(speedup.mean_of_ratios, Some(1.0));
        // mean(4/2, 2/2) / mean(4/3, 2/1)
        assert!((speedup.ratio_of_mean_rates.unwrap() - 1.5 / (5.0 / 3.0)).abs() < 1e-15);
        let only = replay(&traces[2..], &TypedCosts::ideal(1.0), &exclude).unwrap().total;
        assert_eq!((only.tokens_per_iteration, only.speedup.ratio_of_totals), (None, None));
    }

    #[test]
    fn a_batch_feeds_more_and_pays_the_step_once() {
        // source: by hand, batch 2: prompt 10 + 6 + 1; steps 10 + 2 + 0.1 * 2 n + 1 at n = 4..7
        let traces = [trace(3, &[2, 0, 1, 0, 0])];
        let two = ReplayOptions { batch: 2, ..options(fixed(2)) };
        let result = replay(&traces, &worked(true), &two).unwrap();
        assert!((result.total.plain_seconds - (17.0 + 4.0 * 13.0 + 0.2 * 22.0)).abs() < 1e-12);
        // iterations: draft 2 + 0.5 * 2 * 3 + 0.02 n, verify 10 + 2 * 3 + 0.2 n, step 1
        let expected = 17.0 + 2.0 * (5.0 + 16.0 + 1.0) + 0.22 * 11.0;
        assert!((result.total.speculative_seconds - expected).abs() < 1e-12);
    }

    #[test]
    fn low_confidence_ends_a_draft() {
        let mut one = trace(1, &[2, 0, 0, 0]);
        one.confidence = Some(vec![vec![0.9, 0.4, 0.9]; 4]);
        let threshold = 0.5;
        let length = DraftLength::Confident { most: Predictors::new(3).unwrap(), threshold };
        let sequential = ReplayOptions { drafting: Drafting::Sequential, ..options(length) };
        let result = replay(&[one.clone()], &TypedCosts::ideal(0.5), &sequential).unwrap();
        // One draft is kept and two are paid for; c = 1 -> 3 -> 4.
        assert_eq!(result.total.iterations, 2.0);
        assert_eq!(result.total.speculative_seconds, 1.0 + 2.0 * (2.0 * 0.5 + 1.0));
        one.confidence = None;
        assert!(replay(&[one], &TypedCosts::ideal(0.5), &sequential).is_err());
    }

    #[test]
    fn nonsense_is_refused() {
        let costs = worked(true);
        assert!(replay(&[], &costs, &options(fixed(2))).is_err());
        let mut short = trace(3, &[1, 0]);
        short.gamma_max = Predictors::new(1).ok();
        let message = replay(&[short.clone()], &costs, &options(fixed(2))).unwrap_err().to_string();
        assert!(message.contains("gamma_max = 1") && message.ends_with("found 2"), "{message}");
        let (mut left, mut right) = (trace(3, &[1, 0]), trace(3, &[1, 0]));
        left.drafting = Some(Drafting::Sequential);
        assert!(replay(&[left.clone()], &costs, &options(fixed(1))).is_err());
        (left.drafting, right.drafting) = (None, None);
        (left.skip_start, left.skip_end) = (Some(1), Some(2));
        (right.skip_start, right.skip_end) = (Some(1), Some(3));
        assert!(replay(&[left, right], &costs, &options(fixed(1))).is_err());
        let free = TypedCosts { full: affine(0.0, 0.0, 0.0), step: 0.0, ..worked(true) };
        assert!(replay(&[trace(3, &[1, 0])], &free, &options(fixed(1))).is_err());
        let none = ReplayOptions { batch: 0, ..options(fixed(1)) };
        assert!(replay(&[trace(3, &[1, 0])], &costs, &none).is_err());
    }

    proptest! {
        #[test]
        fn the_fast_walk_equals_the_stepwise_one(
            accepted in prop::collection::vec(0u32..6, 1..80), drafts in 1usize..6, prompt in 0usize..40,
            batch in 1usize..4, seq: bool, drawn: bool,
        ) {
            let drafting = Drafting::ALL[usize::from(seq)];
            let options = ReplayOptions { drafting, batch, ..options(fixed(drafts)) };
            let mut costs = worked(false);
            if seq {
                costs.draft = DraftCost::ShareOfFull(0.3);
            }
            let mut trace = trace(prompt, &accepted);
            let row = |&accepted: &u32| vec![accepted as f32 / 6.0, 0.75, 1.0, 0.5, 0.25];
            trace.accept_probability = drawn.then(|| accepted.iter().map(row).collect());
            let (fast, slow) = (speculative(&trace, &costs, &options), stepwise(&trace, &costs, &options));
            prop_assert!((fast.0 - slow.0).abs() <= 1e-12 * slow.0);
            prop_assert!((fast.1 - slow.1).abs() <= 1e-12 * slow.1);
            let steps: f64 = (1..accepted.len()).map(|c| costs.plain_step_seconds(prompt + c, batch)).sum();
            prop_assert!((plain(&trace, &costs, batch) - steps).abs() <= 1e-12 * steps);
            let counts = TextCounts::of(&trace, drafts);
            prop_assert!((counts.attempted[0] - fast.0).abs() <= 1e-12 * fast.0);
        }
    }
}
