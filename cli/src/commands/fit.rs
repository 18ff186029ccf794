//! `s3d fit`: curves and cost laws, from what is in a run directory.

use crate::args::FitArgs;
use crate::show;
use s3d_data::{RunDir, store};
use s3d_reports::tables;
use s3d_simulator::FitOptions;

/// Fits, writes `fit.json`, prints the best curves and laws.
pub fn fit(args: &FitArgs) -> anyhow::Result<()> {
    let dir = RunDir::new(&args.dir);
    let run = dir.load()?;
    let options = FitOptions { seed: args.seed, ..FitOptions::default() };
    let fit = s3d_simulator::fit(&run, &options)?;
    store::save_json(&dir.fit(), &fit)?;
    show::tables(&fit, &[tables::curves(&fit), tables::laws(&fit)], &args.output)
}
