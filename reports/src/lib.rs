//! Results to figures, tables and one page.

pub mod chart;
mod error;
pub mod figure;
pub mod figures;
mod frame;
pub mod input;
mod legend;
mod marks;
pub mod palette;
mod scale;
pub mod scene;

pub use error::{Error, Result};
pub use figure::Figure;
pub use input::{
    AcceptedShare, ComponentTime, GridCell, HeldOutPlan, PassTime, ReportInput, Sample,
    TrainingPoint, WaterfallStep,
};
