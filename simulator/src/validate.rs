//! How wrong is it? Prediction error on plans that were held out, interval coverage, regret, and
//! the waterfall from ideal to measured speedup (cost model, section 5).

pub mod block_sums;
pub mod control;
mod replay_check;
pub mod waterfall;

pub use crate::choose::regret::{Regret, rivals, sweep_regret};
pub use crate::predict::held_out::{Errors, HeldOutPlan, bookkeeping, held_out};
pub use replay_check::{ReplayCheck, replayed_iterations};
