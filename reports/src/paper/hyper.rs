//! Part (a): acceptance and ideal improvement over skip ratio and predictors, by how well the model
//! is trained for skipping.

use super::input::{PaperInput, Section};
use crate::draw::palette::Hue;
use crate::error::Result;
use crate::figure::{Axis, Figure, Mark, Note, Quantity, Series, Stroke};
use crate::table::{Cell, Column, Table};
use s3d_data::{Drafting, SkipRatio};
use s3d_simulator::cost::improvement::ideal_improvement;
use s3d_simulator::{AcceptanceCurve, AcceptanceRate, Family};

/// Training parameters that are compared (`U` in the paper).
const TRAINING: [f64; 5] = [0.5, 1.0, 2.0, 4.0, 8.0];

/// Predictors that are compared.
const PREDICTORS: [usize; 5] = [1, 2, 3, 4, 8];

/// The training parameter of the improvement figure.
const SHOWN: f64 = 4.0;

/// Steps of the skip ratio, of 1.
const STEPS: u32 = 100;

/// The part.
pub(super) fn part(input: &PaperInput) -> Result<Section> {
    Ok(Section {
        title: "Hyper-parameters: how far to skip, how many to draft".into(),
        words: format!(
            "A family of acceptance curves with one shape parameter U, as in the paper; here {}. \
             The \
             ideal improvement factor counts a pass by its layers alone, E / (2 - beta), so it \
             never \
             falls as more tokens are drafted: on a machine, width and falling acceptance set the \
             limit.",
            input.family
        ),
        figures: vec![acceptance(input.family)?, improvement(input.family)?],
        tables: vec![optimum(input.family)?],
    })
}

fn curve(family: Family, training: f64) -> Result<AcceptanceCurve> {
    let parameters: &[f64] =
        if family == Family::Logistic { &[0.8, training] } else { &[training] };
    Ok(AcceptanceCurve::new(family, parameters, 1.0)?)
}

/// The skip ratios that are looked at, 0 to just below 1.
fn ratios() -> Result<Vec<SkipRatio>> {
    let ratios = (0..STEPS).map(|step| SkipRatio::new(f64::from(step) / f64::from(STEPS)));
    Ok(ratios.collect::<s3d_data::Result<_>>()?)
}

fn gain(curve: &AcceptanceCurve, ratio: SkipRatio, predictors: usize) -> f64 {
    let rates: Vec<AcceptanceRate> = vec![curve.rate(ratio); predictors];
    ideal_improvement(Drafting::Simultaneous, ratio, &rates)
}

fn acceptance(family: Family) -> Result<Figure> {
    let x = Axis::new("share of layers skipped (beta)", Quantity::Number).reach(0.0).reach(1.0);
    let y = Axis::new("acceptance rate (alpha)", Quantity::Number).reach(0.0).reach(1.0);
    let title = format!("Acceptance by training parameter U, {family}");
    let mut figure = Figure::new("paper_acceptance", title, x, y).caption(
        "Modelled. Training raises U: acceptance stays high while more layers are skipped.",
    );
    for (index, training) in TRAINING.into_iter().enumerate() {
        let curve = curve(family, training)?;
        let points =
            ratios()?.into_iter().map(|ratio| (ratio.get(), curve.rate(ratio).get())).collect();
        let mark = Mark::Line { points, stroke: Stroke::Thin };
        figure.series.push(Series::new(format!("U = {training}"), Hue::of_index(index), mark));
    }
    Ok(figure)
}

fn improvement(family: Family) -> Result<Figure> {
    let x = Axis::new("share of layers skipped (beta)", Quantity::Number).reach(0.0).reach(1.0);
    let y = Axis::new("ideal improvement factor (times)", Quantity::Number);
    let title = format!("Ideal improvement by tokens drafted, {family} with U = {SHOWN}");
    let mut figure = Figure::new("paper_improvement", title, x, y)
        .caption("Modelled, simultaneous drafting: E / (2 - beta), equal acceptance of all drafts.")
        .note(Note::Level { y: 1.0, text: "plain decoding".into() });
    let curve = curve(family, SHOWN)?;
    for predictors in PREDICTORS {
        let points =
            ratios()?.into_iter().map(|ratio| (ratio.get(), gain(&curve, ratio, predictors)));
        let mark = Mark::Line { points: points.collect(), stroke: Stroke::Thin };
        figure.series.push(Series::new(
            format!("draft {predictors}"),
            Hue::of_predictor(predictors),
            mark,
        ));
    }
    Ok(figure)
}

/// For each training parameter and number of drafts, the best skip ratio.
fn optimum(family: Family) -> Result<Table> {
    let columns = vec![
        Column::new("U"),
        Column::new("tokens drafted"),
        Column::new("best beta"),
        Column::new("acceptance there"),
        Column::unit("ideal improvement", "times"),
    ];
    let mut rows = Vec::new();
    for training in TRAINING {
        let curve = curve(family, training)?;
        for predictors in PREDICTORS {
            let best = ratios()?
                .into_iter()
                .map(|ratio| (ratio, gain(&curve, ratio, predictors)))
                .rev() // of equal gains the smallest ratio: the last maximum is taken
                .max_by(|a, b| a.1.total_cmp(&b.1));
            let Some((ratio, gain)) = best else { continue };
            rows.push(vec![
                Cell::Number(training, 1),
                Cell::Count(predictors as u64),
                Cell::Number(ratio.get(), 2),
                Cell::Number(curve.rate(ratio).get(), 3),
                Cell::Number(gain, 2),
            ]);
        }
    }
    let title = format!("The best skip ratio by training and tokens drafted, {family}: modelled");
    Ok(Table::new("paper_optimum", title, columns).rows(rows))
}
