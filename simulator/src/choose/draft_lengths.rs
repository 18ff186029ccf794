//! Draft lengths by number of texts at once, as engines take them: ranges without gaps.

use s3d_data::{BatchResult, Plan, Recommendation};
use serde::Serialize;

/// So many drafts for each of `from` to `to` texts at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DraftLength {
    /// The fewest texts of the range.
    pub from: usize,
    /// The most texts of the range.
    pub to: usize,
    /// Drafts of each text; 0 is plain decoding.
    pub drafts: usize,
}

/// Ranges from one text up to the most that were timed. A range begins with a number of texts that
/// was timed, and has the best plan's drafts there, or none where plain decoding is faster; from
/// the break-even on there are none. Empty where several texts were not timed.
pub fn draft_lengths(recommendation: &Recommendation) -> Vec<DraftLength> {
    let rows = &recommendation.by_batch;
    let even = recommendation.break_even_batch.as_ref();
    let mut ranges: Vec<DraftLength> = Vec::new();
    for (place, row) in rows.iter().enumerate() {
        let to = rows.get(place + 1).map_or(row.batch, |next| next.batch - 1);
        let from = if place == 0 { 1 } else { row.batch };
        let pays = match even.filter(|even| even.below == row.batch) {
            Some(even) => (even.texts.value.floor() as usize).clamp(from, to),
            None => to,
        };
        push(&mut ranges, DraftLength { from, to: pays, drafts: drafts(row) });
        if pays < to {
            push(&mut ranges, DraftLength { from: pays + 1, to, drafts: 0 });
        }
    }
    ranges
}

/// Adds a range; it joins the one before where both have as many drafts.
fn push(ranges: &mut Vec<DraftLength>, next: DraftLength) {
    match ranges.last_mut() {
        Some(last) if last.drafts == next.drafts => last.to = next.to,
        _ => ranges.push(next),
    }
}

fn drafts(row: &BatchResult) -> usize {
    match &row.plan {
        Plan::Speculate(plan) if row.speedup().value > 1.0 => plan.predictors.get(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use s3d_data::{Answer, BreakEvenBatch, Estimate};

    fn row(batch: usize, plan: &str, speedup: f64) -> BatchResult {
        BatchResult {
            batch,
            plan: plan.parse().unwrap(),
            verdict: Answer::CannotTellYet,
            predicted_speedup: Estimate::alone(speedup),
            measured_speedup: None,
            tokens_per_iteration: Estimate::alone(2.0),
            plain_tokens_per_s: None,
            tokens_per_s: None,
            peak_memory_bytes: None,
        }
    }

    fn lengths(rows: Vec<BatchResult>, even: Option<(f64, usize, usize)>) -> Vec<[usize; 3]> {
        let even = even.map(|(texts, below, above)| BreakEvenBatch {
            texts: Estimate::alone(texts),
            below,
            above,
        });
        let mut recommendation = nothing();
        (recommendation.by_batch, recommendation.break_even_batch) = (rows, even);
        let all = draft_lengths(&recommendation);
        all.iter().map(|range| [range.from, range.to, range.drafts]).collect()
    }

    /// A recommendation as files of older programs hold it.
    fn nothing() -> Recommendation {
        let text = r#"{"schema_version": 1, "model": "m", "device": "cpu", "dtype": "f32",
            "widen": 1, "context": 256, "baseline": {"tokens_per_s": null, "stock_tokens_per_s": null,
            "bandwidth_share": null}, "choice": null, "speculate": false, "reason": null,
            "ties": [], "regret_bound": null, "prediction_error": null, "evaluated": 0,
            "seconds_measuring": 1.0}"#;
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn ranges_have_no_gaps_and_end_with_the_break_even() {
        // source: by hand
        let rows = vec![
            row(1, "3..9:4", 1.6),
            row(2, "3..9:4", 1.4),
            row(4, "3..9:2", 1.2),
            row(8, "3..9:1", 0.9),
            row(16, "3..9:1", 0.8),
        ];
        assert_eq!(lengths(rows.clone(), Some((6.3, 4, 8))), [[1, 3, 4], [4, 6, 2], [7, 16, 0]]);
        assert_eq!(lengths(rows[..3].to_vec(), None), [[1, 3, 4], [4, 4, 2]]);
        assert_eq!(lengths(rows[3..].to_vec(), None), [[1, 16, 0]]);
        assert!(lengths(Vec::new(), None).is_empty());
    }
}
