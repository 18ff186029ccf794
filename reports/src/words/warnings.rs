//! The warnings of a run in plain words: what means one thing is said once, in one short line.

use crate::words::capital;
use s3d_data::{RunHeader, Share};
use serde::Serialize;

/// A warning: what is the matter, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// One short line, as a sentence begins.
    pub short: String,
    /// The whole of it, as it goes on behind "warning:".
    pub whole: String,
}

/// Each kind of warning once, the last one of its kind: stages of a run repeat what still holds.
/// Those that contradict the numbers come first.
pub fn warnings(header: &RunHeader) -> Vec<Warning> {
    let mut kept: Vec<(String, Warning)> = Vec::new();
    for text in &header.warnings {
        let (kind, warning) = (kind(text), Warning::new(text));
        match kept.iter_mut().find(|(other, _)| *other == kind) {
            Some((_, held)) => *held = warning,
            None => kept.push((kind, warning)),
        }
    }
    let contradicts = |warning: &Warning| warning.whole.contains("can be relied on");
    kept.sort_by_key(|(_, warning)| !contradicts(warning));
    kept.into_iter().map(|(_, warning)| warning).collect()
}

/// Whether other programs took the machine, so that nothing can be said of how fast it could be.
pub(crate) fn shared_machine(header: &RunHeader) -> bool {
    let signs =
        ["other programs used", "the machine was busy", "processor time that their threads"];
    let busy = header.taken_by_others().is_some();
    busy || header.warnings.iter().any(|warning| signs.iter().any(|sign| warning.contains(sign)))
}

/// The words of a warning without its numbers.
fn kind(text: &str) -> String {
    text.chars().filter(|c| !c.is_ascii_digit() && *c != '.').collect()
}

impl Warning {
    fn new(text: &str) -> Self {
        let whole = drift(text).unwrap_or_else(|| text.into());
        // Advice follows a colon; a name before one is no sentence.
        let cut = whole.match_indices(": ").map(|(at, _)| at).find(|at| whole[..*at].contains(' '));
        let short = capital(cut.map_or(whole.as_str(), |at| &whole[..at]));
        Self { short, whole }
    }
}

/// `X took 0.79 times as long at the end as at the beginning: ...` as a change in percent.
fn drift(text: &str) -> Option<String> {
    let (what, rest) = text.split_once(" took ")?;
    let (ratio, advice) = rest.split_once(" times as long at the end as at the beginning")?;
    let ratio: f64 = ratio.parse().ok().filter(|ratio: &f64| ratio.is_finite())?;
    let change = if ratio < 1.0 { "less" } else { "more" };
    let share = Share((ratio - 1.0).abs());
    Some(format!(
        "{what} took {share} {change} time at the end of the run than at its start{advice}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use s3d_data::{Bytes, Machine, ModelIdentity};

    fn header(texts: &[&str]) -> RunHeader {
        let model = r#"{"name":"n","content_hash":"","shape":{"layers":2,"hidden":8,
            "intermediate":8,"heads":1,"kv_heads":1,"head_dim":8,"vocab":8,"tied":true,"masks":0,
            "adapter_rank":0}}"#;
        let machine = Machine::named("m", Bytes(0));
        let model: ModelIdentity = serde_json::from_str(model).unwrap();
        let warnings = texts.iter().map(ToString::to_string).collect();
        RunHeader { warnings, ..RunHeader::new(machine, model) }
    }

    #[test]
    fn what_means_one_thing_is_said_once() {
        let found = warnings(&header(&[
            "acceptance was traced at 254 positions, 1500 are needed: give more",
            "plain decoding took 0.79 times as long at the end as at the beginning: compare",
            "acceptance was traced at 709 positions, 1500 are needed: give more",
            "two copies of x disagree: no speedup of this run can be relied on",
        ]));
        let short: Vec<_> = found.iter().map(|warning| warning.short.as_str()).collect();
        assert_eq!(
            short,
            [
                "Two copies of x disagree",
                "Acceptance was traced at 709 positions, 1500 are needed",
                "Plain decoding took 21 % less time at the end of the run than at its start",
            ]
        );
        assert!(found[2].whole.ends_with("start: compare"), "{}", found[2].whole);
    }

    #[test]
    fn a_file_name_before_a_colon_is_no_sentence() {
        let found = warnings(&header(&["out/run: interrupted, and concluded: go on"]));
        assert_eq!(found[0].short, "Out/run: interrupted, and concluded");
    }
}
