//! Texts of one's own: files of plain text, or of one JSON object a line.

use s3d_data::{Limit, file, store};
use s3d_model::{Error, Result};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// What files hold, text by text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Texts {
    /// Of every file, its texts: one of a plain file, one a line of a `.jsonl` file.
    pub files: Vec<Vec<String>>,
}

impl Texts {
    /// A text that tells these texts from others, as hexadecimal digits.
    pub fn hash(&self) -> String {
        let mut hash = Sha256::new();
        for text in self.files.iter().flatten() {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// One line of a `.jsonl` file; other keys are passed over.
#[derive(Deserialize)]
struct Line {
    text: Option<String>,
    prompt: Option<String>,
}

/// Reads `files`: `.jsonl` files have `{"text": ...}` or `{"prompt": ...}` on each line, all others
/// are plain text. Both are UTF-8.
///
/// # Errors
/// A file that cannot be read, is not UTF-8, holds no text, or has a line of another form.
pub fn read_texts(files: &[PathBuf]) -> Result<Texts> {
    Ok(Texts { files: files.iter().map(|file| read_file(file)).collect::<Result<_>>()? })
}

fn read_file(path: &Path) -> Result<Vec<String>> {
    let bytes = file::read(path, Limit::CORPUS)?;
    let text = String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        Error::malformed(path, format!("expected UTF-8 text; found something else at byte {at}"))
    })?;
    let is_lines = path.extension().is_some_and(|end| end == "jsonl");
    let texts = if is_lines { lines(&text, path)? } else { vec![text] };
    match texts.iter().all(|text| text.trim().is_empty()) {
        true => Err(Error::malformed(path, "no text in this file")),
        false => Ok(texts),
    }
}

fn lines(text: &str, path: &Path) -> Result<Vec<String>> {
    let lines = store::parse_jsonl::<Line>(text.as_bytes(), path)?.into_iter();
    let text_of = |(number, line): (u64, Line)| {
        line.text.or(line.prompt).ok_or_else(|| {
            let message = format!(
                "line {number}: expected {{\"text\": ...}} or {{\"prompt\": ...}}, found neither"
            );
            Error::malformed(path, message)
        })
    };
    lines.map(text_of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_and_what_is_wrong_with_a_file_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        let plain = write("a.txt", "grüße\n".as_bytes());
        let lines = write("b.jsonl", b"{\"text\": \"x\", \"id\": 1}\n\n{\"prompt\": \"y\"}\n");
        let texts = read_texts(&[plain.clone(), lines]).unwrap();
        assert_eq!(texts.files, [vec!["grüße\n".to_string()], vec!["x".into(), "y".into()]]);
        assert_ne!(texts.hash(), read_texts(&[plain]).unwrap().hash());
        let refuse = |path: PathBuf| read_texts(&[path]).unwrap_err().to_string();
        assert!(refuse(dir.path().join("none.txt")).contains("cannot read"));
        assert!(
            refuse(write("c.txt", &[b'a', 0xff]))
                .contains("UTF-8 text; found something else at byte 1")
        );
        assert!(refuse(write("d.txt", b" \n")).contains("no text"));
        assert!(refuse(write("e.jsonl", b"{\"txt\": \"x\"}\n")).contains("line 1: expected"));
        assert!(refuse(write("f.jsonl", b"{\"text\": \"x\"}\nhello\n")).contains("line 2"));
    }
}
