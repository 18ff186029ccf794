//! The choice by context in words: one sentence, where a run was asked about several.

use crate::words::capital;
use s3d_data::{ContextBasis, ContextLimit, ContextResult, Estimate, Recommendation, Share};

/// Which plan at which context, where speculation stops to pay, what one plan for all loses.
pub fn sentence(recommendation: &Recommendation) -> Option<String> {
    let contexts = &recommendation.by_context;
    let (first, last) = (contexts.first()?, contexts.last()?);
    // Neighbours with the same plan are told together.
    let groups = contexts.chunk_by(|a, b| a.plan == b.plan).map(group);
    let plans = groups.collect::<Vec<_>>().join(", ");
    let limit = recommendation.context_limit.as_ref();
    let limit = limit.map(|limit| format!("; {}", pays(limit, first.context, last.context)));
    let lost = one_plan(contexts).map(|lost| format!(" {lost}"));
    Some(capital(&format!(
        "by context: {plans}{}.{}",
        limit.unwrap_or_default(),
        lost.unwrap_or_default()
    )))
}

/// `3..9:6 from 256 to 512 tokens (2.40 to 2.31 times plain decoding)`.
fn group(contexts: &[ContextResult]) -> String {
    let [first, .., last] = contexts else {
        return contexts.first().map_or(String::new(), alone);
    };
    let Some(plan) = &first.plan else {
        return format!("no plan fits from {} to {} tokens", first.context, last.context);
    };
    let (from, to) = (first.context, last.context);
    match (first.speedup, last.speedup) {
        (Some(one), Some(other)) if first.basis == last.basis => format!(
            "{plan} from {from} to {to} tokens ({:.2} to {:.2} times plain decoding{})",
            one.value,
            other.value,
            known_by(first.basis)
        ),
        (Some(one), Some(other)) => format!(
            "{plan} from {from} tokens ({:.2} times plain decoding{}) to {to} ({:.2}{})",
            one.value,
            known_by(first.basis),
            other.value,
            known_by(last.basis)
        ),
        _ => format!("{plan} from {from} to {to} tokens (speedup not known)"),
    }
}

fn alone(one: &ContextResult) -> String {
    let Some(plan) = &one.plan else { return format!("no plan fits at {} tokens", one.context) };
    let times = one.speedup.map_or("not known".into(), |speedup| format!("{:.2}", speedup.value));
    format!("{plan} at {} tokens ({times} times{})", one.context, known_by(one.basis))
}

fn known_by(basis: ContextBasis) -> &'static str {
    match basis {
        ContextBasis::Measured => ", measured",
        ContextBasis::Predicted => ", predicted",
        ContextBasis::Extrapolated => ", extrapolated",
    }
}

/// Up to where speculation pays.
fn pays(limit: &ContextLimit, shortest: usize, longest: usize) -> String {
    match (limit.pays_up_to, limit.stops_by, limit.crossing) {
        (None, ..) => format!("it pays at no context from {shortest} to {longest} tokens"),
        (Some(pays), None, _) => format!("it stops to pay at no context up to {pays} tokens"),
        (Some(pays), Some(stops), None) => {
            format!("it stops to pay between {pays} and {stops} tokens")
        }
        (Some(pays), Some(stops), Some(crossing)) => format!(
            "it stops to pay at about {:.0} tokens{} (between {pays} and {stops})",
            crossing.value,
            ends(crossing, shortest, longest)
        ),
    }
}

/// The ends of a context; one that lies outside all that were asked about is told as such.
fn ends(crossing: Estimate, shortest: usize, longest: usize) -> String {
    let low = crossing.low.map_or(format!("below {shortest}"), |low| format!("{low:.0}"));
    let high = crossing.high.map_or(format!("beyond {longest}"), |high| format!("{high:.0}"));
    match (crossing.low, crossing.high) {
        (None, None) => String::new(),
        _ => format!(" [{low}, {high}]"),
    }
}

/// What one plan for all loses where it loses most.
fn one_plan(contexts: &[ContextResult]) -> Option<String> {
    let lost = |one: &ContextResult| Some((one.loss_of_choice?, one.context));
    let lost = contexts.iter().filter_map(lost).filter(|(loss, _)| loss.is_above(0.0));
    let (loss, context) = lost.max_by(|a, b| a.0.value.total_cmp(&b.0.value))?;
    let ends = loss.interval().map(|(low, high)| format!(" [{}, {}]", Share(low), Share(high)));
    Some(format!(
        "One plan for all loses {}{} at {context} tokens.",
        Share(loss.value),
        ends.unwrap_or_default()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(context: usize, plan: &str, speedup: f64) -> ContextResult {
        let json = serde_json::json!({
            "context": context, "plan": plan, "verdict": "speculate", "basis": "predicted",
            "speedup": {"value": speedup, "low": null, "high": null},
            "speedup_of_choice": null, "loss_of_choice": null, "tokens_per_s": null,
            "plain_tokens_per_s": null, "peak_memory_bytes": null,
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn neighbours_with_one_plan_are_told_together() {
        let contexts = [at(256, "3..9:6", 2.4), at(512, "3..9:6", 2.31), at(1024, "4..8:2", 1.1)];
        let groups: Vec<String> = contexts.chunk_by(|a, b| a.plan == b.plan).map(group).collect();
        assert_eq!(
            groups,
            [
                "3..9:6 from 256 to 512 tokens (2.40 to 2.31 times plain decoding, predicted)",
                "4..8:2 at 1024 tokens (1.10 times, predicted)"
            ]
        );
    }

    #[test]
    fn a_measured_end_and_a_predicted_one_are_each_told_as_what_they_are() {
        let headline = ContextResult { basis: ContextBasis::Measured, ..at(64, "3..9:6", 2.19) };
        assert_eq!(
            group(&[headline, at(128, "3..9:6", 2.1), at(256, "3..9:6", 2.08)]),
            "3..9:6 from 64 tokens (2.19 times plain decoding, measured) to 256 (2.08, predicted)"
        );
    }

    #[test]
    fn where_it_stops_to_pay_is_told_with_what_is_known() {
        let limit =
            |pays_up_to, stops_by, crossing| ContextLimit { pays_up_to, stops_by, crossing };
        let crossing = Estimate { value: 2300.0, low: Some(1900.0), high: None };
        for (limit, expected) in [
            (limit(None, Some(256), None), "it pays at no context from 256 to 4096 tokens"),
            (limit(Some(4096), None, None), "it stops to pay at no context up to 4096 tokens"),
            (
                limit(Some(2048), Some(4096), Some(crossing)),
                "it stops to pay at about 2300 tokens [1900, beyond 4096] (between 2048 and 4096)",
            ),
        ] {
            assert_eq!(pays(&limit, 256, 4096), expected);
        }
    }
}
