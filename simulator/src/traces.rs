//! Traces: the table of all texts and windows, and the walk that decoding would take over one.

pub mod replay;
pub mod table;
pub mod walk;
