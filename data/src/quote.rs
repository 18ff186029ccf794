//! Foreign text (of files, checkpoints, names) as it is shown: short, and without control
//! characters, so that no message fills a terminal or moves its cursor.

use std::fmt::Write;

/// Characters of foreign text that a message quotes.
pub(crate) const QUOTED: usize = 80;
/// Characters of a whole message.
const MESSAGE: usize = 600;

/// At most 80 characters of `text`, control characters escaped; what is cut off is marked by `...`.
///
/// ```
/// assert_eq!(s3d_data::shown("a\u{1b}[2Jb"), "a\\u001b[2Jb");
/// assert_eq!(s3d_data::shown(&"x".repeat(1000)).chars().count(), 83);
/// ```
pub fn shown(text: &str) -> String {
    cut(text, QUOTED)
}

/// A message on one line: other libraries quote a file at whatever length, so it is cut as well.
pub fn message(text: &str) -> String {
    cut(text.trim(), MESSAGE)
}

fn cut(text: &str, most: usize) -> String {
    let mut out = String::new();
    for (place, c) in text.chars().enumerate() {
        if place == most {
            out.push_str("...");
            break;
        }
        push(&mut out, c);
    }
    out
}

/// `text` with its control characters escaped (as JSON does), line ends and tabs kept.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => out.push(c),
            c => push(&mut out, c),
        }
    }
    out
}

/// Control characters, and those that turn the direction of writing around, as `\u001b`.
fn push(out: &mut String, c: char) {
    let turns = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if c.is_control() || turns {
        // Writing to a string does not fail.
        let _ = write!(out, "\\u{:04x}", u32::from(c));
    } else {
        out.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_short_and_moves_no_cursor() {
        assert_eq!(shown("plain"), "plain");
        assert_eq!(shown("a\nb\u{9b}c"), "a\\u000ab\\u009bc");
        assert_eq!(shown("\u{202e}cba"), "\\u202ecba");
        let long = shown(&"é".repeat(10_000_000));
        assert_eq!((long.chars().count(), long.ends_with("...")), (83, true));
        assert!(message(&"x".repeat(89_000_000)).len() < 700);
        assert_eq!(escaped("a\tb\n\u{7f}"), "a\tb\n\\u007f");
    }
}
