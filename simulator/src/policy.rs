//! Drafts that adapt: how many tokens to draft next, given what was accepted so far.
//!
//! A run chooses one number of drafts for all texts. Texts differ, and so do their parts. So each
//! text starts from the run's choice and then takes, before every iteration, the number `k` with
//! the most expected tokens for its time,
//!
//! ```text
//! k* = argmax over k of (1 + sum_{j<=k} prod_{i<=j} a_i) / c_k,    c_0 = 1
//! ```
//!
//! where `c_k` is the cost of an iteration with `k` drafts in plain steps, as the run measured it
//! ([`CostByDrafts`]), and `a_i` the posterior mean of the acceptance rate of draft `i` given that
//! those before it were accepted ([`Adaptive`]). [`replay_policy`] says what that would have gained
//! on the texts of the run.

mod adaptive;
mod compared;
mod law;
mod ratio;
mod replayed;

pub use adaptive::{Adaptive, Settings};
pub use compared::{PolicyComparison, PolicyMeasured, compare_policy};
pub use law::{CostByDrafts, acceptance};
pub(crate) use ratio::ratio;
pub use replayed::{PolicyReplay, PolicyRow, TextReplay, of_run, replay_policy};
