//! What training buys: the training parameter (`U` in the paper) against training steps, over
//! checkpoints of one model.

use s3d_data::{CurveFit, Drafting, Estimate, Fit, ModelIdentity};
use std::collections::{BTreeMap, BTreeSet};

/// Draft positions that are compared; later ones are reached too rarely to be fitted well.
const COMPARED: usize = 4;

/// A checkpoint, with what was fitted to its run.
#[derive(Debug, Clone, Copy)]
pub struct Checkpoint<'a> {
    /// What it is called.
    pub name: &'a str,
    /// The model.
    pub model: &'a ModelIdentity,
    /// Its curves.
    pub fit: Option<&'a Fit>,
}

/// A checkpoint's training parameter for one draft position.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingPoint<'a> {
    /// The checkpoint.
    pub name: &'a str,
    /// Its training steps.
    pub steps: u64,
    /// How drafts were made.
    pub drafting: Drafting,
    /// The draft position, from 1.
    pub predictor: usize,
    /// The family of the curve.
    pub family: &'static str,
    /// `U`.
    pub training: Estimate,
    /// Acceptance of a draft that skips nothing.
    pub ceiling: Option<Estimate>,
}

/// All points, by drafting, draft position and steps; none unless two checkpoints of one shape
/// differ in their steps.
pub fn training_points<'a>(checkpoints: &[Checkpoint<'a>]) -> Vec<TrainingPoint<'a>> {
    let mut shapes = checkpoints.iter().map(|checkpoint| &checkpoint.model.shape);
    let first = shapes.next();
    let alike = shapes.all(|shape| Some(shape) == first); // checkpoints go by names of their own
    let steps: BTreeSet<_> = checkpoints.iter().filter_map(|c| c.model.training_steps).collect();
    if !alike || steps.len() < 2 {
        return Vec::new();
    }
    let of_drafting = |drafting| of_drafting(checkpoints, drafting);
    let mut points: Vec<_> = Drafting::ALL.into_iter().flat_map(of_drafting).collect();
    points.sort_by_key(|point| (point.drafting, point.predictor, point.steps));
    points
}

/// The points of one drafting, all of one family: a `U` means something within its family alone.
fn of_drafting<'a>(checkpoints: &[Checkpoint<'a>], drafting: Drafting) -> Vec<TrainingPoint<'a>> {
    let Some(family) = family(checkpoints, drafting) else { return Vec::new() };
    let mut points = Vec::new();
    for checkpoint in checkpoints {
        let Some(steps) = checkpoint.model.training_steps else { continue };
        for curve in curves(checkpoint, drafting).filter(|curve| curve.family.name() == family) {
            let Some(training) = parameter(curve, "u") else { continue };
            points.push(TrainingPoint {
                name: checkpoint.name,
                steps,
                drafting,
                predictor: curve.predictor,
                family,
                training,
                ceiling: parameter(curve, "ceiling"),
            });
        }
    }
    points
}

fn parameter(curve: &CurveFit, name: &str) -> Option<Estimate> {
    curve.parameters.iter().find(|known| known.name == name).map(|known| known.estimate)
}

fn curves<'a>(
    checkpoint: &Checkpoint<'a>,
    drafting: Drafting,
) -> impl Iterator<Item = &'a CurveFit> {
    let curves = checkpoint.fit.into_iter().flat_map(|fit| &fit.curves);
    curves.filter(move |curve| curve.drafting == drafting && curve.predictor <= COMPARED)
}

/// Of the families with a `U`, the one that most often fits a draft position of a checkpoint best
/// (AIC).
fn family(checkpoints: &[Checkpoint<'_>], drafting: Drafting) -> Option<&'static str> {
    let mut wins: BTreeMap<&'static str, usize> = BTreeMap::new();
    for checkpoint in checkpoints {
        for predictor in 1..=COMPARED {
            let with_u = curves(checkpoint, drafting)
                .filter(|curve| curve.predictor == predictor && parameter(curve, "u").is_some());
            if let Some(best) = with_u.min_by(|a, b| a.aic.total_cmp(&b.aic)) {
                *wins.entry(best.family.name()).or_default() += 1;
            }
        }
    }
    wins.into_iter().max_by_key(|(_, count)| *count).map(|(family, _)| family)
}
