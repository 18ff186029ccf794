//! Results to figures, tables and one page.
