//! From a run directory to what is concluded of it: fit, choice, judgement, report.

use s3d_data::{Output, Plan, Run, RunDir};
use s3d_reports::{ReportInput, write_report};
use s3d_simulator::choose::by_context::{PlanCurve, by_context};
use s3d_simulator::cost::memory::{PlanMemory, plain_memory, plan_memories};
use s3d_simulator::cost::summary;
use s3d_simulator::predict::conditions::conditions;
use s3d_simulator::validate::{Errors, waterfall};
use s3d_simulator::{Choice, FitOptions, Request, choose_for_all, fit};

/// All that is concluded of a run.
pub struct Conclusion {
    /// What was observed.
    pub run: Run,
    /// The question.
    pub request: Request,
    /// Curves and laws.
    pub fit: s3d_data::Fit,
    /// The choice and the grid behind it.
    pub choice: Choice,
    /// Predictions of plans that were held out, against their measurement.
    pub held_out: Option<Errors>,
    /// Leading plans over the contexts that the run was asked about.
    pub curves: Vec<PlanCurve>,
}

/// Ties whose memory is told beside that of the choice.
const TIES: usize = 4;

/// Bootstrap draws of the fit where only the curves themselves are used, not their intervals.
const FEW_DRAWS: usize = 20;

/// The choice, with what it needs: an answer while one waits. The intervals of the fit are rough,
/// and plans that were held out are only summed up in the recommendation.
///
/// # Errors
/// As [`conclude`].
pub fn choice_only(run: Run, request: Request) -> anyhow::Result<Conclusion> {
    let options = FitOptions { seed: request.seed, draws: FEW_DRAWS, ..FitOptions::default() };
    let fit = fit(&run, &options)?;
    let mut choice = choose_for_all(&run, &request)?;
    let curves = at_contexts(&run, &request, &mut choice)?;
    Ok(Conclusion { run, request, fit, choice, held_out: None, curves })
}

/// Concludes from `run` what `request` asks.
///
/// # Errors
/// What the simulator needs and the run does not hold.
pub fn conclude(run: Run, request: Request) -> anyhow::Result<Conclusion> {
    let options = FitOptions { seed: request.seed, ..FitOptions::default() };
    let fit = fit(&run, &options)?;
    let mut choice = choose_for_all(&run, &request)?;
    let held_out = choice.held_out.take();
    let curves = at_contexts(&run, &request, &mut choice)?;
    Ok(Conclusion { run, request, fit, choice, held_out, curves })
}

/// Adds to the choice what the other contexts of the run ask for; the leading plans over them.
fn at_contexts(
    run: &Run,
    request: &Request,
    choice: &mut Choice,
) -> s3d_simulator::Result<Vec<PlanCurve>> {
    let recommendation = &mut choice.recommendation;
    let found = by_context(run, request, &run.header.contexts, recommendation.choice.as_ref())?;
    (recommendation.by_context, recommendation.context_limit) = (found.contexts, found.limit);
    Ok(found.curves)
}

impl Conclusion {
    /// Writes `fit.json`, `recommendation.json`, the page, figures and tables, all or none; returns
    /// what they show.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, output: &Output) -> anyhow::Result<ReportInput> {
        let draft = output.draft()?;
        let dir = RunDir::new(draft.path());
        s3d_data::store::save_json(&dir.fit(), &self.fit)?;
        s3d_data::store::save_json(&dir.recommendation(), &self.choice.recommendation)?;
        let input = self.report_input()?;
        write_report(&dir, &input)?;
        draft.add()?;
        Ok(input)
    }

    /// Memory of plain decoding, of the choice, and of the leading ties.
    ///
    /// # Errors
    /// A number type that is not known.
    pub fn plan_memory(&self) -> s3d_simulator::Result<Vec<PlanMemory>> {
        let recommendation = &self.choice.recommendation;
        let plans = recommendation.choice.iter().chain(recommendation.ties.iter().take(TIES));
        let drafts = plans.filter_map(|plan| plan.plan.draft());
        plan_memories(&self.run, &self.request, drafts)
    }

    /// What the report shows.
    ///
    /// # Errors
    /// A trace that contradicts itself.
    pub fn report_input(&self) -> anyhow::Result<ReportInput> {
        let header = self.run.header.clone();
        let mut input = ReportInput::new(header, self.choice.recommendation.clone());
        input.fit = Some(self.fit.clone());
        input.grid = self.choice.grid.clone();
        input.held_out = self.held_out.iter().flat_map(|errors| errors.plans.clone()).collect();
        // Nothing where none was timed.
        let context = self.request.context();
        input.passes =
            summary::full_passes(&self.run, self.request.machine, context).unwrap_or_default();
        input.shared_passes = summary::shared_passes(&self.run, self.request.machine, context);
        let chosen = input.chosen().and_then(Plan::draft);
        input.components = summary::components(&self.run, 0, chosen);
        input.what_if = conditions(&self.run, &self.request)?;
        input.plain_memory_bytes =
            plain_memory(&self.run, self.request.context())?.map(|m| m.peak_bytes.0);
        input.curves = self.curves.clone();
        input.plan_memory = self.plan_memory()?;
        input.memory = self.run.observations.memory.clone();
        if let Some(draft) = input.chosen().and_then(Plan::draft).cloned() {
            let choice = self.choice.recommendation.choice.as_ref();
            let measured = choice.and_then(|choice| choice.measured_speedup);
            if !self.run.observations.traces.is_empty() {
                input.waterfall = waterfall::waterfall(&self.run, &self.request, &draft, measured)?;
            }
            input.accepted = summary::accepted_shares(&self.run, &draft, self.request.seed)?;
        }
        Ok(input)
    }
}
