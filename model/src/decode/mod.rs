//! Decoding: many texts at once, drafts, their verification, sampling, and traces of both over a
//! known text.

pub(crate) mod batch;
pub(crate) mod draft;
mod drawn_text;
pub(crate) mod forced_acceptance;
pub(crate) mod generate;
pub(crate) mod loop_detector;
pub(crate) mod observer;
pub(crate) mod policy;
pub mod sample;
pub(crate) mod trace_text;
pub mod verify;
