//! The traces of a run, sorted: by drafting and skip, and within them by prompt.

use crate::error::{Error, Result};
use s3d_data::{Draft, Drafting, Run, Skip, Trace};
use std::collections::BTreeMap;

/// Prompts below which a workload is no stratum of its own.
const ENOUGH_PROMPTS: usize = 4;

/// All traces of a run. Prompts are the clusters of every bootstrap: tokens of one prompt are not
/// independent.
#[derive(Debug, Clone)]
pub struct TraceTable<'a> {
    /// Names of the prompts, sorted.
    pub prompts: Vec<&'a str>,
    /// Workload of each prompt, where it has one.
    pub tasks: Vec<Option<&'a str>>,
    /// For each way, the trace of each prompt (`None` where it was not traced).
    pub ways: BTreeMap<Draft, Vec<Option<&'a Trace>>>,
}

impl<'a> TraceTable<'a> {
    /// Sorts `traces`.
    ///
    /// # Errors
    /// A trace that contradicts itself or does not say what was skipped; one prompt traced twice
    /// the same way.
    pub fn new(traces: &'a [Trace]) -> Result<Self> {
        let tasks: BTreeMap<&str, Option<&str>> =
            traces.iter().map(|trace| (trace.id.as_str(), trace.task.as_deref())).collect();
        let index: BTreeMap<&str, usize> = tasks.keys().copied().zip(0..).collect();
        let mut ways: BTreeMap<Draft, Vec<Option<&Trace>>> = BTreeMap::new();
        for trace in traces {
            trace.validate()?;
            let skip = trace.skip().ok_or_else(|| {
                let what = format!("skipped layers in trace '{}'", trace.id);
                Error::missing(what, "give skip_start and skip_end, or skip_set")
            })?;
            let way = Draft { drafting: trace.drafting.unwrap_or(Drafting::Simultaneous), skip };
            let row = ways.entry(way).or_insert_with(|| vec![None; index.len()]);
            if row[index[trace.id.as_str()]].replace(trace).is_some() {
                let what = format!("traces of prompt '{}'", trace.id);
                return Err(Error::domain(what, "one for each drafting and skip", "two"));
            }
        }
        let (prompts, tasks) = tasks.into_iter().unzip();
        Ok(Self { prompts, tasks, ways })
    }

    /// The traces of a run.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn of(run: &'a Run) -> Result<Self> {
        Self::new(&run.observations.traces)
    }

    /// The prompts that were traced under most ways, and their places: what is compared between
    /// windows needs texts that all of them have.
    pub fn common(&self) -> BTreeMap<&'a str, usize> {
        let ways = |place: usize| self.ways.values().filter(|row| row[place].is_some()).count();
        let counts: Vec<usize> = (0..self.prompts.len()).map(ways).collect();
        let most = counts.iter().max();
        let places = (0..counts.len()).filter(|place| Some(&counts[*place]) == most);
        places.map(|place| (self.prompts[place], place)).collect()
    }

    /// The stratum of each prompt: prompts of one workload are drawn among themselves, since the
    /// mix of workloads is given and not drawn. Workloads with few prompts share a stratum, as do
    /// prompts without one.
    pub(crate) fn strata(&self) -> Vec<usize> {
        let prompts_of = |task: &str| self.tasks.iter().filter(|own| **own == Some(task)).count();
        let large: Vec<&str> = self
            .task_names()
            .into_iter()
            .filter(|task| prompts_of(task) >= ENOUGH_PROMPTS)
            .collect();
        let own = |task: &Option<&str>| large.iter().position(|known| Some(*known) == *task);
        let places: Vec<Option<usize>> = self.tasks.iter().map(own).collect();
        // The rest, where there is one, comes last.
        places.iter().map(|place| place.unwrap_or(large.len())).collect()
    }

    /// The distinct workloads, sorted.
    pub(crate) fn task_names(&self) -> Vec<&'a str> {
        let mut names: Vec<&str> = self.tasks.iter().flatten().copied().collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// Layers that a skip leaves out, in whole layers (half a layer for one of its two sub-layers).
pub(crate) fn skipped_layers(skip: &Skip) -> f64 {
    match skip {
        Skip::Window(window) => window.len() as f64,
        Skip::Set { layers, .. } => (layers.attention.len() + layers.mlp.len()) as f64 / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(line: &str) -> Trace {
        serde_json::from_str(line).unwrap()
    }

    #[test]
    fn workloads_with_few_prompts_share_a_stratum() {
        let lines = ["sum", "sum", "sum", "sum", "prose", "code", "code", "code", "code"];
        let line = |(id, task): (usize, &&str)| {
            trace(&format!(
                r#"{{"id":"{id}","prompt":1,"accepted":[0],"skip_start":1,"skip_end":2,"task":"{task}"}}"#
            ))
        };
        let traces: Vec<Trace> = lines.iter().enumerate().map(line).collect();
        let table = TraceTable::new(&traces).unwrap();
        assert_eq!(table.strata(), [1, 1, 1, 1, 2, 0, 0, 0, 0]);
    }

    #[test]
    fn traces_are_sorted_by_way_and_prompt() {
        let traces = [
            trace(
                r#"{"id":"b","prompt":1,"accepted":[0],"skip_start":1,"skip_end":2,"task":"sum"}"#,
            ),
            trace(r#"{"id":"a","prompt":1,"accepted":[0],"skip_start":1,"skip_end":2}"#),
            trace(r#"{"id":"a","prompt":1,"accepted":[0],"skip_start":1,"skip_end":3}"#),
        ];
        let table = TraceTable::new(&traces).unwrap();
        assert_eq!(table.prompts, ["a", "b"]);
        assert_eq!(table.task_names(), ["sum"]);
        let known: Vec<Vec<bool>> =
            table.ways.values().map(|row| row.iter().map(Option::is_some).collect()).collect();
        assert_eq!(known, [vec![true, true], vec![true, false]]);
        // Only "a" was traced under both windows.
        assert_eq!(table.common(), BTreeMap::from([("a", 0)]));
        let twice = [traces[0].clone(), traces[0].clone()];
        assert!(TraceTable::new(&twice).unwrap_err().to_string().contains("'b'"));
        let nowhere = [trace(r#"{"id":"b","prompt":1,"accepted":[0]}"#)];
        assert!(TraceTable::new(&nowhere).is_err());
    }
}
