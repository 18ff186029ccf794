//! Runs a template: the environment that transformers gives it, in a thread of its own, within
//! limits.

use super::Message;
use super::json;
use super::json::is_namespace;
use super::now::Now;
use super::source;
use super::source::PLAIN;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::ValueKind;
use minijinja::{Environment, Error, ErrorKind, State, Value};
use std::collections::BTreeMap;

/// Steps of a template, each of an instruction or of 64 bytes: a damaged one may never end.
const FUEL: u64 = 2_000_000;
/// Longest text of a conversation, in bytes.
const LONGEST: usize = 4 << 20;
/// Stack of the thread. The limits of nesting in `source.rs` keep what is needed far below.
const STACK: usize = 64 << 20;
/// Deepest nesting of what a namespace holds.
const DEEPEST: usize = 100;

/// The text of `messages` by `template`.
///
/// # Errors
/// What is wrong with the template, in words.
pub(super) fn render(
    template: &str,
    tokens: &BTreeMap<String, String>,
    messages: &[Message],
    now: Now,
) -> Result<String, String> {
    let work = || render_here(template, tokens, messages, now);
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("chat template".into()).stack_size(STACK);
        let thread =
            thread.spawn_scoped(scope, work).map_err(|e| format!("no thread to run it: {e}"))?;
        thread.join().unwrap_or_else(|_| Err("it broke the template engine".into()))
    })
}

fn render_here(
    template: &str,
    tokens: &BTreeMap<String, String>,
    messages: &[Message],
    now: Now,
) -> Result<String, String> {
    let words = |e: Error| format!("{e:#}");
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    let syntax = syntax.map_err(words)?;
    let source = source::prepare(template, &syntax)?;
    let mut jinja = environment(now);
    jinja.set_syntax(syntax);
    let template = jinja.template_from_str(&source).map_err(words)?;
    let text = template.render(context(tokens, messages)).map_err(words)?;
    if text.len() > LONGEST {
        return Err(format!("expected a text of at most {LONGEST} bytes, found {}", text.len()));
    }
    Ok(text)
}

/// What a template sees: the conversation, that there are neither tools nor documents, and special
/// tokens.
fn context(tokens: &BTreeMap<String, String>, messages: &[Message]) -> Value {
    let turn = |message: &Message| {
        let pairs = [("role", message.role.as_str()), ("content", message.content.as_str())];
        Value::from_pairs(pairs)
    };
    let turns: Vec<Value> = messages.iter().map(turn).collect();
    let fixed = [
        ("messages", Value::from(turns)),
        ("tools", Value::from(())),
        ("documents", Value::from(())),
        ("add_generation_prompt", Value::from(true)),
    ];
    let tokens = tokens.iter().map(|(name, text)| (name.as_str(), Value::from(text.as_str())));
    Value::from_pairs(fixed.into_iter().chain(tokens))
}

fn environment(now: Now) -> Environment<'static> {
    let mut jinja = Environment::new();
    jinja.set_fuel(Some(FUEL));
    jinja.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    jinja.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    jinja.add_filter("tojson", json::tojson);
    jinja.add_filter(PLAIN, |state: &State<'_, '_>, value: Value| plain(state, &value, 0));
    jinja.add_function("raise_exception", |message: String| -> Result<String, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, message))
    });
    jinja.add_function("strftime_now", move |form: String| -> Result<String, Error> {
        now.strftime(&form).map_err(|e| Error::new(ErrorKind::InvalidOperation, e))
    });
    jinja
}

/// A copy of `value` that holds nothing which can change later, and is not nested deeply: whatever
/// walks over it ends.
fn plain(state: &State<'_, '_>, value: &Value, depth: usize) -> Result<Value, Error> {
    let fail = |message: String| Err(Error::new(ErrorKind::InvalidOperation, message));
    state.consume_fuel(1)?;
    if depth > DEEPEST {
        return fail(format!("expected at most {DEEPEST} levels in a namespace, found more"));
    }
    if is_namespace(value) {
        return fail("expected a plain value in a namespace, found a namespace".into());
    }
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable => {
            let items = value.try_iter()?.map(|item| plain(state, &item, depth + 1));
            Ok(Value::from(items.collect::<Result<Vec<Value>, Error>>()?))
        }
        ValueKind::Map => {
            let pair = |key: Value| {
                let held = plain(state, &value.get_item(&key)?, depth + 1)?;
                Ok((key, held))
            };
            let pairs: Vec<(Value, Value)> =
                value.try_iter()?.map(pair).collect::<Result<_, Error>>()?;
            Ok(Value::from_pairs(pairs))
        }
        _ => Ok(value.clone()),
    }
}
