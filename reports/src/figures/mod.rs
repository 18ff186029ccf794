//! The figures of a report: one small function each, from the report's input to data.

mod acceptance;
mod by_batch;
mod by_context;
mod by_task;
mod cost;
mod maps;
mod memory;
mod prediction;
mod speedup;

pub use acceptance::{acceptance, acceptance_by_task, accepted};
pub use by_batch::{pass_time_by_batch, speedup_by_batch};
pub use by_context::{speed_memory_by_context, speedup_by_context};
pub use by_task::by_task;
pub use cost::{components, pass_time, waterfall};
pub use maps::{plan_map, window_map};
pub use memory::{equal_lines, speed_memory};
pub use prediction::prediction;
pub use speedup::speedup;

use crate::figure::Figure;
use crate::input::ReportInput;
use crate::words::caveat::caveat;
use s3d_data::Drafting;

/// What is said where intervals are cut.
const CUT: &str =
    " Intervals wider than a factor of two are cut; arrows mark them: more data are needed there.";

/// All figures that `input` has data for, in the order of the page.
pub fn all(input: &ReportInput) -> Vec<Figure> {
    let mut figures: Vec<Figure> = Vec::new();
    for draw in [speedup, plan_map, acceptance, window_map] {
        figures.extend(draftings(input).into_iter().map(|drafting| draw(input, drafting)));
    }
    let single: [fn(&ReportInput) -> Figure; 12] = [
        by_task,
        speedup_by_context,
        speed_memory_by_context,
        speedup_by_batch,
        pass_time_by_batch,
        waterfall,
        pass_time,
        components,
        prediction,
        acceptance_by_task,
        accepted,
        speed_memory,
    ];
    figures.extend(single.iter().map(|draw| draw(input)));
    figures.retain(|figure| !figure.is_empty());
    for figure in figures.iter_mut().filter(|figure| figure.cuts()) {
        figure.caption += CUT;
    }
    if let Some(words) = caveat(&input.recommendation) {
        figures.iter_mut().for_each(|figure| figure.caption += &format!(" With {words}."));
    }
    figures
}

/// Both draftings, the chosen one first.
fn draftings(input: &ReportInput) -> [Drafting; 2] {
    match input.recommendation.choice.as_ref().map(|choice| choice.drafting) {
        Some(Drafting::Sequential) => [Drafting::Sequential, Drafting::Simultaneous],
        _ => Drafting::ALL,
    }
}
