//! The S3D cost model: from measurements to the choice, pure and exact.
//!
//! S3D (W. Zhong, M. Bharadwaj, arXiv 2405.20314) lets one language model draft and verify: a pass
//! that leaves out a window of middle layers drafts `gamma` tokens, a full pass verifies them. How
//! many layers to skip and how many tokens to draft is a question about *this* model on *this*
//! machine. This crate answers it from observations. It opens no file, reads no clock and draws no
//! entropy: the same input and seed give the same bits on any number of threads.
//!
//! # Tokens
//!
//! An iteration commits the accepted drafts and one token more. With `alpha_i` the probability that
//! draft `i` is accepted given that those before it were,
//!
//! ```text
//! E = 1 + sum_{j=1..gamma} prod_{i<=j} alpha_i         (Leviathan et al., arXiv 2211.17192, eq. 1)
//! ```
//!
//! ([`expected_tokens()`]). The same number comes from walking a recorded trace as decoding would
//! ([`traces::replay`]). The tests hold both against an exact Markov chain, which also knows that
//! the last iteration of a text is cut, and against drawing.
//!
//! # Acceptance
//!
//! `alpha(beta; U)` falls with the share `beta` of layers skipped; `U` says how well the model is
//! trained to do without them ([`tokens::curves`], its only home). Families with one shape
//! parameter and a ceiling are fitted by binomial maximum likelihood and compared by AIC and by
//! skip counts left out ([`mod@fit`]). Intervals resample prompts: tokens of one prompt are not
//! independent.
//!
//! # Cost
//!
//! A pass over `w` tokens at `c` committed tokens takes `T_full(w, c)`; a draft pass the same less
//! the skipped layers ([`cost`]; [`cost::file`] for costs that people type). Measured passes are
//! compared with the plain pass of their own block, so that a drifting machine cancels
//! ([`cost::pass_times`]).
//!
//! # Speedup
//!
//! ```text
//! IF = E (T_full(1, c) + t_step) / (T_draft + T_full(gamma + 1, c) + t_step)
//! ```
//!
//! and in the paper's ideal case, where width costs nothing, `E / (2 - beta)` for simultaneous and
//! `E / (1 + gamma (1 - beta))` for sequential drafting ([`cost::improvement`]; [`cost::what_if`]
//! answers without any run). With simultaneous drafting the ideal factor never falls in `gamma`:
//! only measured widths and falling `alpha_i` give `gamma` an optimum.
//!
//! # The choice, and how wrong it is
//!
//! [`choose()`] predicts every traced plan with an interval, takes the best that fits the memory
//! ([`cost::memory`]), lists what cannot be told apart from it, and says "do not speculate" when
//! nothing beats plain decoding with 95 % confidence. [`validate`] holds plans out, predicts them,
//! and reports error, coverage, regret and the waterfall from ideal to measured speedup.
//!
//! ```
//! use s3d_simulator::{AcceptanceRate, expected_tokens, cost::improvement::ideal_improvement};
//! use s3d_data::{Drafting, SkipRatio};
//! let rates = AcceptanceRate::all(&[0.9, 0.8, 0.7])?;
//! assert!((expected_tokens(&rates) - 3.124).abs() < 1e-12);
//! let half = SkipRatio::new(0.5)?;
//! let gain = ideal_improvement(Drafting::Simultaneous, half, &rates);
//! assert!((gain - 3.124 / 1.5).abs() < 1e-12);
//! # Ok::<(), s3d_simulator::Error>(())
//! ```

#![warn(unreachable_pub)]

pub mod choose;
pub mod cost;
mod error;
pub mod explore;
pub mod fit;
pub mod policy;
pub mod predict;
pub mod statistics;
pub mod tokens;
pub mod traces;
pub mod validate;

pub use choose::{Choice, PlanEvaluation, Request, choose, choose_for_all};
pub use cost::file::CostsFile;
pub use cost::law::{Affine, PassLaw, Roofline};
pub use cost::model::{CostModel, IterationCost};
pub use cost::table::{CostRow, CostTable};
pub use cost::typed::{DraftCost, TypedCosts};
pub use cost::what_if::{WhatIf, what_if};
pub use error::{Error, Result};
pub use fit::{FitOptions, fit};
pub use tokens::curves::{AcceptanceCurve, AcceptanceRate, Family};
pub use tokens::expected::{expected_tokens, expected_tokens_equal};
pub use traces::replay::{DraftLength, Replay, ReplayOptions, replay};
