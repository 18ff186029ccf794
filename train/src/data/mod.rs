//! What is trained on: texts of one's own, texts that the model wrote, and samples cut out of them.

pub(crate) mod learn_tokenizer;
pub(crate) mod line_file;
pub(crate) mod questions;
pub(crate) mod samples;
pub(crate) mod self_written;
pub(crate) mod texts;
pub(crate) mod token_counts;
