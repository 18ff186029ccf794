//! Which start of a process decodes a block: this process and its children take turns, a pair of
//! blocks each, so that every start is met early and late in a run.

use crate::error::Result;
use crate::machine::available_memory;
use crate::pass_watch::Generated;
use crate::request::Request;
use crate::starts::child::Child;
use crate::starts::wire::Order;
use s3d_data::{Bytes, Seconds};
use s3d_model::Model;
use std::collections::BTreeMap;
use std::ffi::OsString;

/// Starts of a process that blocks are wanted from.
const WANTED: usize = 3;
/// Share of the time budget that loading the model once more may take.
const LOAD_SHARE: f64 = 0.05;
/// Memory for a further copy of the model, in sizes of its weights: loading converts them.
const ROOM: u64 = 2;

/// The starts that take turns. Number 0 among them is this process.
pub(crate) struct Turns {
    command: Vec<OsString>,
    model: String,
    /// The number that this process has in the run.
    first: usize,
    count: usize,
    children: BTreeMap<usize, Child>,
    /// CPU time of children that have ended.
    ended_cpu: Seconds,
    fewer_because: Option<String>,
}

impl Turns {
    /// The starts of a run whose next one has number `first`.
    pub(crate) fn new(request: &Request, model: &Model, first: usize) -> Self {
        let (count, fewer_because) = match (&request.further_starts, model.device().is_cpu()) {
            (_, false) => (1, Some("a card holds one copy of the model".to_string())),
            (None, true) => (1, None),
            (Some(further), true) => {
                let free = available_memory();
                affordable(further.load, request.time_budget, free, Bytes(model.weight_bytes()))
            }
        };
        Self {
            command: request.further_starts.iter().flat_map(|s| s.command.clone()).collect(),
            model: model.identity().content_hash,
            first,
            count,
            children: BTreeMap::new(),
            ended_cpu: Seconds::ZERO,
            fewer_because,
        }
    }

    /// How many take turns.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Which of them decodes the blocks of this pair.
    pub(crate) fn of_pair(&self, pair: usize) -> usize {
        pair % self.count
    }

    /// The number in the run of one of them.
    pub(crate) fn number(&self, turn: usize) -> usize {
        self.first + turn
    }

    /// What it takes until a child decodes that has not been asked yet; nothing where all have.
    pub(crate) fn load(&self, request: &Request) -> Seconds {
        let load = request.further_starts.as_ref().map_or(Seconds::ZERO, |further| further.load);
        if self.children.len() + 1 < self.count { load } else { Seconds::ZERO }
    }

    /// CPU time of all children so far.
    pub(crate) fn cpu(&self) -> Seconds {
        self.children.values().map(|child| child.cpu).sum::<Seconds>() + self.ended_cpu
    }

    /// Why fewer take turns than were wanted.
    pub(crate) fn fewer_because(&self, found: usize) -> Option<String> {
        let few = || format!("the run has blocks for {found} only");
        (found < WANTED).then(|| self.fewer_because.clone().unwrap_or_else(few))
    }

    /// Has child number `turn` decode; it is started when it is first asked. One that fails is
    /// given up with all others: nothing, and this process decodes everything from now on.
    pub(crate) fn decode(&mut self, turn: usize, order: &Order) -> Option<Generated> {
        match self.child(turn).and_then(|child| child.0.decode(order, child.1)) {
            Ok(generated) => Some(generated),
            Err(error) => {
                self.ended_cpu = self.cpu();
                self.children.clear();
                self.count = 1;
                self.fewer_because = Some(format!("a further process failed: {error}"));
                None
            }
        }
    }

    fn child(&mut self, turn: usize) -> Result<(&mut Child, &str)> {
        let child = match self.children.remove(&turn) {
            Some(child) => child,
            None => Child::start(&self.command)?,
        };
        Ok((self.children.entry(turn).or_insert(child), &self.model))
    }
}

/// How many starts a run can afford, and why not as many as are wanted. Loading counts: what takes
/// up to 5 % of the time is done twice more, what takes up to 10 % once more.
fn affordable(
    load: Seconds,
    budget: Seconds,
    free: Option<Bytes>,
    weights: Bytes,
) -> (usize, Option<String>) {
    let most = WANTED - 1;
    let in_time = (budget * (most as f64 * LOAD_SHARE) / load).min(most as f64) as usize;
    if in_time < most {
        let share = 100.0 * LOAD_SHARE;
        let why = format!("loading the model takes {load}, above {share:.0} % of {budget}");
        return (1 + in_time, Some(why));
    }
    let copies = free.map_or(most as u64, |free| free.0 / (ROOM * weights.0).max(1));
    if copies < most as u64 {
        let free = free.unwrap_or_default();
        let why = format!("{free} of free memory have no room for {most} more copies of the model");
        return (1 + copies as usize, Some(why));
    }
    (WANTED, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(load: f64, budget: f64, free_mib: Option<u64>) -> (usize, bool) {
        let free = free_mib.map(|size| Bytes(size << 20));
        let (count, why) = affordable(Seconds(load), Seconds(budget), free, Bytes(100 << 20));
        (count, why.is_some())
    }

    #[test]
    fn a_run_starts_as_often_as_loading_and_memory_allow() {
        // source: 5 % of 120 s are 6 s, 10 % are 12 s; a copy of 100 MiB needs 200 MiB of room
        assert_eq!(starts(5.9, 120.0, Some(1000)), (3, false));
        assert_eq!(starts(6.1, 120.0, Some(1000)), (2, true));
        assert_eq!(starts(12.1, 120.0, Some(1000)), (1, true));
        assert_eq!(starts(1.0, 120.0, Some(399)), (2, true));
        assert_eq!(starts(1.0, 120.0, Some(199)), (1, true));
        assert_eq!(starts(1.0, 120.0, None), (3, false));
        assert_eq!(starts(0.0, 120.0, None), (3, false));
    }

    fn turns(command: &[&str]) -> Turns {
        Turns {
            command: command.iter().map(OsString::from).collect(),
            model: "hash".into(),
            first: 4,
            count: 3,
            children: BTreeMap::new(),
            ended_cpu: Seconds::ZERO,
            fewer_because: None,
        }
    }

    #[test]
    fn pairs_of_blocks_take_turns_and_starts_are_counted_on() {
        let turns = turns(&[]);
        let order: Vec<usize> = (0..5).map(|pair| turns.number(turns.of_pair(pair))).collect();
        assert_eq!(order, [4, 5, 6, 4, 5]);
        assert_eq!(turns.fewer_because(3), None);
        assert!(turns.fewer_because(2).unwrap().contains("blocks for 2"));
    }

    #[test]
    fn a_child_that_fails_leaves_the_work_to_this_process() {
        let mut turns = turns(&["false"]);
        let plan = "plain".parse().unwrap();
        let (prompt, reference) = (vec![1], vec![]);
        let order = Order { plan, id: "a".into(), prompt, tokens: 2, reference, sampling: None };
        assert_eq!(turns.decode(1, &order), None);
        assert_eq!((turns.count(), turns.of_pair(1)), (1, 0));
        assert!(turns.fewer_because(1).unwrap().contains("a further process failed"));
    }
}
