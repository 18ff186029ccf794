//! How closely the headline is known, and what became of `--precision`.

use crate::shared::terminal;
use s3d_data::{Estimate, Recommendation, Share};

/// Half the width of an interval over the value in it.
pub fn half_width(estimate: &Estimate) -> Option<f64> {
    let (low, high) = estimate.interval()?;
    Some((high - low) / (2.0 * estimate.value)).filter(|width| width.is_finite())
}

/// Says whether the headline is known as closely as was asked for, or the time was over before.
pub fn say(recommendation: &Recommendation, asked: f64) {
    terminal::note(&outcome(recommendation, asked));
}

fn outcome(recommendation: &Recommendation, asked: f64) -> String {
    let choice = recommendation.choice.as_ref();
    let speedup = choice.and_then(|choice| choice.measured_speedup.or(choice.predicted_speedup));
    let (found, asked_for) = (speedup.as_ref().and_then(half_width), Share(asked));
    match found {
        Some(found) if found <= asked => format!(
            "--precision: reached, the speedup is known to within {}; {asked_for} were asked for",
            Share(found)
        ),
        Some(found) => format!(
            "--precision: not reached when the time was spent, the speedup is known to within {}; \
             {asked_for} were asked for. With a longer --time-budget the same command measures on",
            Share(found)
        ),
        None => format!(
            "--precision: no speedup was measured, {asked_for} were asked for. With a longer \
             --time-budget the same command measures on"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_widths_are_shares_of_the_value() {
        // source: 2.5 is 25 % above 2, 1.5 as much below
        assert_eq!(half_width(&Estimate::new(2.0, 1.5, 2.5)), Some(0.25));
        assert_eq!(half_width(&Estimate::alone(2.0)), None);
        assert_eq!(half_width(&Estimate::new(0.0, 0.0, 0.0)), None);
    }
}
