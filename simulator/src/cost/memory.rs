//! Peak memory of a plan on the model of a run, by the one formula ([`s3d_data::memory`]), and the
//! longest context that it leaves room for.

use crate::error::Result;
use crate::predict::request::Request;
use s3d_data::memory::{Added, Held, Load, Memory, Method, without_drafting};
use s3d_data::{Bytes, DraftPlan, Drafting, Plan, Run, limits};
use serde::Serialize;

/// Peak memory of `plan` on the run's model with `batch` texts of `context` tokens at once; none
/// where the model's shape is not known.
///
/// # Errors
/// A number type that is not known.
pub fn plan_memory(
    run: &Run,
    plan: &DraftPlan,
    (context, batch): (usize, usize),
) -> Result<Option<Memory>> {
    Ok(Model::of(run)?.map(|model| model.memory(Some(plan), (context, batch))))
}

/// Peak memory of plain decoding on the run's model at `context`; none where the model's shape is
/// not known.
///
/// # Errors
/// A number type that is not known.
pub fn plain_memory(run: &Run, context: usize) -> Result<Option<Memory>> {
    Ok(Model::of(run)?.map(|model| model.memory(None, (context, 1))))
}

/// The memory that decoding has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Room {
    /// How much.
    pub bytes: Bytes,
    /// Whether it is the budget that was asked for; else what the device has.
    pub budget: bool,
}

/// The budget of `request`, else the memory of its machine, where that is known.
pub fn room(run: &Run, request: &Request) -> Option<Room> {
    let machine = run.header.machines.get(request.machine).map(|machine| machine.memory_bytes);
    let device = machine.filter(|bytes| bytes.0 > 0).map(|bytes| Room { bytes, budget: false });
    request.memory_budget.map(|bytes| Room { bytes, budget: true }).or(device)
}

/// The memory of a plan, and what drafting adds to it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlanMemory {
    /// The plan. Plain decoding here is that of a model without masks, adapters and draft head.
    pub plan: Plan,
    /// Tokens of context.
    pub context: usize,
    /// Peak memory there.
    pub peak_bytes: Bytes,
    /// What drafting adds, by part; null for plain decoding.
    pub added: Option<Added>,
    /// The memory that there is; null where it is not known.
    pub room: Option<Room>,
    /// The longest context that fits it, at most what the model decodes; null where none does, or
    /// where the memory is not known.
    pub largest_context: Option<usize>,
}

/// Plain decoding and each of `plans` at the context of `request`; nothing where the model's shape
/// is not known.
///
/// # Errors
/// A number type that is not known.
pub fn plan_memories<'a>(
    run: &Run,
    request: &Request,
    plans: impl IntoIterator<Item = &'a DraftPlan>,
) -> Result<Vec<PlanMemory>> {
    let Some(model) = Model::of(run)? else { return Ok(Vec::new()) };
    let (context, room) = (request.context(), room(run, request));
    let plain = PlanMemory {
        plan: Plan::Plain,
        context,
        peak_bytes: model.without_drafting(context).peak_bytes,
        added: None,
        room,
        largest_context: room
            .and_then(|room| model.largest(|context| model.without_drafting(context), room.bytes)),
    };
    let drafting = |plan: &DraftPlan| {
        let (load, method) = load(Some(plan), (context, 1));
        let peak = |context| model.memory(Some(plan), (context, 1));
        PlanMemory {
            plan: Plan::Speculate(plan.clone()),
            context,
            peak_bytes: peak(context).peak_bytes,
            added: Some(Added::of(&run.header.model.shape, &model.held, load, &method)),
            room,
            largest_context: room.and_then(|room| model.largest(peak, room.bytes)),
        }
    };
    Ok(std::iter::once(plain).chain(plans.into_iter().map(drafting)).collect())
}

/// The model of a run as it is held.
struct Model<'a> {
    run: &'a Run,
    held: Held,
}

impl<'a> Model<'a> {
    fn of(run: &'a Run) -> Result<Option<Self>> {
        let held = Held::of_run(&run.header, &run.observations)?;
        Ok(held.map(|held| Self { run, held }))
    }

    fn memory(&self, plan: Option<&DraftPlan>, of_texts: (usize, usize)) -> Memory {
        let (load, method) = load(plan, of_texts);
        Memory::of(&self.run.header.model.shape, &self.held, load, &method)
    }

    /// Plain decoding of the same model, loaded without what only drafting needs.
    fn without_drafting(&self, context: usize) -> Memory {
        let shape = &self.run.header.model.shape;
        let (load, method) = load(None, (context, 1));
        Memory::of(shape, &without_drafting(shape, &self.held), load, &method)
    }

    /// The longest context whose peak is within `bytes`: memory never falls with the context.
    fn largest(&self, memory: impl Fn(usize) -> Memory, bytes: Bytes) -> Option<usize> {
        let fits = |context: usize| memory(context).peak_bytes <= bytes;
        let (mut fitting, mut beyond) =
            (0, self.run.header.model.positions.unwrap_or(limits::TOKENS).max(1) + 1);
        while beyond - fitting > 1 {
            let middle = fitting + (beyond - fitting) / 2;
            if fits(middle) { fitting = middle } else { beyond = middle }
        }
        (fitting > 0).then_some(fitting)
    }
}

/// What decoding by a plan, or plainly, of so many texts of this context asks of the memory.
fn load(plan: Option<&DraftPlan>, (context, batch): (usize, usize)) -> (Load, Method) {
    let predictors = plan.map_or(0, |plan| plan.predictors.get());
    let method = match plan.map(|plan| plan.drafting) {
        Some(Drafting::Simultaneous) => Method::S3d { predictors },
        _ => Method::Plain,
    };
    (Load { context, width: predictors + 1, batch }, method)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn shipped(name: &str) -> Run {
        let runs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/runs");
        s3d_data::RunDir::new(runs.join(name)).load().unwrap()
    }

    /// source: every context tried, one after the other
    #[test]
    fn the_largest_context_is_that_of_a_search_through_all() {
        let mut run = shipped("story-x2-epyc");
        let positions = 700;
        run.header.model.positions = Some(positions);
        let plan: Plan = "3..9:6".parse().unwrap();
        let draft = plan.draft().unwrap();
        let peak = |context| plan_memory(&run, draft, (context, 1)).unwrap().unwrap().peak_bytes;
        let (least, most) = (peak(1).0, peak(positions).0);
        let found = (0..12).map(|part| {
            let budget = Bytes(least - 1 + part * (most - least + 2) / 11);
            let brute = (1..=positions).filter(|context| peak(*context) <= budget).max();
            let request = Request { memory_budget: Some(budget), ..Request::of(&run.header) };
            let found = plan_memories(&run, &request, [draft]).unwrap();
            assert_eq!(found[1].largest_context, brute, "{budget}");
            brute
        });
        let found: Vec<Option<usize>> = found.collect();
        assert_eq!((found[0], found[11]), (None, Some(positions)));
        assert!(found.windows(2).all(|pair| pair[0] <= pair[1]), "{found:?}");
    }

    #[test]
    fn drafting_leaves_room_for_less_and_its_parts_are_the_difference() {
        let run = shipped("story-x2-epyc");
        let plan: Plan = "3..9:6".parse().unwrap();
        let budget = plain_memory(&run, 700).unwrap().unwrap().peak_bytes;
        let request = Request { memory_budget: Some(budget), ..Request::of(&run.header) };
        let found = plan_memories(&run, &request, plan.draft()).unwrap();
        let [plain, drafting] = &found[..] else { panic!("{found:?}") };
        assert_eq!(plain.room, Some(Room { bytes: budget, budget: true }));
        assert!(drafting.largest_context <= plain.largest_context, "{found:?}");
        let added = drafting.added.unwrap();
        assert_eq!(plain.peak_bytes + added.total_bytes, drafting.peak_bytes);
    }
}
