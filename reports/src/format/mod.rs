//! The formats of a table, one small file each; and figures' data as CSV.

pub mod csv;
pub mod html;
pub mod markdown;
pub mod text;
