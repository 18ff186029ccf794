//! The flags beside a `tokenizer.json` that are not followed: the file itself decides what stands
//! around a text, as in transformers 5 (`PreTrainedTokenizerBase._from_pretrained` drops them).

use super::Tokenizer;
use crate::error::Result;
use crate::files::{TEXT_BYTES_MAX, read_text};
use serde_json::Value;
use std::path::Path;

/// What the files of a folder say of begin-of-text and end-of-text tokens against its
/// `tokenizer.json`, a line each.
///
/// # Errors
/// When the tokenizer fails on an empty text.
pub(crate) fn notes(folder: &Path, tokenizer: &Tokenizer) -> Result<Vec<String>> {
    let config = read(&folder.join("tokenizer_config.json"));
    let special = read(&folder.join("special_tokens_map.json"));
    let around = tokenizer.encode("")?;
    let parts = [
        ("add_bos_token", "bos_token", "before", around.first()),
        ("add_eos_token", "eos_token", "after", around.last()),
    ];
    let mut notes = Vec::new();
    for (flag, token, place, found) in parts {
        let Some(wanted) = config.get(flag).and_then(Value::as_bool) else { continue };
        let name = content(config.get(token)).or_else(|| content(special.get(token)));
        let id = name.as_deref().and_then(|name| tokenizer.token_to_id(name));
        let adds = id.is_some() && found == id.as_ref();
        let name = name.unwrap_or_else(|| token.into());
        if wanted != adds {
            let does = if adds { "puts" } else { "does not put" };
            notes.push(format!(
                "{flag} = {wanted} in tokenizer_config.json is not followed: tokenizer.json \
                 {does} '{}' {place} a text, and decides, as in transformers",
                name.chars().take(40).collect::<String>().escape_debug()
            ));
        }
    }
    Ok(notes)
}

/// A small JSON file; nothing where there is none that can be read.
fn read(path: &Path) -> Value {
    let text = read_text(path, TEXT_BYTES_MAX).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// A special token, written as a text or as an object.
fn content(token: Option<&Value>) -> Option<String> {
    let token = token?;
    token.as_str().or_else(|| token.get("content")?.as_str()).map(str::to_string)
}

#[cfg(test)]
mod tests {
    use super::{notes as notes_of, *};
    use serde_json::json;

    #[test]
    fn a_flag_that_the_tokenizer_contradicts_is_noted() {
        // source: transformers 5.24.0 on the same files: with a tokenizer.json the flags change no
        // token
        let dir = tempfile::tempdir().unwrap();
        let chat = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/chat/tokenizer.json");
        let tokenizer = Tokenizer::load(&chat).unwrap();
        let notes = |config: Value, special: Value| {
            std::fs::write(dir.path().join("tokenizer_config.json"), config.to_string()).unwrap();
            std::fs::write(dir.path().join("special_tokens_map.json"), special.to_string())
                .unwrap();
            notes_of(dir.path(), &tokenizer).unwrap()
        };
        assert_eq!(notes(json!({ "add_bos_token": false }), json!({})), Vec::<String>::new());
        let begin = json!({ "bos_token": { "content": "<s>" } });
        let found = notes(json!({ "add_bos_token": true }), begin);
        assert_eq!(found.len(), 1);
        assert!(
            found[0].contains("add_bos_token = true")
                && found[0].contains("does not put '<s>' before")
        );
        let end = notes(json!({ "add_eos_token": true, "eos_token": "</s>" }), json!({}));
        assert!(end[0].contains("does not put '</s>' after"), "{end:?}");
    }
}
