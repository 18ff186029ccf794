//! Starts of a process that decode end-to-end blocks.
//!
//! Where a process puts weights and buffers moves its speed by some per cent, for as long as it
//! lives. So blocks of one start agree better with each other than with those of another start, and
//! a run that never starts again does not see how far it may be off. Blocks therefore take turns
//! between this process and children that load the same model (`turns`). A child reads orders and
//! writes answers, a line of JSON each: [`wire`]. How much the starts differ is in `run.json`.

pub(crate) mod child;
pub(crate) mod spread;
pub(crate) mod turns;
pub mod wire;
