//! What was accepted: traces and counts. Never a stored rate (`alpha` is computed by `simulator`).

use crate::error::{Error, Result};
use crate::limits::{self, within};
use crate::plan::{Draft, Drafting, LayerSet, Predictors, Skip, SkipWindow};
use crate::quote::shown;
use crate::records::bounds::Bounds;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Accepted drafts at every position of one text, for one window and drafting: one line of
/// `acceptance.jsonl`.
///
/// `accepted[c - 1]` = drafts that an iteration would have accepted if it started when `c` output
/// tokens were committed; the free token of the verify pass is not counted. The last entry is
/// never used by a walk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trace {
    /// How drafts were made; absent in traces that people write by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drafting: Option<Drafting>,
    /// First skipped layer; null for a free set.
    #[serde(default)]
    pub skip_start: Option<usize>,
    /// First layer after the skipped ones; null for a free set.
    #[serde(default)]
    pub skip_end: Option<usize>,
    /// The free set, when it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip_set: Option<LayerSet>,
    /// Drafts tried at every position; entries of `accepted` do not exceed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gamma_max: Option<Predictors>,
    /// Where the trace was written out from counts: the drafts per iteration that were counted. A
    /// walk with as many gives the counts back; with fewer it rests on an assumption, since other
    /// positions are visited then. Absent where every position was traced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted_drafts: Option<Predictors>,
    /// The text's name; one per prompt.
    #[serde(default)]
    pub id: String,
    /// The workload it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// Prompt tokens.
    pub prompt: usize,
    /// Accepted drafts by position; its length is the number of output tokens.
    pub accepted: Vec<u32>,
    /// `confidence[c - 1][i - 1]` = top probability of draft `i` at position `c`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<Vec<Vec<f32>>>,
    /// Of a text whose tokens were drawn: `accept_probability[c - 1][i - 1]` = probability that
    /// draft `i` of an iteration started at `c` committed tokens is accepted, given the text and
    /// that the drafts before it were. As long as there are drafts and tokens of the text.
    /// `accepted` then holds one draw by these probabilities. Absent where the text is greedy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept_probability: Option<Vec<Vec<f32>>>,
    /// `ranks[c - 1][i - 1]` = rank of the right token among the four most likely ones of draft `i`
    /// at position `c`, from 1; 0 where it is none of them. As long as there are drafts and tokens
    /// of the text. Of drafts made at once only: their candidates do not depend on each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ranks: Option<Vec<Vec<u8>>>,
}

impl Trace {
    /// Most likely tokens of a draft that ranks tell of.
    pub const RANKS: u8 = 4;

    /// Output tokens of the text.
    pub fn tokens(&self) -> usize {
        self.accepted.len()
    }

    /// The probability that draft `draft` (from 1) of an iteration started at `committed` output
    /// tokens is accepted, given that the drafts before it were: 0 or 1 where the text is greedy,
    /// 0 beyond what was traced.
    pub fn accept_probability(&self, committed: usize, draft: usize) -> f64 {
        let place = committed.wrapping_sub(1);
        match &self.accept_probability {
            Some(rows) => {
                let known = rows.get(place).and_then(|row| row.get(draft.wrapping_sub(1)));
                known.map_or(0.0, |&p| f64::from(p))
            }
            None => match self.accepted.get(place) {
                Some(&accepted) => f64::from(u8::from(draft <= accepted as usize)),
                None => 0.0,
            },
        }
    }

    /// The window, when start and end are given.
    pub fn window(&self) -> Option<SkipWindow> {
        SkipWindow::new(self.skip_start?, self.skip_end?).ok()
    }

    /// What was skipped, where it is said.
    pub fn skip(&self) -> Option<Skip> {
        match &self.skip_set {
            Some(set) => Some(Skip::Set { layers: Arc::new(set.clone()) }),
            None => self.window().map(Skip::Window),
        }
    }

    /// How drafts were made and what was skipped, where both are said.
    pub fn draft(&self) -> Option<Draft> {
        Some(Draft { drafting: self.drafting?, skip: self.skip()? })
    }

    /// Whether such a line of `acceptance.jsonl` can be.
    ///
    /// # Errors
    /// As [`Self::validate`]; a skip that the model does not have.
    pub fn check(&self, bounds: &Bounds) -> Result<()> {
        self.validate()?;
        self.skip().map_or(Ok(()), |skip| bounds.skip(&skip))
    }

    /// Whether the fields fit together.
    ///
    /// # Errors
    /// An empty trace, an entry above `gamma_max`, half a window, a set that does not rise,
    /// confidences or probabilities of another shape, a number beyond [`crate::limits`].
    pub fn validate(&self) -> Result<()> {
        let fail = |message: String| {
            Err(Error::invalid(format!("trace '{}': {message}", shown(&self.id))))
        };
        if self.accepted.is_empty() {
            return fail("'accepted' is empty; expected one count per output token".into());
        }
        within("prompt", self.prompt, &(0..=limits::TOKENS))?;
        let most = self.accepted.iter().max().map_or(0, |most| *most as usize);
        within("accepted", most, &(0..=limits::TOKENS))?;
        self.skip_set.as_ref().map_or(Ok(()), LayerSet::check)?;
        if let Some(max) = self.gamma_max
            && let Some(position) = self.accepted.iter().position(|&a| a as usize > max.get())
        {
            return fail(format!(
                "accepted[{position}] = {} exceeds gamma_max = {max}",
                self.accepted[position]
            ));
        }
        if self.skip_start.is_some() != self.skip_end.is_some() {
            return fail("skip_start and skip_end must be given together".into());
        }
        if let (Some(start), Some(end)) = (self.skip_start, self.skip_end) {
            SkipWindow::new(start, end)?;
        }
        self.of_each_position("confidence", self.confidence.as_deref()).or_else(fail)?;
        let probabilities = self.accept_probability.as_deref();
        self.of_each_position("accept_probability", probabilities).or_else(fail)?;
        self.long_enough().or_else(fail)?;
        self.ranked().or_else(fail)
    }

    /// Whether the ranks tell of the same drafts as the counts.
    fn ranked(&self) -> std::result::Result<(), String> {
        let Some(rows) = &self.ranks else { return Ok(()) };
        let (found, expected) = (rows.len(), self.accepted.len());
        if found != expected {
            return Err(format!("ranks has {found} positions, accepted has {expected}"));
        }
        if self.drafting == Some(Drafting::Sequential) {
            return Err("ranks are those of simultaneous drafts; found sequential ones".into());
        }
        if let Some(rank) = rows.iter().flatten().find(|rank| **rank > Self::RANKS) {
            return Err(format!("a rank lies in 0..={}; found {rank}", Self::RANKS));
        }
        let first = |row: &[u8]| row.iter().take_while(|rank| **rank == 1).count();
        let agrees = |(row, accepted): (&Vec<u8>, &u32)| first(row) == *accepted as usize;
        match rows.iter().zip(&self.accepted).position(|pair| !agrees(pair)) {
            Some(place) => Err(format!(
                "ranks[{place}] says that {} drafts are right; accepted[{place}] is {}",
                first(&rows[place]),
                self.accepted[place]
            )),
            None => Ok(()),
        }
    }

    /// Whether `rows`, the key `key`, hold a list of probabilities for each position.
    fn of_each_position(
        &self,
        key: &str,
        rows: Option<&[Vec<f32>]>,
    ) -> std::result::Result<(), String> {
        let Some(rows) = rows else { return Ok(()) };
        let (found, expected) = (rows.len(), self.accepted.len());
        if found != expected {
            return Err(format!("{key} has {found} positions, accepted has {expected}"));
        }
        match rows.iter().flatten().find(|p| !(0.0..=1.0).contains(*p)) {
            Some(p) => Err(format!("{key} lies in [0, 1]; found {p}")),
            None => Ok(()),
        }
    }

    /// Whether the probabilities know every draft, up to `gamma_max`, of the text's tokens.
    fn long_enough(&self) -> std::result::Result<(), String> {
        let (Some(rows), Some(most)) = (&self.accept_probability, self.gamma_max) else {
            return Ok(());
        };
        let left = |place: usize| most.get().min(rows.len() - 1 - place);
        match rows.iter().enumerate().find(|(place, row)| row.len() < left(*place)) {
            Some((place, row)) => Err(format!(
                "accept_probability[{place}] has {} drafts; expected {}, for gamma_max = {most}",
                row.len(),
                left(place)
            )),
            None => Ok(()),
        }
    }
}

/// Attempted and accepted drafts per predictor: draft `i` is attempted when drafts `1..i` were
/// accepted. Integers only.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcceptanceCounts {
    /// Times draft `i + 1` was judged.
    pub attempted: Vec<u64>,
    /// Times it was right.
    pub accepted: Vec<u64>,
}

impl AcceptanceCounts {
    /// No observation yet, for `predictors` drafts.
    pub fn new(predictors: usize) -> Self {
        Self { attempted: vec![0; predictors], accepted: vec![0; predictors] }
    }

    /// Counts one iteration that accepted `accepted` of the drafts.
    pub fn record(&mut self, accepted: usize) {
        let predictors = self.attempted.len();
        for i in 0..predictors.min(accepted + 1) {
            self.attempted[i] += 1;
            self.accepted[i] += u64::from(i < accepted);
        }
    }

    /// Adds the counts of `other` (same number of predictors).
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.attempted.iter_mut().zip(&other.attempted) {
            *mine += theirs;
        }
        for (mine, theirs) in self.accepted.iter_mut().zip(&other.accepted) {
            *mine += theirs;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_stop_at_the_first_rejection() {
        let mut counts = AcceptanceCounts::new(3);
        counts.record(0);
        counts.record(2);
        counts.record(3);
        assert_eq!(counts.attempted, [3, 2, 2]);
        assert_eq!(counts.accepted, [2, 2, 1]);
    }

    #[test]
    fn ranks_that_contradict_the_counts_are_refused() {
        let read = |ranks: &str| {
            let line = format!(r#"{{"prompt":1,"accepted":[2,1,0],"ranks":{ranks}}}"#);
            serde_json::from_str::<Trace>(&line).unwrap().validate().map_err(|e| e.to_string())
        };
        assert_eq!(read("[[1,1],[1],[]]"), Ok(()));
        assert_eq!(read("[[1,1,0],[1,3],[4]]"), Ok(()));
        for (ranks, says) in [
            ("[[1,1],[1]]", "2 positions, accepted has 3"),
            ("[[1,1],[1],[5]]", "found 5"),
            ("[[1,2],[1],[]]", "ranks[0] says that 1 drafts are right; accepted[0] is 2"),
        ] {
            assert!(read(ranks).unwrap_err().contains(says), "{ranks}");
        }
        let line = r#"{"prompt":1,"drafting":"sequential","accepted":[0],"ranks":[[]]}"#;
        assert!(serde_json::from_str::<Trace>(line).unwrap().validate().is_err());
    }

    #[test]
    fn a_trace_that_contradicts_itself_is_refused() {
        let line = r#"{"id":"r1","prompt":3,"gamma_max":2,"accepted":[2,0,3]}"#;
        let trace: Trace = serde_json::from_str(line).unwrap();
        assert!(trace.validate().unwrap_err().to_string().contains("accepted[2] = 3"));
        for bad in [
            r#"{"prompt":3,"accepted":[1.5]}"#,
            r#"{"prompt":3,"accepted":[-1]}"#,
            r#"{"prompt":3,"accepted":[1],"unknown":2}"#,
            r#"{"prompt":3,"accepted":[1],"accept_probability":[0.5]}"#,
        ] {
            assert!(serde_json::from_str::<Trace>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn probabilities_of_acceptance_fit_the_text_or_are_refused() {
        let trace = |probabilities: &str| -> Trace {
            let line = format!(
                "{{\"prompt\":3,\"gamma_max\":2,\"accepted\":[2,0,0],\
                 \"accept_probability\":{probabilities}}}"
            );
            serde_json::from_str(&line).unwrap()
        };
        let good = trace("[[0.5,0.25],[1],[]]");
        good.validate().unwrap();
        assert_eq!([1, 2, 3].map(|draft| good.accept_probability(1, draft)), [0.5, 0.25, 0.0]);
        assert_eq!(
            [(2, 1), (2, 2), (3, 1), (9, 1)].map(|(c, i)| good.accept_probability(c, i)),
            [1.0, 0.0, 0.0, 0.0]
        );
        let greedy = Trace { accept_probability: None, ..good.clone() };
        assert_eq!([1, 2, 3].map(|draft| greedy.accept_probability(1, draft)), [1.0, 1.0, 0.0]);
        // A file of before, or of a greedy text, has no such key.
        assert!(!serde_json::to_string(&greedy).unwrap().contains("probability"));
        for (bad, message) in [
            ("[[0.5,0.25],[1]]", "has 2 positions, accepted has 3"),
            ("[[0.5,1.5],[1],[]]", "found 1.5"),
            ("[[0.5,-0.5],[1],[]]", "found -0.5"),
            ("[[0.5],[1],[]]", "accept_probability[0] has 1 drafts; expected 2"),
            ("[[0.5,0.5],[],[]]", "accept_probability[1] has 0 drafts; expected 1"),
        ] {
            let found = trace(bad).validate().unwrap_err().to_string();
            assert!(found.contains(message), "{bad}: {found}");
        }
    }
}
