//! The S3D engine: turns tokens into tokens. It knows neither time nor statistics.
//!
//! A [`ModelConfig`] describes a Llama-style decoder as Hugging Face writes it down.

pub mod config;
pub mod corpus;
mod error;
pub mod kernels;
pub mod tokenizer;
pub mod train;

pub use config::ModelConfig;
pub use error::{Error, Result};
pub use tokenizer::Tokenizer;
