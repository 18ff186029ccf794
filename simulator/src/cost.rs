//! What decoding costs: the one question ([`model`]) and its two sources, numbers that someone
//! typed ([`typed`], [`mod@file`]) and passes that were timed ([`measured`], [`pass_times`]);
//! memory; and what figures show.

pub mod derive;
pub mod experts;
pub mod file;
pub mod improvement;
pub mod law;
pub mod measured;
pub mod memory;
pub mod model;
pub mod pass_times;
pub mod summary;
pub mod table;
pub mod typed;
pub mod what_if;
