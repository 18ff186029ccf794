//! Part (a): acceptance and ideal improvement over skip ratio and predictors, by how well the model
//! is trained for skipping.

use super::input::{PaperInput, Section};
use crate::draw::palette::Hue;
use crate::error::Result;
use crate::figure::{Axis, Figure, Mark, Note, Quantity, Series, Stroke};
use crate::table::{Cell, Column, Table};
use s3d_simulator::Family;
use s3d_simulator::explore::hyper_parameters::IdealCurve;

/// Training parameters that are compared (`U` in the paper).
const TRAINING: [f64; 5] = [0.5, 1.0, 2.0, 4.0, 8.0];

/// Predictors that are compared.
const PREDICTORS: [usize; 5] = [1, 2, 3, 4, 8];

/// The training parameter of the improvement figure.
const SHOWN: f64 = 4.0;

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

fn acceptance(family: Family) -> Result<Figure> {
    let x = Axis::new("share of layers skipped (beta)", Quantity::Number).reach(0.0).reach(1.0);
    let y = Axis::new("acceptance rate (alpha)", Quantity::Number).reach(0.0).reach(1.0);
    let title = format!("Acceptance by training parameter U, {family}");
    let mut figure = Figure::new("paper_acceptance", title, x, y).caption(
        "Modelled. Training raises U: acceptance stays high while more layers are skipped.",
    );
    for (index, training) in TRAINING.into_iter().enumerate() {
        let curve = IdealCurve::new(family, training)?;
        let points = curve.points.iter().map(|(ratio, rate)| (ratio.get(), rate.get())).collect();
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
    let curve = IdealCurve::new(family, SHOWN)?;
    for predictors in PREDICTORS {
        let gains = curve.improvement(predictors).into_iter();
        let points = gains.map(|(ratio, gain)| (ratio.get(), gain));
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
        let curve = IdealCurve::new(family, training)?;
        for predictors in PREDICTORS {
            let Some(best) = curve.optimum(predictors) else { continue };
            rows.push(vec![
                Cell::Number(training, 1),
                Cell::Count(predictors as u64),
                Cell::Number(best.ratio.get(), 2),
                Cell::Number(best.rate.get(), 3),
                Cell::Number(best.gain, 2),
            ]);
        }
    }
    let title = format!("The best skip ratio by training and tokens drafted, {family}: modelled");
    Ok(Table::new("paper_optimum", title, columns).rows(rows))
}
