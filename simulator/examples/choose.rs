//! Which middle layers to skip and how many tokens to draft, from numbers alone:
//! `cargo run --release -p s3d-simulator --example choose`

use s3d_data::{Drafting, Predictors, SkipRatio};
use s3d_simulator::cost::what_if::{PlanAnswer, Rates, map};
use s3d_simulator::{AcceptanceCurve, Affine, DraftCost, Family, PassLaw, Result, TypedCosts};
use std::io::Write;

/// A pass of 4 ms, 2 % more for each further token, 1 us for each cached one.
fn full() -> Result<PassLaw> {
    Ok(PassLaw::Affine(Affine::new(3.9e-3, 8e-5, 1e-6)?))
}

fn costs(skip_ratio: SkipRatio) -> Result<TypedCosts> {
    let draft = DraftCost::ShareOfFull(1.0 - 0.95 * skip_ratio.get());
    Ok(TypedCosts { full: full()?, draft, step: 5e-5 })
}

fn show(cell: &PlanAnswer) -> String {
    let PlanAnswer { drafting, skipped, predictors, answer, .. } = cell;
    let (gain, tokens) = (answer.improvement_factor, answer.expected_tokens);
    format!(
        "{drafting}, {skipped} of 32 layers, {predictors} drafts: {gain:.2}x, {tokens:.2} a pass"
    )
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    // The first predictor reaches everything when nothing is skipped, masks less.
    let curves: Vec<AcceptanceCurve> = [1.0, 0.85, 0.75, 0.65]
        .into_iter()
        .map(|ceiling| AcceptanceCurve::new(Family::Superellipse, &[4.0], ceiling))
        .collect::<Result<_>>()?;
    let rates = Rates::Curves(curves);
    for drafting in Drafting::ALL {
        let cells = map(32, Predictors::new(8)?, drafting, &rates, 256, costs)?;
        writeln!(std::io::stdout(), "{}", show(&cells[0]))?;
    }
    Ok(())
}
