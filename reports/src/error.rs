//! What can go wrong when results are drawn and written.

/// The one error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error(transparent)]
    Data(#[from] s3d_data::Error),
    /// The cost model refused its input.
    #[error(transparent)]
    Simulator(#[from] s3d_simulator::Error),
    /// The drawing library refused a shape.
    #[error("cannot draw a figure: {0}; the tables of the report hold the same numbers")]
    Drawing(String),
    /// The built-in font did not load.
    #[error("cannot read the built-in font DejaVu Sans; rebuild the program from a clean checkout")]
    Font,
    /// A picture could not be encoded.
    #[error("cannot encode a picture as PNG: {0}")]
    Png(#[from] png::EncodingError),
    /// A template and what it is given do not fit.
    #[error(
        "cannot fill the template of a page: {0}; the tables of the report hold the same numbers"
    )]
    Template(#[from] minijinja::Error),
}

impl Error {
    /// An [`Error::Drawing`] in the drawing library's words.
    pub(crate) fn drawing(error: &dyn std::fmt::Display) -> Self {
        Self::Drawing(error.to_string())
    }
}

/// The result of this crate's fallible functions.
pub type Result<T> = std::result::Result<T, Error>;
