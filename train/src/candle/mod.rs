//! The same objective on candle's tensors, for cards.

pub(crate) mod backend;
pub(crate) mod batch;
mod frozen;
mod layers;
