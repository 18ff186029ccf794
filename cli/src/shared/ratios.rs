//! What end-to-end blocks say by themselves: each plan beside plain decoding.

use s3d_data::{Plan, Run};
use s3d_simulator::predict::blocks::Blocks;

/// A line for each plan of the first machine that ran beside plain decoding, the fastest first.
pub fn lines(run: &Run) -> Vec<String> {
    let blocks = Blocks::new(run, 0, run.header.seed);
    let others = blocks.plans().into_iter().filter(|(plan, _)| **plan != Plan::Plain);
    let mut rows: Vec<(f64, String)> = others
        .filter_map(|(plan, count)| {
            let speedup = blocks.total_speedup(plan, &blocks.with(plan))?;
            let line =
                format!("plan {plan} is {speedup} times plain decoding, over {count} blocks");
            Some((speedup.value, line))
        })
        .collect();
    rows.sort_by(|a, b| b.0.total_cmp(&a.0));
    rows.into_iter().map(|(_, line)| line).collect()
}
