//! Conversations as text: the chat template of a checkpoint, in the context that transformers gives
//! it.
//!
//! Templates are programs of strangers. They run in a thread of their own with a stack of known
//! size, within limits of nesting, steps and output; what breaks a limit is an error that names the
//! template.

mod engine;
mod json;
pub(crate) mod now;
mod source;

pub use now::Now;
pub use s3d_data::prompt::Message;

use crate::error::{Error, Result};
use crate::tokenizer::vocabulary::Vocabulary;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Largest file that a template is looked for in: `tokenizer_config.json` of some models lists
/// 100,000 tokens.
const LARGEST_FILE: u64 = 64 << 20;
/// The special tokens that templates may name.
const SPECIAL: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// A Jinja template, with the tokens it may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatTemplate {
    /// The template; or, where several have names and none is `default`, what they are called.
    template: std::result::Result<String, String>,
    /// The texts of special tokens by name, such as `bos_token`; those that the tokenizer has.
    tokens: BTreeMap<String, String>,
    /// Where it came from.
    path: PathBuf,
}

/// How prompts become tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rendering {
    /// Whether texts are what a user says, in the chat template; messages always are.
    pub chat: bool,
    /// The time that templates are told.
    pub now: Now,
}

impl ChatTemplate {
    /// The template of a checkpoint folder: `chat_template.jinja`, or the one in
    /// `tokenizer_config.json`; nothing where there is none.
    ///
    /// # Errors
    /// When a file cannot be read, or `tokenizer_config.json` is no JSON.
    pub fn load(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join("tokenizer_config.json");
        let config = json_of(&path)?;
        let own = folder.join("chat_template.jinja");
        let (template, path) = match read(&own)? {
            Some(template) => (Some(Ok(template)), own),
            None => (template_in(&config["chat_template"]), path),
        };
        let Some(template) = template else { return Ok(None) };
        let map = json_of(&folder.join("special_tokens_map.json"))?;
        let token = |name: &str| {
            let of = |file: &Value| text_of(&file[name]).map(|text| (name.to_string(), text));
            of(&config).or_else(|| of(&map))
        };
        let tokens = SPECIAL.iter().filter_map(|name| token(name)).collect();
        Ok(Some(Self { template, tokens, path }))
    }

    /// The template of a GGUF file at `path`, if it has one.
    pub(crate) fn of_vocabulary(vocabulary: &Vocabulary, path: &Path) -> Option<Self> {
        let template = Ok(vocabulary.chat_template.clone()?);
        let named = [("bos_token", vocabulary.begin), ("eos_token", vocabulary.end)];
        let token = |(name, id): (&str, Option<u32>)| {
            let text = vocabulary.tokens.get(id? as usize)?;
            Some((name.to_string(), text.clone()))
        };
        let tokens = named.into_iter().filter_map(token).collect();
        Some(Self { template, tokens, path: path.to_path_buf() })
    }

    /// A template that was written in `path`, with the texts of its special tokens by name.
    pub fn new(template: impl Into<String>, tokens: BTreeMap<String, String>, path: &Path) -> Self {
        Self { template: Ok(template.into()), tokens, path: path.to_path_buf() }
    }

    /// The text of a conversation, up to where the assistant's answer begins.
    ///
    /// # Errors
    /// When the template is damaged, breaks a limit or refuses the conversation.
    pub fn render(&self, messages: &[Message], now: Now) -> Result<String> {
        let fail = |message: String| {
            let message = format!("the chat template failed: {}", first_words(&message));
            Error::malformed(&self.path, message)
        };
        let template = self.template.as_deref().map_err(|names| {
            fail(format!("expected a template named 'default' among several, found {names}"))
        })?;
        engine::render(template, &self.tokens, messages, now).map_err(fail)
    }
}

/// A template given as text, or as the one named `default` in a list; else the names of the list.
fn template_in(value: &Value) -> Option<std::result::Result<String, String>> {
    if let Some(text) = value.as_str() {
        return Some(Ok(text.to_string()));
    }
    let all = value.as_array()?;
    let default = all.iter().find(|entry| entry["name"] == "default");
    let names = || {
        let names: Vec<String> = all.iter().map(|entry| entry["name"].to_string()).collect();
        names.join(", ")
    };
    Some(default.and_then(|entry| text_of(&entry["template"])).ok_or_else(names))
}

/// A text, or the `content` of an object.
fn text_of(value: &Value) -> Option<String> {
    value.as_str().or(value["content"].as_str()).map(str::to_string)
}

/// The value of a JSON file; null where there is none.
fn json_of(path: &Path) -> Result<Value> {
    match read(path)? {
        None => Ok(Value::Null),
        Some(text) => {
            serde_json::from_str(&text).map_err(|e| Error::malformed(path, e.to_string()))
        }
    }
}

/// The text of a regular file of a bearable size, if there is one.
fn read(path: &Path) -> Result<Option<String>> {
    let known = match std::fs::metadata(path) {
        Ok(known) => known,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::io("read", path, e)),
    };
    if !known.is_file() || known.len() > LARGEST_FILE {
        let message = format!("expected a regular file of at most {LARGEST_FILE} bytes");
        return Err(Error::malformed(path, message));
    }
    std::fs::read_to_string(path).map(Some).map_err(|e| Error::io("read", path, e))
}

/// What a template says is quoted: at most 300 characters, and no control characters.
fn first_words(text: &str) -> String {
    const MOST: usize = 300;
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(MOST).map(clean).collect()
}

#[cfg(test)]
mod tests;
