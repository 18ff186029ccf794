//! End-to-end generations: the stages that compare plans, bring the leading ones together, and
//! confirm the choice. Each says which plans and prompts its blocks are of.

use crate::bench::{Bench, run_before};
use crate::error::{Error, Result};
use crate::request::Plans;
use crate::schedule::part_of_blocks;
use crate::stages::afford::LEAST_BLOCKS;
use crate::stages::blocks::{Blocks, WANTED_BLOCKS};
use crate::warning::Warning;
use s3d_data::{BlockPurpose, Plan, Stop};
use std::collections::HashSet;

/// Plans that are set beside each other at the end.
const RIVALS: usize = 5;

/// Stage: blocks of all plans. Plans that the judge asked for: until it is content or the time is
/// spent. Plans that were asked for by name: every prompt once, however long that takes.
pub(crate) fn generate_blocks(bench: &mut Bench<'_>) -> Result<Stop> {
    let plans = plans(bench)?;
    let prompts: Vec<usize> = (0..bench.request.prompts.len()).collect();
    let mut blocks = Blocks::new(bench, plans, prompts, 0);
    let (part, at_least) = match bench.request.plans {
        Plans::Judged(_) => (BlockPurpose::Explore.blocks(), LEAST_BLOCKS),
        Plans::Exactly(_) => {
            let all = bench.request.prompts.len() * blocks.parts();
            let part = part_of_blocks(bench.request, all);
            (part.clone(), part.end)
        }
    };
    if part.is_empty() {
        return Ok(Stop::Blocks);
    }
    let stop = blocks.run(bench, part, at_least)?;
    let found = blocks.count();
    if found < WANTED_BLOCKS && stop == Stop::Budget {
        bench.warnings.push(Warning::FewBlocks { found, wanted: WANTED_BLOCKS });
    }
    Ok(stop)
}

/// Stage: the leading plans beside each other, on the texts that their traces are of: what an
/// iteration costs is told apart best in the same minute, and tokens per iteration are known from
/// the traces.
pub(crate) fn run_off(bench: &mut Bench<'_>) -> Result<()> {
    let first = BlockPurpose::RunOff.blocks().start;
    let run = run_before(&bench.recorder.run, first);
    let rivals = affordable(bench).saturating_sub(2).min(RIVALS);
    let leading = bench.judge.leading(&run, rivals).map_err(Error::Judge)?;
    if leading.len() < 2 {
        return Ok(());
    }
    let plans = [vec![Plan::Plain], leading].concat();
    let prompts = (0..bench.request.prompts.len()).collect();
    let mut blocks = Blocks::new(bench, plans, prompts, first);
    blocks.run(bench, 0..usize::MAX, LEAST_BLOCKS)?;
    Ok(())
}

/// Stage: plain decoding and the choice alone, in fresh blocks that were not used to choose, on
/// prompts that no trace was taken from where there are such.
pub(crate) fn confirm(bench: &mut Bench<'_>) -> Result<()> {
    let first = BlockPurpose::Confirm.blocks().start;
    let run = run_before(&bench.recorder.run, first);
    let standing = bench.judge.standing(&run).map_err(Error::Judge)?;
    let Some(choice) = standing.best.clone() else { return Ok(()) };
    bench.standing = Some(standing);
    let prompts = fresh_prompts(bench);
    let plans = vec![Plan::Plain, choice];
    let mut blocks = Blocks::new(bench, plans, prompts, first);
    blocks.run(bench, 0..usize::MAX, LEAST_BLOCKS)?;
    Ok(())
}

/// Places of the prompts, those without traces first.
pub(super) fn fresh_prompts(bench: &Bench<'_>) -> Vec<usize> {
    let traces = &bench.recorder.run.observations.traces;
    let traced: HashSet<&str> = traces.iter().map(|trace| trace.id.as_str()).collect();
    let prompts = &bench.request.prompts;
    let (used, fresh): (Vec<_>, Vec<_>) =
        (0..prompts.len()).partition(|&place| traced.contains(prompts[place].id.as_str()));
    fresh.into_iter().chain(used).collect()
}

/// Generations of a block that fit the time that is left.
fn affordable(bench: &Bench<'_>) -> usize {
    bench.affordable().unwrap_or(usize::MAX)
}

/// Plain decoding first, then what is to be compared with it.
fn plans(bench: &mut Bench<'_>) -> Result<Vec<Plan>> {
    let mut plans = vec![Plan::Plain];
    match &bench.request.plans {
        Plans::Exactly(asked) => plans.extend(asked.iter().filter(|p| **p != Plan::Plain).cloned()),
        Plans::Judged(wanted) => {
            plans.push(Plan::Stock);
            // Plain decoding counts twice, stock decoding is slow.
            let wanted = affordable(bench).saturating_sub(4).clamp(1, *wanted);
            let run = run_before(&bench.recorder.run, 0);
            plans.extend(bench.judge.candidates(&run, wanted).map_err(Error::Judge)?);
        }
    }
    let mut seen = HashSet::new();
    plans.retain(|plan| seen.insert(plan.clone()));
    for draft in plans.iter().filter_map(Plan::draft) {
        bench.subject.model.check_plan(draft)?;
    }
    Ok(plans)
}
