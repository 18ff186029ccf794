//! Results to figures, tables and one page.
//!
//! A [`ReportInput`] goes in: records as they are, and numbers that `simulator` computed. Out come
//! figures and tables as data ([`figures::all`], [`tables::all`]), the verdict in words
//! ([`Verdict`]), and files ([`write_report`]). Nothing is computed here that is not needed to
//! place ink, nothing is printed, and nothing here knows an engine: a run made on another machine
//! is reported on any.
//!
//! ```
//! use s3d_reports::format::text;
//! use s3d_reports::table::{Cell, Column, Table};
//! let table = Table::new("t", "Speed", vec![Column::new("plan"), Column::unit("speed", "tokens/s")])
//!     .rows([vec![Cell::text("3..9:4"), Cell::Number(56.1, 1)]]);
//! assert_eq!(text::table(&table, 80), "plan    speed (tokens/s)\n------  ----------------\n3..9:4              56.1\n");
//! ```

#![warn(unreachable_pub)]

pub mod compare;
pub mod draw;
mod error;
pub mod figure;
pub mod figures;
pub mod format;
pub mod input;
pub mod page;
pub mod paper;
pub mod report;
pub mod table;
pub mod tables;
pub mod words;

pub use error::{Error, Result};
pub use figure::Figure;
pub use input::ReportInput;
pub use report::write_report;
pub use table::Table;
pub use words::verdict::Verdict;
