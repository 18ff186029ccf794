//! The methods, geometries and formats that parts of the comparison share.

use crate::error::Result;
use s3d_data::memory::{Load, Memory, Method};
use s3d_data::published;
use s3d_data::{Dtype, ModelShape};

/// Predictors of S3D in this comparison; about what the paper found best.
pub(super) const PREDICTORS: usize = 4;

/// Heads of Medusa-1 on Vicuna-7B: the paper trains five (arXiv 2401.10774, section 3.1), and the
/// authors' loader sets five although the configuration uploaded with the weights names two
/// (github.com/FasterDecoding/Medusa, `medusa/model/medusa_model.py`).
const MEDUSA_HEADS: usize = 5;

/// The shape of the separate draft model.
const DRAFT_MODEL: &str = "draft model (68M)";

/// Formats that are compared, with their names.
pub(super) const FORMATS: [(Dtype, &str); 3] =
    [(Dtype::F16, "f16"), (Dtype::Q8_0, "q8_0"), (Dtype::Q4_0, "q4_0")];

/// The methods that are compared, by the names of the published rows where there are any.
pub(super) fn methods() -> Result<Vec<(&'static str, Method)>> {
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

pub(super) fn shape(name: &str) -> Result<ModelShape> {
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
