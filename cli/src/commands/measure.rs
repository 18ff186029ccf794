//! `s3d measure`: some kinds of observation into a run directory.

use crate::args::{Kind, MeasureArgs, Windows};
use crate::shared::job::{self, Job};
use crate::shared::usage::usage;
use crate::shared::{load, ratios, resolve, show, terminal};
use s3d_data::{Drafting, Plan, Skip};
use s3d_measure::{Plans, Request, Stage};
use std::collections::BTreeSet;

/// Measures the kinds asked for.
pub fn measure(args: &MeasureArgs) -> anyhow::Result<()> {
    refuse_idle_flags(args)?;
    if needs_acceptance(args) {
        job::refuse_random_acceptance(&args.model, &args.budget)?;
    }
    if args.shard.is_some() && args.kinds.contains(&Kind::Throughput) && args.plans.is_none() {
        return Err(usage(
            "--shard: throughput needs --plans, since plans would otherwise be chosen by what was \
             measured before them",
        ));
    }
    load::check_batch(&args.model, &args.budget, args.batch.as_ref(), None)?;
    let mut job = match args.kinds[..] {
        [Kind::Latency] => Job::of_times(&args.model, &args.budget, args.force)?,
        _ => Job::new(&args.model, &args.budget, None, args.force)?,
    };
    let layers = job.loaded.model.shape().layers;
    let plans = match &args.plans {
        Some(text) => Some(resolve::plans(text, layers, args.budget.gamma_max)?),
        None => None,
    };
    narrow(&mut job.request, args, plans);
    job.several_texts(args.batch.as_ref());
    // Traces must replay what the generations beside them do, to the iteration: then they are taken
    // on the model as it runs, not on the one before widening.
    if !job.request.wants(Stage::Throughput) && job.request.wants(Stage::Acceptance) {
        job.trace_before_widening()?;
    }
    let run = job.measure(args.budget.quiet)?;
    show::warnings(&run.header);
    show::effort(&run.header);
    if args.kinds.contains(&Kind::Throughput) {
        for line in ratios::lines(&run)? {
            terminal::result(&line)?;
        }
    }
    terminal::result(&show::counts(job.out.root(), &run))
}

/// Refuses flags that would change nothing of what is asked for.
fn refuse_idle_flags(args: &MeasureArgs) -> anyhow::Result<()> {
    let only_memory = args.kinds.iter().all(|kind| *kind == Kind::Memory);
    for (flag, idle, needs) in [
        ("--confidence", args.confidence && !args.kinds.contains(&Kind::Acceptance), "acceptance"),
        ("--batch", args.batch.is_some() && !args.kinds.contains(&Kind::Latency), "latency"),
        ("--ranks", args.ranks && !args.kinds.contains(&Kind::Acceptance), "acceptance"),
        ("--plans", args.plans.is_some() && only_memory, "latency, acceptance or throughput"),
        (
            "--windows all",
            args.plans.is_some() && args.budget.windows == Windows::All,
            "no --plans beside it, which name their own",
        ),
    ] {
        if idle {
            return Err(usage(format!("{flag}: expected {needs}")));
        }
    }
    Ok(())
}

/// Whether what is asked for depends on how many drafts are accepted.
fn needs_acceptance(args: &MeasureArgs) -> bool {
    let drafts =
        |plans: &String| plans.split(',').any(|plan| !["plain", "stock"].contains(&plan.trim()));
    args.kinds.contains(&Kind::Acceptance)
        || args.kinds.contains(&Kind::Throughput) && args.plans.as_ref().is_none_or(drafts)
}

/// Leaves of the whole job what was asked for.
fn narrow(request: &mut Request, args: &MeasureArgs, plans: Option<Vec<Plan>>) {
    request.stages = args
        .kinds
        .iter()
        .map(|kind| match kind {
            Kind::Latency => Stage::Latency,
            Kind::Acceptance => Stage::Acceptance,
            Kind::Memory => Stage::Memory,
            Kind::Throughput => Stage::Throughput,
        })
        .collect();
    if request.wants(Stage::Latency) {
        request.stages.extend([Stage::Probe, Stage::Batch]);
    }
    if request.wants(Stage::Acceptance) {
        request.stages.push(Stage::Refinement);
    }
    request.confidence = args.confidence;
    request.ranks = args.ranks;
    if args.budget.prompt_count.is_some() {
        request.positions = Request::EVERY_PROMPT;
        request.first_look = None;
    }
    if args.shard.is_some() {
        // All windows alike: looking further where the choice is undecided would depend on times.
        request.shard = args.shard;
        request.first_look = None;
    }
    if let Some(plans) = plans {
        let drafts = || plans.iter().filter_map(Plan::draft);
        let skips: BTreeSet<Skip> = drafts().map(|plan| plan.skip.clone()).collect();
        let draftings: BTreeSet<Drafting> = drafts().map(|plan| plan.drafting).collect();
        request.skips = skips.into_iter().collect();
        request.draftings = draftings.into_iter().collect();
        request.first_look = None;
        request.plans = Plans::Exactly(plans);
    }
}
