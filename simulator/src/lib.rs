//! The S3D cost model: from measurements to the choice, pure and exact.
