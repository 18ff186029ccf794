//! Training: a Llama-style model that learns its text and, at the same time, to draft with layers
//! skipped.
//!
//! The S3D objective as the engine will use it. Every sample is a stretch of text that goes through
//! all layers with the ordinary next-token loss, plus draft groups at random places: the last real
//! token and the mask embeddings after it, which go round a random window of layers, attend to the
//! full-depth keys of the text before them, and predict the tokens to come. Because windows vary,
//! one checkpoint serves every skip ratio.
//!
//! What is trained follows from the model: without masks the text alone, with adapters they and the
//! masks ([`s3d_model::config::Part`]), else all weights. Drafts learn the text, or, with adapters,
//! what the model itself would choose there ([`DraftTargets`]). A run begins from nothing, on the
//! corpus of this crate, or from a checkpoint, on texts of one's own ([`Finetune`]).
//!
//! Forward and backward are written out over plain slices (`cpu`), one thread per sample; gradients
//! of a fixed number of lanes are summed in a fixed order, so the result does not depend on the
//! number of threads. On a card ([`Trainer::move_to`]) the same steps are made of candle's tensors.

#![warn(unreachable_pub)]

mod candle;
mod checkpoint;
pub mod corpus;
mod cpu;
mod data;
mod draft_listing;
mod evaluate;
mod finetune;
mod layout;
mod recipe;
mod targets;
#[cfg(test)]
mod tests;
mod trainer;

pub use data::learn_tokenizer::learn_tokenizer;
pub use data::questions::ask_questions;
pub use data::self_written::{Writing, Written, read_written, texts_hash, write_texts};
pub use data::texts::{Texts, read_texts};
pub use data::token_counts::{DraftTokens, TokenCounts};
pub use draft_listing::{Counted, DraftListing};
pub use evaluate::{GreedyText, GreedyTrace, HeldOut, walk};
pub use finetune::{Corpus, Finetune};
pub use recipe::{Practice, Stage, TrainConfig, Windows};
pub use targets::{DraftLoss, DraftTargets};
pub use trainer::{StepReport, Trainer};
