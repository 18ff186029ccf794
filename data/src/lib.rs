//! The nouns of S3D, their units, and how they are written down.
