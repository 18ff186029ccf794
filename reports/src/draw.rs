//! From a figure to ink: layout ([`scene`]), colours, and the files that are written.

pub mod chart;
mod frame;
mod labels;
mod legend;
mod marks;
pub mod palette;
mod panels;
mod plot;
pub(crate) mod scale;
pub mod scene;
pub mod shape;
