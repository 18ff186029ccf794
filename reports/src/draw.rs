//! From a figure to ink: layout ([`scene`]), colours, and the files that are written.

pub mod chart;
mod frame;
mod labels;
mod legend;
mod marks;
pub mod palette;
mod panels;
pub(crate) mod scale;
pub mod scene;
