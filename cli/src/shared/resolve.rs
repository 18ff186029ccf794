//! What the command line means: plans, devices and limits, checked, with the flag in every error.

use crate::args::{BudgetArgs, ModelArgs, SamplingArgs};
use crate::shared::usage::{or_usage, usage};
use s3d_data::run::drawn;
use s3d_data::{
    Drafting, Drawn, LayerSet, Limit, Plan, Predictors, RunHeader, SkipWindow, file, limits, shown,
};
use s3d_model::Sampling;
use std::path::Path;

/// The largest context that a run may ask for; far above any model's.
const CONTEXT_MAX: usize = limits::TOKENS;

/// The plans of `--plans`: a list, `all` (symmetric windows x predictors, both draftings), or
/// `@FILE` with a plan a line.
///
/// # Errors
/// A plan that does not read, or does not fit a model of `layers` layers.
pub fn plans(text: &str, layers: usize, gamma_max: usize) -> anyhow::Result<Vec<Plan>> {
    let plans = match text.strip_prefix('@') {
        Some(file) => list(&plan_file(Path::new(file))?),
        None if text == "all" => all_plans(layers, gamma_max),
        None => list(text),
    }?;
    for plan in &plans {
        fits(plan, layers)?;
    }
    if plans.is_empty() {
        let text = shown(text);
        return Err(usage(format!("--plans {text}: expected at least one plan, found none")));
    }
    Ok(plans)
}

fn plan_file(path: &Path) -> anyhow::Result<String> {
    let bytes = file::read(path, Limit::TYPED)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    Ok(lines.join(","))
}

fn list(text: &str) -> anyhow::Result<Vec<Plan>> {
    text.split(',').map(|text| plan("--plans", text.trim())).collect()
}

/// The plan that a flag names. Only here `set=FILE:3` reads FILE: in records the set is written
/// out.
///
/// # Errors
/// Another form, or a file that holds no such set.
pub fn plan(flag: &str, text: &str) -> anyhow::Result<Plan> {
    or_usage(flag, Plan::with_sets(text, LayerSet::load))
}

fn all_plans(layers: usize, gamma_max: usize) -> anyhow::Result<Vec<Plan>> {
    let mut plans = vec![Plan::Plain];
    for drafting in Drafting::ALL {
        for window in SkipWindow::all_symmetric(layers) {
            for predictors in 1..=gamma_max {
                plans.push(Plan::window(drafting, window, Predictors::new(predictors)?));
            }
        }
    }
    Ok(plans)
}

/// Whether a plan can run on a model of `layers` layers.
///
/// # Errors
/// Layers beyond the last, or none that are left.
pub fn fits(plan: &Plan, layers: usize) -> anyhow::Result<()> {
    match plan.draft().map(|draft| draft.skip.check(layers)) {
        Some(Err(e)) => Err(usage(format!("plan {plan}: {e}"))),
        _ => Ok(()),
    }
}

/// Most threads, whatever is asked for.
const THREADS_MAX: usize = 1024;

/// Number of threads: the flag's, or all cores. Threads that share a core wait for each other at
/// every layer.
///
/// # Errors
/// Zero, or more than there are cores without `oversubscribe`.
pub fn threads(flag: Option<usize>, oversubscribe: bool) -> anyhow::Result<usize> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let most = if oversubscribe { THREADS_MAX } else { cores };
    match flag {
        Some(n) if (1..=most).contains(&n) => Ok(n),
        Some(n) if n > cores && !oversubscribe => Err(usage(format!(
            "--threads: expected 1 to the {cores} cores that this program may use, found {n}; \
             --oversubscribe allows more"
        ))),
        Some(n) => Err(usage(format!("--threads: expected 1 to {most}, found {n}"))),
        None => Ok(cores),
    }
}

/// The widening factor: the flag's, or 2 for a shipped model (so that its weights exceed the
/// caches) and 1 for any other.
///
/// # Errors
/// Anything but 1, 2 or 4.
pub fn widen(args: &ModelArgs, shipped: bool) -> anyhow::Result<usize> {
    match args.widen {
        Some(n @ (1 | 2 | 4)) => Ok(n),
        Some(n) => Err(usage(format!("--widen: expected 1, 2 or 4, found {n}"))),
        None => Ok(if shipped { 2 } else { 1 }),
    }
}

/// Points that stand for a range of contexts.
const RANGE_POINTS: usize = 8;

/// Contexts in tokens with their weights: `512`, `256..4096` (decoding from one to the other passes
/// every context once: the middles of equal parts), or `256:3,1024:1`.
///
/// # Errors
/// Another form, or a context that is out of bounds.
pub fn contexts(text: &str) -> anyhow::Result<Vec<(usize, f64)>> {
    let bad = || {
        usage(format!(
            "--context {}: expected tokens (512), a range (256..4096) or tokens with weights \
             (256:3,1024:1), each context 1 to {CONTEXT_MAX} and each weight above 0",
            shown(text)
        ))
    };
    let context = |text: &str| {
        let tokens: Option<usize> = text.trim().parse().ok();
        tokens.filter(|tokens| (1..=CONTEXT_MAX).contains(tokens)).ok_or_else(bad)
    };
    if let Some((from, to)) = text.split_once("..") {
        let (from, to) = (context(from)?, context(to)?);
        if from >= to {
            return Err(bad());
        }
        let at = |i: usize| from + (to - from) * (2 * i + 1) / (2 * RANGE_POINTS);
        return Ok((0..RANGE_POINTS).map(|i| (at(i), 1.0)).collect());
    }
    let one = |part: &str| match part.split_once(':') {
        Some((tokens, weight)) => {
            let weight: Option<f64> = weight.trim().parse().ok();
            let weight = weight.filter(|w| w.is_finite() && *w > 0.0).ok_or_else(bad)?;
            Ok((context(tokens)?, weight))
        }
        None => Ok((context(part)?, 1.0)),
    };
    text.split(',').map(one).collect()
}

/// Refuses a context that the measured model cannot decode.
///
/// # Errors
/// With its limit.
pub fn positions(header: &RunHeader, longest: usize) -> anyhow::Result<()> {
    match header.model.positions {
        Some(positions) if longest > positions => Err(usage(format!(
            "--context {longest}: the measured model decodes texts of up to {positions} tokens"
        ))),
        _ => Ok(()),
    }
}

/// Checks a context that nothing else bounds.
///
/// # Errors
/// None, or more than any model's.
pub fn context(tokens: usize) -> anyhow::Result<()> {
    match (1..=CONTEXT_MAX).contains(&tokens) {
        true => Ok(()),
        false => {
            Err(usage(format!("--context: expected 1 to {CONTEXT_MAX} tokens, found {tokens}")))
        }
    }
}

/// How tokens are drawn; greedily where no temperature is given.
///
/// # Errors
/// A value outside its range, or a choice of tokens to draw from where none is drawn.
pub fn sampling(args: &SamplingArgs) -> anyhow::Result<Sampling> {
    let temperature = args.temperature.unwrap_or(0.0);
    let mut sampling = or_usage("--temperature", Sampling::new(temperature, args.seed))?;
    if let Some(tokens) = args.top_k {
        sampling = or_usage("--top-k", sampling.top_k(tokens))?;
    }
    if let Some(share) = args.top_p {
        sampling = or_usage("--top-p", sampling.top_p(share))?;
    }
    for (flag, given) in [("--top-k", args.top_k.is_some()), ("--top-p", args.top_p.is_some())] {
        if given && args.temperature == Some(0.0) {
            return Err(usage(format!(
                "{flag}: expected a --temperature above 0: at 0 nothing is drawn"
            )));
        }
        if given && args.temperature.is_none() {
            return Err(usage(format!(
                "{flag}: expected --temperature beside it, found none: then nothing is drawn; try \
                 --temperature 1"
            )));
        }
    }
    Ok(sampling)
}

/// How the tokens of a run's texts are drawn; none: greedily.
///
/// # Errors
/// A value outside its range, or a share of the tokens to draw from where none is drawn.
pub fn drawn(temperature: Option<f64>, top_p: Option<f64>) -> anyhow::Result<Option<Drawn>> {
    let value = or_usage("--temperature", drawn::temperature(temperature.unwrap_or(0.0)))?;
    let drawn = Drawn { temperature: value, top_p };
    match (value > 0.0, top_p, temperature) {
        (true, _, _) => or_usage("--top-p", drawn.check()).map(|()| Some(drawn)),
        (false, None, _) => Ok(None),
        (false, Some(_), Some(_)) => {
            Err(usage("--top-p: expected a --temperature above 0: at 0 nothing is drawn"))
        }
        (false, Some(_), None) => Err(usage(
            "--top-p: expected --temperature beside it, found none: then nothing is drawn; try \
             --temperature 1",
        )),
    }
}

/// The words of the command line, for the record; what is no UTF-8 is replaced.
pub fn command_line() -> Vec<String> {
    std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect()
}

/// Checks the flags that bound a run.
///
/// # Errors
/// A value outside its range; the flag is named.
pub fn budget(args: &BudgetArgs) -> anyhow::Result<()> {
    if !(1.0..=86_400.0).contains(&args.time_budget.0) {
        return Err(usage(format!(
            "--time-budget: expected 1s to 24h, found {}",
            args.time_budget
        )));
    }
    if !(1..=16).contains(&args.gamma_max) {
        return Err(usage(format!("--gamma-max: expected 1 to 16, found {}", args.gamma_max)));
    }
    if args.prompt_count == Some(0) {
        return Err(usage("--prompt-count: expected at least 1, found 0"));
    }
    let drawn = drawn(args.temperature, args.top_p)?;
    if drawn.is_some() && !args.impose.is_empty() {
        return Err(usage(
            "--temperature: expected no --impose beside it: acceptance is imposed on greedy texts",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_means_symmetric_windows_times_predictors_both_draftings() {
        let plans = plans("all", 12, 8).unwrap();
        assert_eq!(plans.len(), 1 + 2 * 12 * 8);
    }

    #[test]
    fn contexts_are_one_a_range_or_weighted() {
        assert_eq!(contexts("512").unwrap(), [(512, 1.0)]);
        assert_eq!(contexts("256:3, 1024:0.5").unwrap(), [(256, 3.0), (1024, 0.5)]);
        let range = contexts("0..16");
        assert!(range.is_err());
        // source: by hand: eight parts of 100, their middles
        let range = contexts("200..1000").unwrap();
        assert_eq!((range[0], range[7], range.len()), ((250, 1.0), (950, 1.0), 8));
        for bad in ["", "x", "-4", "9..3", "4..4", "256:0", "256:nan", "99999999999", "1,,2"] {
            assert!(contexts(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_plan_beyond_the_model_is_refused() {
        for bad in ["10..13:2", "0..12:2", "", "plain,,4..8:3", "4..8"] {
            let error = plans(bad, 12, 8).unwrap_err();
            assert!(
                error.downcast_ref::<crate::shared::usage::Usage>().is_some(),
                "{bad}: {error}"
            );
        }
    }
}
