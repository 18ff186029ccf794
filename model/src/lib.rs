//! The S3D engine: turns tokens into tokens.
