//! Closed forms against 50-digit values.
//!
//! source: `closed_forms.py` beside this file wrote `closed_forms.csv` with mpmath at 50 digits.

#![expect(clippy::unwrap_used, reason = "helpers of a test")]

use s3d_data::{Drafting, SkipRatio};
use s3d_simulator::cost::improvement::ideal_improvement;
use s3d_simulator::tokens::expected::expected_tokens;
use s3d_simulator::{AcceptanceCurve, AcceptanceRate, Family, expected_tokens_equal};

const UNEQUAL: [f64; 16] =
    [0.93, 0.81, 0.74, 0.57, 0.9, 0.33, 0.61, 1.0, 0.05, 0.88, 0.7, 0.99, 0.42, 0.66, 0.5, 0.2];

fn rate(value: f64) -> AcceptanceRate {
    AcceptanceRate::new(value).unwrap()
}

fn computed(what: &str, arguments: &[f64]) -> Vec<f64> {
    let at = |beta| SkipRatio::new(beta).unwrap();
    let ideal = |drafting| {
        let rates = vec![rate(arguments[0]); arguments[1] as usize];
        vec![ideal_improvement(drafting, at(arguments[2]), &rates)]
    };
    match what {
        "equal" => {
            let (rate, predictors) = (rate(arguments[0]), arguments[1] as usize);
            let general = expected_tokens(&vec![rate; predictors]);
            vec![expected_tokens_equal(rate, predictors), general]
        }
        "unequal" => {
            let rates = AcceptanceRate::all(&UNEQUAL[..arguments[0] as usize]).unwrap();
            vec![expected_tokens(&rates)]
        }
        "simultaneous" => ideal(Drafting::Simultaneous),
        "sequential" => ideal(Drafting::Sequential),
        family => {
            let family: Family = family.parse().unwrap();
            let curve = AcceptanceCurve::new(family, &arguments[1..], 1.0).unwrap();
            vec![curve.rate(at(arguments[0])).get()]
        }
    }
}

#[test]
fn agree_with_fifty_digits_to_twelve() {
    let mut rows = 0;
    for line in include_str!("closed_forms.csv").lines().skip(1) {
        let mut fields = line.split(',');
        let (what, arguments) = (fields.next().unwrap(), fields.next().unwrap());
        let expected: f64 = fields.next().unwrap().parse().unwrap();
        let arguments: Vec<f64> = arguments.split(' ').map(|a| a.parse().unwrap()).collect();
        for found in computed(what, &arguments) {
            let error = (found - expected).abs();
            // Below the smallest normal number a relative error means nothing.
            let bound = (1e-12 * expected.abs()).max(f64::MIN_POSITIVE);
            assert!(error <= bound, "{line}: found {found:e}");
        }
        rows += 1;
    }
    assert!(rows > 6000, "only {rows} rows: is the table whole?");
}
