//! Text in cells of CSV files. A spreadsheet runs what begins with `=`, `+`, `-` or `@`: such text
//! is written behind an apostrophe, and read without it. Numbers stay as they are.

use std::borrow::Cow;

/// Whether a spreadsheet may take `text`, which may be guarded already, for more than text.
fn is_risky(text: &str) -> bool {
    let inner = text.trim_start_matches('\'');
    inner.starts_with(['=', '+', '-', '@', '\t', '\r'])
}

/// A cell as it is written.
///
/// ```
/// use s3d_data::cells::{guarded, unguarded};
/// assert_eq!(guarded("=1+1"), "'=1+1");
/// assert_eq!(guarded("-1.5"), "-1.5");
/// assert_eq!(unguarded("'=1+1"), "=1+1");
/// ```
pub fn guarded(text: &str) -> Cow<'_, str> {
    match is_risky(text) && text.parse::<f64>().is_err() {
        true => format!("'{text}").into(),
        false => text.into(),
    }
}

/// A cell as it was before it was written.
pub fn unguarded(text: &str) -> &str {
    match text.strip_prefix('\'') {
        Some(inner) if is_risky(text) => inner,
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_text_reads_back_and_none_begins_a_formula(text in "[-'=+@ a1.e]{0,6}") {
            let written = guarded(&text).into_owned();
            prop_assert_eq!(unguarded(&written), text.as_str());
            let runs = written.starts_with(['=', '+', '-', '@']);
            prop_assert!(!runs || written.parse::<f64>().is_ok());
        }
    }
}
