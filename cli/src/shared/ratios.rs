//! What end-to-end blocks say: each plan beside plain decoding.

use s3d_data::Run;
use s3d_simulator::Request;
use s3d_simulator::predict::plans_alone::{MeasuredPlan, measured_plans};

/// A line for each plan of the first machine that ran beside plain decoding, the fastest first.
///
/// # Errors
/// A trace that contradicts itself.
pub fn lines(run: &Run) -> s3d_simulator::Result<Vec<String>> {
    let plans = measured_plans(run, &Request::of(&run.header))?;
    Ok(plans.iter().map(MeasuredPlan::words).collect())
}
