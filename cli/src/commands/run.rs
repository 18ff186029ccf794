//! `s3d run`: the whole job. Measure, fit, choose, check the choice, report.

use crate::args::RunArgs;
use crate::conclude::conclude;
use crate::job::Job;
use crate::judge::SimulatorJudge;
use crate::progress::Bar;
use crate::show;
use s3d_simulator::Request;

/// Measures what is not measured yet, concludes, writes the report, prints the verdict.
pub fn run(args: &RunArgs) -> anyhow::Result<()> {
    let job = Job::new(&args.model, &args.budget, args.memory_budget, args.force)?;
    let mut bar = Bar::new(args.budget.quiet);
    let outcome = s3d_measure::measure(
        job.subject(),
        &job.request,
        &job.out,
        &job.clock,
        &mut SimulatorJudge,
        &mut bar,
    );
    bar.clear();
    let run = outcome?.run;
    let request = Request::of(&run.header);
    let conclusion = conclude(run, request)?;
    conclusion.save(&job.out)?;
    show::choice(&conclusion.choice.recommendation, &conclusion.run.header, &args.output)?;
    show::warnings(&conclusion.run.header);
    show::files(&job.out);
    Ok(())
}
