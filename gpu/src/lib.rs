//! The arithmetic of a pass on any Vulkan device, through `wgpu`. It knows no model.
//!
//! An operation is a file of WGSL with its formula and the bytes it must move (`ops`); matrices
//! stay in the number type of the file and are unpacked in registers (`Matrix`). Calls are recorded
//! and submitted together: a pass is one command buffer, and reading its result is the one time
//! that the host waits (`Gpu`).
//!
//! A row's numbers do not depend on the pass it sits in. Every sum of a row has one order, written
//! down in its WGSL, at every width; what the driver's compiler makes of it is checked when a
//! device is opened (`Gpu::check`).
//!
//! Without the feature `wgpu` the crate is empty.
#![warn(unreachable_pub)]
#![cfg(feature = "wgpu")]

mod adapter;
mod buffer;
mod check;
mod error;
mod gpu;
pub mod layout;
mod matrix;
pub mod ops;
mod probe;
mod rows;
mod shader;
mod stream;

pub use adapter::{Adapter, adapters};
pub use buffer::Buffer;
pub use error::{Error, Result};
pub use gpu::{Gpu, Options};
pub use matrix::Matrix;
pub use probe::Probe;
pub use rows::Rows;
