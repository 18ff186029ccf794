//! How long acceptance traces take: texts x symmetric windows x both draftings.
//!
//! `cargo bench -p s3d-model --bench trace -- [texts] [threads]`
#![expect(clippy::print_stdout, reason = "a benchmark prints")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use s3d_data::{Drafting, Plan, Skip, SkipWindow};
use s3d_model::{Generation, Limits, LoadOptions, Model, ModelConfig, Result, Silent, trace_text};
use std::time::Instant;

fn main() -> Result<()> {
    let arguments: Vec<usize> = std::env::args().filter_map(|a| a.parse().ok()).collect();
    let argument = |i: usize, default| arguments.get(i).copied().unwrap_or(default);
    let (texts, threads) = (argument(0, 4), argument(1, 2));
    let config = ModelConfig::story();
    let model = Model::random(&config, 1, &LoadOptions { threads, ..LoadOptions::default() })?;
    let skips: Vec<Skip> =
        SkipWindow::all_symmetric(config.num_hidden_layers).into_iter().map(Skip::from).collect();
    let limits = Limits { stop_at_end: false, ..Limits::tokens(128) };
    for text in 0..texts as u32 {
        let prompt: Vec<u32> = (text..text + 100).collect();
        let start = Instant::now();
        let output = Generation::new(&model, &prompt, &Plan::Plain, limits.clone(), &mut Silent)?
            .finish()?;
        print!("{} tokens in {:.2} s;", output.len(), start.elapsed().as_secs_f64());
        for drafting in Drafting::ALL {
            let start = Instant::now();
            trace_text(&model, &prompt, &output, drafting, &skips, 8, false)?;
            print!(" {drafting} {:.2} s", start.elapsed().as_secs_f64());
        }
        println!();
    }
    Ok(())
}
