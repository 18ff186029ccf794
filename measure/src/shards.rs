//! One request divided among several processes: its words, and the merge of their results.

pub mod merge;
pub(crate) mod words;
