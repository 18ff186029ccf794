//! Published systems beside what the formulas say of them: memory of each method, speed where it
//! can be modelled.

pub mod by_format;

use crate::cost::improvement::ideal_gain;
use crate::error::Result;
use s3d_data::memory::{Load, Memory, Method};
use s3d_data::published::{self, System};
use s3d_data::{Bytes, Drafting, Dtype, Estimate, ModelShape, Plan, PlanResult};

/// Predictors of S3D in this comparison; about what the paper found best.
pub(crate) const PREDICTORS: usize = 4;

/// Heads of Medusa-1 on Vicuna-7B: the paper trains five (arXiv 2401.10774, section 3.1), and the
/// authors' loader sets five although the configuration uploaded with the weights names two
/// (github.com/FasterDecoding/Medusa, `medusa/model/medusa_model.py`).
const MEDUSA_HEADS: usize = 5;

/// The shape of the separate draft model.
const DRAFT_MODEL: &str = "draft model (68M)";

/// Formats that are compared, with their names.
pub const FORMATS: [(Dtype, &str); 3] =
    [(Dtype::F16, "f16"), (Dtype::Q8_0, "q8_0"), (Dtype::Q4_0, "q4_0")];

/// The methods that are compared, by the names of the published rows where there are any.
pub(crate) fn methods() -> Result<Vec<(&'static str, Method)>> {
    let draft = Method::DraftModel { shape: Box::new(shape(DRAFT_MODEL)?), format: Dtype::F16 };
    Ok(vec![
        ("plain decoding", Method::Plain),
        ("Draft & Verify", Method::Plain),
        ("S3D", Method::S3d { predictors: PREDICTORS }),
        ("EAGLE", Method::Eagle),
        ("Medusa", Method::Medusa { predictors: MEDUSA_HEADS }),
        ("draft model", draft),
    ])
}

pub(crate) fn shape(name: &str) -> Result<ModelShape> {
    let row = published::shapes()?.into_iter().find(|row| row.name == name);
    let missing = || s3d_data::Error::invalid(format!("data/published/shapes.csv has no '{name}'"));
    Ok(row.ok_or_else(missing)?.shape())
}

/// Computed peak memory in GiB of a published system at half precision; null for methods that the
/// formulas do not know.
///
/// # Errors
/// A published table that does not parse.
pub fn computed_gib(target: &str, method: &str, context: usize) -> Result<Option<f64>> {
    let known = match method {
        "autoregressive" | "Self-Spec (Draft & Verify)" => Method::Plain,
        "EAGLE v2" => Method::Eagle,
        "Medusa" => Method::Medusa { predictors: MEDUSA_HEADS },
        _ => return Ok(None),
    };
    let load = Load { context, width: PREDICTORS + 1, batch: 1 };
    let computed = Memory::elsewhere(&shape(target)?, Dtype::F16, load, &known);
    Ok(Some(computed.peak_bytes.gib()))
}

/// Whether a published row was measured as those that are compared.
pub fn compared(row: &System) -> bool {
    row.gpu == "A10G" && row.task == "MT-Bench"
}

/// A published memory beside the computed one, in GiB, with each method's increment over plain.
#[derive(Debug, Clone, PartialEq)]
pub struct MemoryCheck {
    /// The published row.
    pub row: System,
    /// Published peak memory.
    pub published_gib: f64,
    /// Computed peak memory.
    pub computed_gib: f64,
    /// Published increment over autoregressive decoding.
    pub published_increment_gib: f64,
    /// Computed increment.
    pub computed_increment_gib: f64,
    /// Published less computed.
    pub rest_gib: f64,
    /// That as a share of the published.
    pub rest_share: f64,
}

/// All published A10G rows on MT-Bench whose method the formulas know.
///
/// # Errors
/// A published table that does not parse.
pub fn published_checks(context: usize) -> Result<Vec<MemoryCheck>> {
    let rows: Vec<_> = published::systems()?.into_iter().filter(compared).collect();
    let plain = |target: &str| {
        let plain = rows.iter().find(|row| row.target == target && row.method == "autoregressive");
        plain.and_then(|row| row.peak_memory_gib)
    };
    let mut checks = Vec::new();
    for row in &rows {
        let computed = computed_gib(&row.target, &row.method, context)?;
        let base = computed_gib(&row.target, "autoregressive", context)?;
        let (Some(computed_gib), Some(base), Some(published_gib), Some(published_base)) =
            (computed, base, row.peak_memory_gib, plain(&row.target))
        else {
            continue;
        };
        checks.push(MemoryCheck {
            row: row.clone(),
            published_gib,
            computed_gib,
            published_increment_gib: published_gib - published_base,
            computed_increment_gib: computed_gib - base,
            rest_gib: published_gib - computed_gib,
            rest_share: (published_gib - computed_gib) / published_gib,
        });
    }
    Ok(checks)
}

/// S3D as fast as a run's acceptance would make it on a published machine, at the ideal cost.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelledPlan {
    /// The run's choice.
    pub plan: Plan,
    /// Computed peak memory.
    pub memory: Bytes,
    /// Tokens per second.
    pub speed: Estimate,
}

/// S3D on LLaMA-2-7B with the acceptance of `choices` that draft simultaneously; `rows` are
/// [`compared`] ones.
///
/// # Errors
/// A published table that does not parse.
pub fn modelled_plans(
    rows: &[System],
    choices: &[&PlanResult],
    context: usize,
) -> Result<Vec<ModelledPlan>> {
    let target = "LLaMA-2-7B";
    let plain = rows.iter().find(|row| row.target == target && row.method == "autoregressive");
    let Some(plain) = plain.and_then(|row| row.tokens_per_s) else { return Ok(Vec::new()) };
    let load = Load { context, width: PREDICTORS + 1, batch: 1 };
    let method = Method::S3d { predictors: PREDICTORS };
    let memory = Memory::elsewhere(&shape(target)?, Dtype::F16, load, &method).peak_bytes;
    let modelled = |choice: &&PlanResult| {
        let tokens = choice.tokens_per_iteration?;
        let gain = ideal_gain(choice.drafting, tokens, choice.skip_ratio, PREDICTORS);
        let speed = gain.map(|times| plain * times);
        let simultaneous = choice.drafting == Drafting::Simultaneous;
        simultaneous.then(|| ModelledPlan { plan: choice.plan.clone(), memory, speed })
    };
    Ok(choices.iter().filter_map(modelled).collect())
}
