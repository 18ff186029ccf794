//! One prompt from one JSON object, whichever of the known forms it has.

use super::{Message, Prompt};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

type Parsed<T> = Result<T, String>;

/// Keys that hold what is to be continued or answered; a line has one of them.
const BODIES: [&str; 4] = ["text", "prompt", "messages", "turns"];

/// The prompt of a line. Keys without a meaning here are added to `unread`.
pub(super) fn prompt(line: &[u8], unread: &mut BTreeSet<String>) -> Parsed<Prompt> {
    let value: Value = serde_json::from_slice(line).map_err(|e| short(&e.to_string()))?;
    let Value::Object(mut keys) = value else {
        return Err(format!("expected an object with {}, found {}", list(), shown(&value)));
    };
    let body = body(&keys)?;
    if keys.contains_key("system") {
        return Err(
            "'system' is not read beside a text; write \"messages\" with a system turn".into()
        );
    }
    let mut prompt = Prompt {
        id: name(&mut keys, "id")?.or(name(&mut keys, "question_id")?).unwrap_or_default(),
        task: text(&mut keys, "task")?.or(text(&mut keys, "category")?),
        split: text(&mut keys, "split")?,
        ..Prompt::default()
    };
    match body {
        "messages" => prompt.messages = messages(keys.remove(body), unread)?,
        "turns" => prompt.text = first_turn(keys.remove(body), unread)?,
        _ => prompt.text = text(&mut keys, body)?.unwrap_or_default(),
    }
    if let Some(last) = prompt.messages.last() {
        prompt.text.clone_from(&last.content);
    }
    unread.extend(keys.keys().map(|key| short(key)));
    Ok(prompt)
}

/// The one key of [`BODIES`] that a line has.
fn body(keys: &Map<String, Value>) -> Parsed<&'static str> {
    let found: Vec<&str> = BODIES.into_iter().filter(|body| keys.contains_key(*body)).collect();
    match found.as_slice() {
        [body] => Ok(body),
        [] => Err(format!("expected one of {}, found none of them", list())),
        [first, second, ..] => {
            Err(format!("expected one of {}, found '{first}' and '{second}'; keep one", list()))
        }
    }
}

fn list() -> String {
    BODIES.map(|body| format!("\"{body}\"")).join(", ")
}

/// The text of `key`, if the line has it; null is none.
fn text(keys: &mut Map<String, Value>, key: &str) -> Parsed<Option<String>> {
    match keys.remove(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(format!("'{key}': expected text, found {}", shown(&other))),
    }
}

/// A name, which may be a number.
fn name(keys: &mut Map<String, Value>, key: &str) -> Parsed<Option<String>> {
    match keys.remove(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        Some(other) => Err(format!("'{key}': expected text or a number, found {}", shown(&other))),
    }
}

/// The first of several questions.
fn first_turn(value: Option<Value>, unread: &mut BTreeSet<String>) -> Parsed<String> {
    let value = value.unwrap_or_default();
    match value.as_array().map(Vec::as_slice) {
        Some([Value::String(first), rest @ ..]) => {
            if !rest.is_empty() {
                unread.insert("turns after the first".into());
            }
            Ok(first.clone())
        }
        _ => Err(format!("'turns': expected a list of texts, found {}", shown(&value))),
    }
}

/// A conversation up to its last turn that is not the assistant's: what the assistant is to answer.
fn messages(value: Option<Value>, unread: &mut BTreeSet<String>) -> Parsed<Vec<Message>> {
    let turns = match value {
        Some(Value::Array(turns)) if !turns.is_empty() => turns,
        other => {
            let found = shown(&other.unwrap_or_default());
            return Err(format!("'messages': expected a list of turns, found {found}"));
        }
    };
    let mut messages: Vec<Message> =
        turns.into_iter().map(|turn| message(turn, unread)).collect::<Parsed<_>>()?;
    while messages.last().is_some_and(|message| message.role == "assistant") {
        unread.insert("the assistant's last turn".into());
        messages.pop();
    }
    match messages.is_empty() {
        true => Err("'messages': expected a turn of the user, found no turn to answer".into()),
        false => Ok(messages),
    }
}

fn message(turn: Value, unread: &mut BTreeSet<String>) -> Parsed<Message> {
    let Value::Object(mut keys) = turn else {
        return Err(format!(
            "'messages': expected objects with 'role' and 'content', found {}",
            shown(&turn)
        ));
    };
    let role = text(&mut keys, "role")?.ok_or("'messages': a turn without 'role'")?;
    let content = content(keys.remove("content").unwrap_or_default())?;
    unread.extend(keys.keys().map(|key| format!("messages.{}", short(key))));
    Ok(Message { role, content })
}

/// What was said: a text, or a list of texts, which are joined by line ends.
fn content(value: Value) -> Parsed<String> {
    let part = |part: &Value| part["text"].as_str().map(str::to_string);
    let parts = |parts: &Vec<Value>| parts.iter().map(part).collect::<Option<Vec<String>>>();
    match &value {
        Value::String(text) => Some(text.clone()),
        Value::Array(list) if !list.is_empty() => parts(list).map(|texts| texts.join("\n")),
        _ => None,
    }
    .ok_or_else(|| format!("'content': expected text or a list of texts, found {}", shown(&value)))
}

/// A value as a message quotes it.
fn shown(value: &Value) -> String {
    short(&value.to_string())
}

/// At most 80 characters of `text`, control characters escaped.
pub(super) fn short(text: &str) -> String {
    const MOST: usize = 80;
    let mut out: String = text.chars().take(MOST).flat_map(escaped).collect();
    if text.chars().nth(MOST).is_some() {
        out += "...";
    }
    out
}

fn escaped(c: char) -> impl Iterator<Item = char> {
    let (plain, control) =
        if c.is_control() { (None, Some(c.escape_unicode())) } else { (Some(c), None) };
    plain.into_iter().chain(control.into_iter().flatten())
}
