//! `s3d run`: the whole job. Measure, fit, choose, check the choice, report.

mod policy;

use crate::args::{Policy, RunArgs};
use crate::shared::conclude::conclude;
use crate::shared::job::{self, Job};
use crate::shared::{load, precision, show};
use s3d_simulator::Request;

/// Measures what is not measured yet, concludes, writes the report, prints the verdict.
pub fn run(args: &RunArgs) -> anyhow::Result<()> {
    job::refuse_random_acceptance(&args.model, &args.budget)?;
    if let Some(budget) = args.memory_budget {
        load::check_budget(&args.model, args.budget.context.own(), budget)?;
    }
    load::check_batch(&args.model, &args.budget, args.batch.as_ref(), args.memory_budget)?;
    let mut job = Job::new(&args.model, &args.budget, args.memory_budget, args.force)?;
    job.several_texts(args.batch.as_ref());
    job.trace_before_widening()?;
    job.look_further();
    job.request.precision = args.precision;
    let run = job.measure(args.budget.quiet)?;
    let request = Request::of(&run.header);
    let conclusion = conclude(run, request)?;
    conclusion.save(&job.output)?;
    show::choice(&conclusion.choice.recommendation, &conclusion.run.header, &args.output)?;
    show::by_batch(&conclusion.choice.recommendation, &args.output)?;
    if let Some(asked) = args.precision {
        precision::say(&conclusion.choice.recommendation, asked);
    }
    show::warnings(&conclusion.run.header);
    show::effort(&conclusion.run.header);
    show::files(&job.out);
    match args.policy {
        Some(Policy::Auto) => policy::compare(&job, &conclusion, &args.output, args.budget.quiet),
        None => Ok(()),
    }
}
