//! The S3D cost model: from measurements to the choice, pure and exact.

pub mod acceptance;
pub mod cost;
pub mod costs_file;
mod error;
pub mod expected_tokens;
pub mod fit;
pub mod improvement;
pub mod markov;
pub mod memory;
pub mod monte_carlo;
pub mod observed;
pub mod optimize;
pub mod passes;
pub mod replay;
pub mod statistics;
pub mod validate;
pub mod what_if;

pub use acceptance::{AcceptanceCurve, AcceptanceRate, Family};
pub use cost::{Affine, CostCell, CostModel, CostTable, DraftCost, PassLaw, Roofline};
pub use costs_file::CostsFile;
pub use error::{Error, Result};
pub use expected_tokens::{expected_tokens, expected_tokens_equal};
pub use fit::{FitOptions, fit};
pub use optimize::{Choice, PlanEvaluation, Request, choose};
pub use replay::{DraftLength, Replay, ReplayOptions, replay};
pub use what_if::{WhatIf, what_if};
