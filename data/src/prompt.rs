//! Prompts: one JSON object with `text` (and `task`, `id`) a line.

use crate::{Error, Result, store};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::path::Path;

/// A text to continue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prompt {
    /// Its name; `p1`, `p2`, ... by line where none is given.
    #[serde(default)]
    pub id: String,
    /// The workload it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// The text.
    pub text: String,
}

/// Reads prompts, at most `count` of them.
///
/// # Errors
/// A malformed line, an empty text, a repeated id, a file without prompts.
pub fn load_prompts(path: &Path, count: Option<usize>) -> Result<Vec<Prompt>> {
    let mut prompts: Vec<Prompt> = store::load_jsonl(path)?;
    prompts.truncate(count.unwrap_or(usize::MAX));
    if prompts.is_empty() {
        return Err(Error::malformed(path, "no prompts; expected {\"text\": ...} on each line"));
    }
    let mut seen = HashSet::new();
    for (index, prompt) in prompts.iter_mut().enumerate() {
        if prompt.id.is_empty() {
            prompt.id = format!("p{}", index + 1);
        }
        if prompt.text.is_empty() {
            return Err(Error::malformed(path, format!("prompt '{}' has no text", prompt.id)));
        }
        if !seen.insert(prompt.id.clone()) {
            return Err(Error::malformed(path, format!("two prompts are named '{}'", prompt.id)));
        }
    }
    Ok(prompts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_are_named_by_line_and_checked() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "{\"text\":\"a\"}\n\n{\"text\":\"b\",\"task\":\"sum\"}\n")
            .unwrap();
        let prompts = load_prompts(file.path(), None).unwrap();
        assert_eq!((prompts[0].id.as_str(), prompts[1].id.as_str()), ("p1", "p2"));
        for bad in [
            "",
            "{\"text\":\"\"}",
            "{\"txt\":\"a\"}",
            "{\"id\":\"x\",\"text\":\"a\"}\n{\"id\":\"x\",\"text\":\"b\"}",
        ] {
            std::fs::write(file.path(), bad).unwrap();
            assert!(load_prompts(file.path(), None).is_err(), "{bad}");
        }
    }
}
