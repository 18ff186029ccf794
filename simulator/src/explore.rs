//! Questions beside the choice: free sets of sub-layers, early stopping, more training, other
//! engines, trees of drafts.

pub mod early_stop;
pub mod engine;
pub mod hyper_parameters;
pub mod published;
pub mod sublayers;
pub mod training;
pub mod training_points;
pub mod trees;
