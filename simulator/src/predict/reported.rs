//! The one speedup that is reported of a plan that was run end to end.
//!
//! Tokens per iteration over all traced texts, by exact replay, over what an iteration costs in
//! plain steps, by all end-to-end blocks together ([`Additive`]). Texts differ in speedup far more
//! than costs do, and replay knows every text that was traced, not only those of the plan's own
//! blocks; every plan of a block tells the machine's state there. The interval holds both doubts:
//! texts are drawn as clusters, and so are blocks.

use crate::predict::additive::Additive;
use crate::predict::prediction::{Pool, Texts, TokenDraws};
use crate::statistics::interval;
use s3d_data::{Estimate, Plan};

/// Blocks below which a plan has no measured speedup.
pub const ENOUGH_BLOCKS: usize = 8;
/// Texts below which a plan has no measured speedup.
pub(crate) const ENOUGH_TEXTS: usize = 4;

/// A plan as its end-to-end blocks and the traces know it.
#[derive(Debug, Clone)]
pub struct Reported {
    /// Speedup over plain decoding.
    pub speedup: Estimate,
    /// The same in each draw.
    pub draws: Vec<f64>,
}

/// Speedup of `plan` by all blocks in `timed` and all `texts`; nothing where either is too few.
pub fn reported(plan: &Plan, texts: &Texts, timed: &Additive<'_>, pool: &Pool) -> Option<Reported> {
    if timed.blocks(plan) < ENOUGH_BLOCKS {
        return None;
    }
    enough(plan, &texts.of(plan.draft()?)?, timed, pool)
}

/// The same of tokens per iteration that are known already.
pub(crate) fn enough(
    plan: &Plan,
    tokens: &TokenDraws,
    timed: &Additive<'_>,
    pool: &Pool,
) -> Option<Reported> {
    let few = timed.blocks(plan) < ENOUGH_BLOCKS || tokens.clusters < ENOUGH_TEXTS;
    if few { None } else { speedup_of(plan, tokens, timed, pool) }
}

/// Speedup of `plan` however few blocks and texts there are; nothing where its cost is not known.
pub(crate) fn speedup_of(
    plan: &Plan,
    tokens: &TokenDraws,
    timed: &Additive<'_>,
    pool: &Pool,
) -> Option<Reported> {
    let (log, _) = timed.log_cost(plan)?;
    let costs = timed.log_draws(plan, pool)?;
    let draws: Vec<f64> =
        tokens.draws.iter().zip(costs).map(|(tokens, cost)| tokens / cost.exp()).collect();
    let value = tokens.value / log.exp();
    Some(Reported { speedup: interval(value, draws.clone(), tokens.clusters), draws })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predict::additive::StartSpread;
    use crate::traces::table::TraceTable;
    use s3d_data::{Seconds, ThroughputSample, Trace};

    fn trace(id: usize, accepted: usize) -> Trace {
        let json = format!(
            "{{\"drafting\":\"simultaneous\",\"skip_start\":3,\"skip_end\":9,\"gamma_max\":4,\"id\":\"t{id}\",\
             \"task\":\"x\",\"prompt\":4,\"accepted\":{:?}}}",
            vec![accepted; 40]
        );
        serde_json::from_str(&json).unwrap()
    }

    fn sample(plan: &str, block: usize, seconds_per_iteration: f64) -> ThroughputSample {
        ThroughputSample {
            machine: 0,
            id: format!("t{}", block % 6),
            plan: plan.parse().unwrap(),
            block,
            order: 0,
            copy: 0,
            tokens: 101,
            iterations: if plan == "plain" { 100 } else { 40 },
            prompt_seconds: Seconds::ZERO,
            draft_seconds: Seconds::ZERO,
            verify_seconds: Seconds::ZERO,
            cpu_seconds: None,
            start: 0,
            seconds: Seconds(seconds_per_iteration * if plan == "plain" { 100.0 } else { 40.0 }),
            batch: 1,
        }
    }

    /// source: by hand. Every text accepts 3 drafts a time: 4 tokens per iteration (39 tokens after
    /// the first in 10 iterations: 3.9); an iteration costs 1.6 plain steps in every block,
    /// whatever the block's speed.
    #[test]
    fn tokens_by_all_texts_over_the_cost_by_all_blocks() {
        let traces: Vec<Trace> = (0..6).map(|id| trace(id, 3)).collect();
        let table = TraceTable::new(&traces).unwrap();
        let texts = Texts::new(&table, 4, 200, 1);
        let pool = Pool::new(1, 200);
        let blocks = |count: usize| {
            let one = |b: usize| {
                let state = 1.0 + 0.3 * (b % 3) as f64;
                let noise = if b.is_multiple_of(2) { 1.01 } else { 1.0 / 1.01 };
                [sample("plain", b, state), sample("3..9:4", b, 1.6 * state * noise)]
            };
            (0..count).flat_map(one).collect::<Vec<_>>()
        };
        let plan = "3..9:4".parse().unwrap();
        let rows = blocks(16);
        let found =
            reported(&plan, &texts, &Additive::fit(rows.iter(), StartSpread::NONE), &pool).unwrap();
        assert!((found.speedup.value - 3.9 / 1.6).abs() < 1e-9, "{:?}", found.speedup);
        let (low, high) = found.speedup.ends();
        let half = (high - low) / 2.0 / found.speedup.value;
        // Generations scatter by 0.7 % around plan and block: the cost is known to 1.96 x 0.7 % x
        // sqrt(2 / 16), about.
        assert!((0.003..0.012).contains(&half), "{half}");
        let few = blocks(7);
        assert!(
            reported(&plan, &texts, &Additive::fit(few.iter(), StartSpread::NONE), &pool).is_none(),
            "7 blocks"
        );
        let table = TraceTable::new(&traces[..3]).unwrap();
        let texts = Texts::new(&table, 4, 200, 1);
        assert!(
            reported(&plan, &texts, &Additive::fit(rows.iter(), StartSpread::NONE), &pool)
                .is_none(),
            "3 texts"
        );
    }
}
