//! Results in words: the verdict, what the baseline was, and how the numbers were made.

pub mod baseline;
pub mod caveat;
pub mod provenance;
pub mod verdict;
