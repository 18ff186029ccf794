//! Conversations as text: the chat template of a checkpoint.

use crate::{Error, Result};
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, context};
use serde::Serialize;
use serde_json::Value;
use std::path::Path;

/// A Jinja template, with the tokens it may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatTemplate {
    pub(crate) template: String,
    /// The text of the begin-of-text token.
    pub(crate) begin: String,
    /// The text of the end-of-text token.
    pub(crate) end: String,
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// What was said.
    pub content: String,
}

impl Message {
    /// What a user says.
    pub fn user(content: impl Into<String>) -> Self {
        Self { role: "user".into(), content: content.into() }
    }
}

/// A template works for at most this many steps; a damaged one may never end.
const FUEL: u64 = 10_000_000;

impl ChatTemplate {
    /// The template of a checkpoint folder: `chat_template.jinja`, or the one in
    /// `tokenizer_config.json`; nothing where there is none.
    ///
    /// # Errors
    /// When a file cannot be read, or `tokenizer_config.json` is no JSON.
    pub fn load(folder: &Path) -> Result<Option<Self>> {
        let own = read(&folder.join("chat_template.jinja"))?;
        let path = folder.join("tokenizer_config.json");
        let config: Value = match read(&path)? {
            None => Value::Null,
            Some(text) => {
                serde_json::from_str(&text).map_err(|e| Error::malformed(&path, e.to_string()))?
            }
        };
        let token = |key: &str| {
            let token = &config[key];
            token.as_str().or(token["content"].as_str()).unwrap_or_default().to_string()
        };
        let (begin, end) = (token("bos_token"), token("eos_token"));
        let template = own.or_else(|| template_in(&config["chat_template"]));
        Ok(template.map(|template| Self { template, begin, end }))
    }

    /// The text of a conversation, up to where the assistant's answer begins.
    ///
    /// # Errors
    /// When the template is damaged or refuses the conversation.
    pub fn render(&self, messages: &[Message]) -> Result<String> {
        let fail = |e: minijinja::Error| Error::invalid(format!("the chat template failed: {e:#}"));
        let mut jinja = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        jinja.set_syntax(syntax.map_err(fail)?);
        jinja.set_fuel(Some(FUEL));
        jinja.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        jinja.add_function(
            "raise_exception",
            |message: String| -> std::result::Result<String, _> {
                Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
            },
        );
        let template = jinja.template_from_str(&self.template).map_err(fail)?;
        let turn = |m: &Message| {
            let pairs = [("role", m.role.as_str()), ("content", m.content.as_str())];
            minijinja::Value::from_pairs(pairs)
        };
        let turns: Vec<minijinja::Value> = messages.iter().map(turn).collect();
        let values = context! {
            messages => turns, add_generation_prompt => true, bos_token => self.begin.as_str(), eos_token => self.end.as_str(),
        };
        template.render(values).map_err(fail)
    }
}

/// A template given as text, or as the one named `default` in a list.
fn template_in(value: &Value) -> Option<String> {
    let named = |entry: &&Value| entry["name"] == "default";
    let inner = value.as_array().and_then(|all| all.iter().find(named));
    let text = value.as_str().or(inner.and_then(|entry| entry["template"].as_str()));
    text.map(str::to_string)
}

/// The text of a file, if there is one.
fn read(path: &Path) -> Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io("read", path, e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(template: &str) -> Result<String> {
        let template =
            ChatTemplate { template: template.into(), begin: "<s>".into(), end: "".into() };
        template.render(&[Message::user("hello")])
    }

    #[test]
    fn a_template_sees_the_conversation() {
        assert_eq!(render("{{ bos_token }}{{ messages[0].content.upper() }}").unwrap(), "<s>HELLO");
    }

    #[test]
    fn a_template_that_fails_or_never_ends_says_so() {
        for (template, word) in [
            ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
            ("{% for", "chat template"),
            (
                "{% for i in range(99999) %}{% for j in range(99999) %}x{% endfor %}{% endfor %}",
                "fuel",
            ),
        ] {
            let error = render(template).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn the_default_of_several_templates_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(ChatTemplate::load(dir.path()).unwrap(), None);
        let text = r#"{"bos_token":{"content":"<b>"},"chat_template":[{"name":"tool","template":"t"},{"name":"default","template":"d"}]}"#;
        std::fs::write(dir.path().join("tokenizer_config.json"), text).unwrap();
        let template = ChatTemplate::load(dir.path()).unwrap().unwrap();
        assert_eq!((template.template.as_str(), template.begin.as_str()), ("d", "<b>"));
    }
}
