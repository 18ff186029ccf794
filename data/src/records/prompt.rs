//! Prompts as people have them: JSON lines in several forms, or plain text.
//!
//! | a line of a `.jsonl` file | is |
//! |---|---|
//! | `{"text": ...}`, `{"prompt": ...}` | a text to continue |
//! | `{"messages": [{"role": ..., "content": ...}]}` | a conversation, to its last question |
//! | `{"turns": [...]}` | questions to be asked one after another, of which the first is taken |
//!
//! `id` or `question_id` (text or a number), `task` or `category`, and `split` may stand beside
//! them. A `.txt` file holds a prompt a line.

mod line;

use crate::error::{Error, Result};
use crate::store::file::{self, Limit};
use crate::store::rows;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashSet};
use std::io::Read;
use std::path::Path;

/// Longest text of a prompt, in bytes: some hundred thousand tokens.
const LONGEST: usize = 1 << 20;
/// Prompts of a file at most.
const MOST: usize = crate::limits::PROMPTS;

/// The part of a set of prompts that nothing is trained on (`"split": "held-out"`).
pub const HELD_OUT: &str = "held-out";

/// A text to continue, or a conversation to answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Prompt {
    /// Its name; `p1`, `p2`, ... by line where none is given.
    pub id: String,
    /// The workload it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// The part of its set that it belongs to, such as `train` or [`HELD_OUT`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// The text; of a conversation, what its last turn says.
    pub text: String,
    /// The conversation; empty where the prompt is a text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<Message>,
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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

/// The prompts of a file, and what of it was not used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PromptFile {
    /// The prompts, in the file's order.
    pub prompts: Vec<Prompt>,
    /// Keys and parts of its lines that have no meaning here.
    pub unread: BTreeSet<String>,
}

/// Reads prompts, at most `count` of them.
///
/// # Errors
/// As [`read_prompts`].
pub fn load_prompts(path: &Path, count: Option<usize>) -> Result<Vec<Prompt>> {
    let mut prompts = read_prompts(path)?.prompts;
    prompts.truncate(count.unwrap_or(usize::MAX));
    Ok(prompts)
}

/// Reads prompts: a text a line where the file's name ends in `.txt`, else JSON lines.
///
/// # Errors
/// As [`parse_prompts`], or a file that cannot be read.
pub fn read_prompts(path: &Path) -> Result<PromptFile> {
    parse_prompts(file::open(path, Limit::PROMPTS)?, path)
}

/// The prompts of a `source` that came from `path`.
///
/// # Errors
/// A line of another form, a text that is empty or too long, a repeated id, no prompt at all. File
/// and line are named.
pub fn parse_prompts(source: impl Read, path: &Path) -> Result<PromptFile> {
    let is_text = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("txt"));
    let mut file = PromptFile::default();
    let mut seen = HashSet::new();
    rows::each_line(source, path, |number, line| {
        let fail = |message: String| Error::malformed_at(path, number, message);
        let mark = if number == 1 { b"\xef\xbb\xbf".as_slice() } else { b"" };
        let line = line.strip_prefix(mark).unwrap_or(line);
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        let mut prompt = match is_text {
            true => plain(line).map_err(fail)?,
            false => line::prompt(line, &mut file.unread).map_err(fail)?,
        };
        if prompt.id.is_empty() {
            prompt.id = format!("p{}", file.prompts.len() + 1);
        }
        check(&prompt).map_err(fail)?;
        if !seen.insert(prompt.id.clone()) {
            return Err(fail(format!("two prompts are named '{}'", line::short(&prompt.id))));
        }
        if file.prompts.len() == MOST {
            return Err(fail(format!("expected at most {MOST} prompts, found more")));
        }
        file.prompts.push(prompt);
        Ok(())
    })?;
    match file.prompts.is_empty() {
        true => Err(Error::malformed(path, format!("no prompts; expected {}", expected(is_text)))),
        false => Ok(file),
    }
}

/// Reads a file as one prompt; one line end at its end is left out.
///
/// # Errors
/// When it cannot be read, is no UTF-8, is empty or too long.
pub fn load_text(path: &Path) -> Result<String> {
    let fail = |message: String| Error::malformed(path, message);
    let mut text = String::from_utf8(file::read(path, Limit::TYPED)?).map_err(|e| {
        fail(format!("expected UTF-8, found another byte at {}", e.utf8_error().valid_up_to()))
    })?;
    for end in ["\n", "\r"] {
        text.truncate(text.strip_suffix(end).unwrap_or(&text).len());
    }
    check_text(&text).map_err(fail)?;
    Ok(text)
}

/// A line of a text file.
fn plain(line: &[u8]) -> std::result::Result<Prompt, String> {
    let text =
        std::str::from_utf8(line).map_err(|_| "expected UTF-8, found other bytes".to_string())?;
    Ok(Prompt { text: text.trim_end_matches('\r').to_string(), ..Prompt::default() })
}

/// What a file of prompts holds.
fn expected(is_text: bool) -> &'static str {
    if is_text { "a text on each line" } else { "{\"text\": ...} on each line" }
}

fn check(prompt: &Prompt) -> std::result::Result<(), String> {
    if prompt.messages.is_empty() {
        return check_text(&prompt.text);
    }
    let bytes: usize = prompt.messages.iter().map(|message| message.content.len()).sum();
    check_length(bytes)
}

fn check_text(text: &str) -> std::result::Result<(), String> {
    if text.is_empty() {
        return Err("expected some text, found none".into());
    }
    check_length(text.len())
}

fn check_length(bytes: usize) -> std::result::Result<(), String> {
    if bytes > LONGEST {
        return Err(format!("expected at most {LONGEST} bytes of text, found {bytes}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn parse(name: &str, text: &str) -> Result<PromptFile> {
        parse_prompts(text.as_bytes(), Path::new(name))
    }

    fn refused(text: &str) -> String {
        parse("p.jsonl", text).unwrap_err().to_string()
    }

    #[test]
    fn prompts_are_named_by_line_and_checked() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "{\"text\":\"a\"}\n\n{\"text\":\"b\",\"task\":\"sum\"}\n")
            .unwrap();
        let prompts = load_prompts(file.path(), None).unwrap();
        assert_eq!((prompts[0].id.as_str(), prompts[1].id.as_str()), ("p1", "p2"));
        assert_eq!(prompts[1].task.as_deref(), Some("sum"));
        assert_eq!(load_prompts(file.path(), Some(1)).unwrap().len(), 1);
    }

    #[test]
    fn every_form_that_people_have_gives_the_same_text() {
        let forms = [
            r#"{"id":"7","task":"t","text":"Hello"}"#,
            r#"{"id":7,"category":"t","prompt":"Hello"}"#,
            r#"{"question_id":7,"category":"t","turns":["Hello","And then?"],"reference":["x"]}"#,
            r#"{"id":"7","task":"t","messages":[{"role":"user","content":"Hello"}]}"#,
            concat!(
                r#"{"id":"7","task":"t","messages":[{"role":"user","content":"#,
                r#"[{"type":"text","text":"Hello"}]},{"role":"assistant","content":"Hi"}]}"#
            ),
        ];
        for form in forms {
            let file = parse("p.jsonl", form).unwrap();
            let prompt = &file.prompts[0];
            let found = (prompt.id.as_str(), prompt.task.as_deref(), prompt.text.as_str());
            assert_eq!(found, ("7", Some("t"), "Hello"), "{form}");
            let talks = form.contains("messages");
            assert_eq!(prompt.messages, if talks { vec![Message::user("Hello")] } else { vec![] });
        }
        let unread = parse("p.jsonl", forms[2]).unwrap().unread;
        assert_eq!(
            unread.iter().map(String::as_str).collect::<Vec<_>>(),
            ["reference", "turns after the first"]
        );
    }

    #[test]
    fn a_text_file_holds_a_prompt_a_line() {
        let file = parse("p.TXT", "\u{feff}one \r\n\n  two\n{\"text\":\"three\"}").unwrap();
        let texts: Vec<&str> = file.prompts.iter().map(|p| p.text.as_str()).collect();
        assert_eq!(texts, ["one ", "  two", "{\"text\":\"three\"}"]);
        assert_eq!(file.prompts[2].id, "p3");
    }

    #[test]
    fn a_file_is_one_prompt_without_its_last_line_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("prompt.md");
        std::fs::write(&path, "one\r\ntwo\n\r\n").unwrap();
        assert_eq!(load_text(&path).unwrap(), "one\r\ntwo\n");
        for bad in [&b""[..], b"\n", b"a\xff", &vec![b'x'; LONGEST + 1]] {
            std::fs::write(&path, bad).unwrap();
            let error = load_text(&path).unwrap_err().to_string();
            assert!(error.contains("prompt.md") && error.contains("expected"), "{error}");
        }
    }

    #[test]
    fn a_line_of_another_form_is_named_with_what_was_expected() {
        for (bad, word) in [
            ("", "no prompts"),
            ("{\"text\":\"\"}", "expected some text"),
            ("{\"txt\":\"a\"}", "expected one of"),
            ("{\"text\":3}", "'text': expected text, found 3"),
            ("{\"text\":\"a\",\"prompt\":\"a\"}", "found 'text' and 'prompt'"),
            ("{\"text\":\"a\",\"system\":\"b\"}", "'system'"),
            ("{\"text\":\"a\",\"id\":[1]}", "'id': expected text or a number"),
            ("{\"id\":\"x\",\"text\":\"a\"}\n{\"id\":\"x\",\"text\":\"b\"}", "line 2: two prompts"),
            ("[1]", "expected an object"),
            ("{\"text\"", "line 1"),
            ("{\"messages\":[]}", "'messages': expected"),
            ("{\"messages\":[{\"role\":\"assistant\",\"content\":\"a\"}]}", "no turn to answer"),
            ("{\"messages\":[{\"role\":\"user\"}]}", "'content'"),
            (
                "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image\"}]}]}",
                "'content'",
            ),
            ("{\"turns\":[]}", "'turns': expected"),
        ] {
            let error = refused(bad);
            assert!(error.contains("p.jsonl") && error.contains(word), "{bad}: {error}");
        }
        let long = refused(&format!("{{\"text\":{}}}", "[".repeat(500_000)));
        assert!(long.len() < 300, "{} bytes", long.len());
        let long = refused(&format!("{{\"text\":\"{}\"}}", "x".repeat(LONGEST + 1)));
        assert!(long.contains("at most 1048576 bytes"), "{long}");
    }

    #[test]
    fn the_set_of_tasks_has_eight_classes_each_half_held_out_and_any_first_prompts_cover_them() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("prompts/tasks.jsonl");
        let file = read_prompts(&path).unwrap();
        assert!(file.unread.is_empty(), "{:?}", file.unread);
        let mut classes: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        let mut texts = HashSet::new();
        for prompt in &file.prompts {
            let task = prompt.task.as_deref().unwrap();
            let (all, held_out) = classes.entry(task).or_default();
            *all += 1;
            *held_out += usize::from(prompt.split.as_deref() == Some(HELD_OUT));
            assert!(matches!(prompt.split.as_deref(), Some("train" | HELD_OUT)), "{}", prompt.id);
            assert!(prompt.id.starts_with(task) && texts.insert(&prompt.text), "{}", prompt.id);
            assert!(prompt.text.split_whitespace().count() <= 150, "{}", prompt.id);
        }
        let names: Vec<&str> = classes.keys().copied().collect();
        let expected = [
            "code",
            "extraction",
            "mathematics",
            "questions",
            "reasoning",
            "summary",
            "translation",
            "writing",
        ];
        assert_eq!(names, expected);
        assert!(classes.values().all(|&counts| counts == (30, 15)), "{classes:?}");
        for split in ["train", HELD_OUT] {
            let part = file.prompts.iter().filter(|p| p.split.as_deref() == Some(split));
            let first: HashSet<_> = part.take(8).map(|prompt| prompt.task.clone()).collect();
            assert_eq!(first.len(), 8, "{split}");
        }
    }
}
