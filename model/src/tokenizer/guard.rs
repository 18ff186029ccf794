//! The one place where the tokenizer library runs on what files say: its panics become errors, and
//! what would make it allocate without bound, or never end, is refused before.

use serde::Deserialize;
use serde_json::Value;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use tokenizers::Tokenizer;

/// Bytes of a `tokenizer.json`, at most; the largest that are published have 35 MB.
pub(super) const FILE_BYTES_MAX: u64 = 1 << 26;
/// So many times its length a text may grow where it is normalized.
const GROWTH_MAX: u64 = 64;
/// Bytes of a text that replaces another.
const CONTENT_BYTES_MAX: usize = 256;
/// Pieces that a template puts around a text, and steps of one kind.
const PIECES_MAX: usize = 64;

thread_local! {
    /// Whether a panic of this thread will be caught here.
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Calls the library; a panic of it becomes an error, and nothing is printed.
fn guarded<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !CAUGHT.try_with(Cell::get).unwrap_or(false) {
                before(info);
            }
        }));
    });
    let outer = CAUGHT.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(call));
    CAUGHT.set(outer);
    outcome.map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_string());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        let text = text.unwrap_or_else(|| "no reason given".into());
        let text: String = text.chars().take(120).collect();
        format!("the tokenizer library failed: {}", text.escape_debug())
    })
}

/// The tokenizer of a `tokenizer.json`. What it says of cutting and filling up texts is somebody's
/// saved state, and left aside, as transformers leaves it.
///
/// # Errors
/// When it is no tokenizer, or one that the library would not survive.
pub(super) fn read(bytes: &[u8]) -> Result<Tokenizer, String> {
    check(bytes)?;
    guarded(|| {
        let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(|e| e.to_string())?;
        tokenizer.with_truncation(None).map_err(|e| e.to_string())?;
        tokenizer.with_padding(None);
        Ok(tokenizer)
    })?
}

/// The token ids of a text, with or without what the tokenizer adds around it.
pub(super) fn encode(tokenizer: &Tokenizer, text: &str, special: bool) -> Result<Vec<u32>, String> {
    let encoding = guarded(|| tokenizer.encode_fast(text, special))?;
    Ok(encoding.map_err(|e| e.to_string())?.get_ids().to_vec())
}

/// The text of token ids, special tokens left out.
pub(super) fn decode(tokenizer: &Tokenizer, tokens: &[u32]) -> Result<String, String> {
    guarded(|| tokenizer.decode(tokens, true))?.map_err(|e| e.to_string())
}

/// The parts of a `tokenizer.json` that say what is done to a text; its vocabulary is passed over.
#[derive(Deserialize)]
struct Steps {
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    post_processor: Value,
    #[serde(default)]
    decoder: Value,
}

/// Refuses the content of a `tokenizer.json` that the library would not survive.
///
/// # Errors
/// Says which step is wrong, or that this is no JSON.
fn check(bytes: &[u8]) -> Result<(), String> {
    let steps: Steps = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    for (name, step) in [
        ("normalizer", &steps.normalizer),
        ("pre_tokenizer", &steps.pre_tokenizer),
        ("post_processor", &steps.post_processor),
        ("decoder", &steps.decoder),
    ] {
        let growth = check_step(step).map_err(|message| format!("{name}: {message}"))?;
        if growth > GROWTH_MAX {
            return Err(format!(
                "{name}: its replacements can make a text {growth} times as long; expected at \
                 most {GROWTH_MAX} times"
            ));
        }
    }
    Ok(())
}

/// Looks at a step and those within it; says how many times longer they can make a text.
fn check_step(step: &Value) -> Result<u64, String> {
    let own = match step.get("type").and_then(Value::as_str).unwrap_or_default() {
        "Replace" => growth(step)?,
        "Prepend" => short(step, "prepend").map(|_| 1)?,
        "Split" => short_pattern(step).map(|_| 1)?,
        "FixedLength" if step.get("length") == Some(&Value::from(0)) => {
            return Err("FixedLength cuts pieces of length 0; expected at least 1".into());
        }
        "Precompiled" => check_map(step).map(|()| 1)?,
        "TemplateProcessing" => check_template(step).map(|()| 1)?,
        _ => 1,
    };
    let within = ["normalizers", "pretokenizers", "processors", "decoders"];
    let lists = within.iter().filter_map(|key| step.get(key)?.as_array());
    let mut all = own;
    for list in lists {
        if list.len() > PIECES_MAX {
            return Err(format!("{} steps; expected at most {PIECES_MAX}", list.len()));
        }
        for step in list {
            all = all.saturating_mul(check_step(step)?);
        }
    }
    Ok(all)
}

/// A text of a step, which must be short.
fn short<'s>(step: &'s Value, key: &str) -> Result<&'s str, String> {
    let text = step.get(key).and_then(Value::as_str).unwrap_or_default();
    match text.len() {
        0..=CONTENT_BYTES_MAX => Ok(text),
        length => Err(format!("{key} of {length} bytes; expected at most {CONTENT_BYTES_MAX}")),
    }
}

/// The pattern of a step, and whether it is a regular expression; an empty one is refused.
fn short_pattern(step: &Value) -> Result<(&str, bool), String> {
    let pattern = step.get("pattern").unwrap_or(&Value::Null);
    let found = |key: &str| pattern.get(key).and_then(Value::as_str);
    let (text, regex) = match found("String") {
        Some(text) => (text, false),
        None => (found("Regex").unwrap_or("?"), true),
    };
    match text {
        "" => Err("an empty pattern; expected some text or a regular expression".into()),
        text => Ok((text, regex)),
    }
}

/// How many times longer a replacement can make a text.
fn growth(step: &Value) -> Result<u64, String> {
    let (pattern, regex) = short_pattern(step)?;
    let content = short(step, "content")?.len() as u64;
    // A regular expression may match nothing at all, between any two bytes.
    Ok(if regex { content + 1 } else { content.div_ceil(pattern.len() as u64).max(1) })
}

/// The first field of a map of characters is the length of its first part.
fn check_map(step: &Value) -> Result<(), String> {
    let map = step.get("precompiled_charsmap").and_then(Value::as_str).unwrap_or_default();
    let digit = |c: u8| match c {
        b'A'..=b'Z' => u32::from(c - b'A'),
        b'a'..=b'z' => u32::from(c - b'a') + 26,
        b'0'..=b'9' => u32::from(c - b'0') + 52,
        b'+' => 62,
        _ => 63,
    };
    let first: Vec<u32> = map.bytes().take(6).map(digit).collect();
    let [a, b, c, d, e, f] = first[..] else {
        return Err("a map of characters (precompiled_charsmap) that is cut short".into());
    };
    let low = a << 2 | b >> 4 | (b & 15) << 12 | (c >> 2) << 8 | ((c & 3) << 6 | d) << 16;
    let length = u64::from(low) | u64::from(e << 2 | f >> 4) << 24;
    match length <= map.len() as u64 {
        true => Ok(()),
        false => Err(format!(
            "a map of characters (precompiled_charsmap) of {} letters promises {length} bytes; \
             it is damaged",
            map.len()
        )),
    }
}

/// What a template puts around a text.
fn check_template(step: &Value) -> Result<(), String> {
    for key in ["single", "pair"] {
        let pieces = step.get(key).and_then(Value::as_array).map_or(0, Vec::len);
        if pieces > PIECES_MAX {
            return Err(format!("{key} has {pieces} pieces; expected at most {PIECES_MAX}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_panic_becomes_an_error_and_later_calls_work() {
        let error = guarded(|| -> u8 { panic!("cannot {}", "count") }).unwrap_err();
        assert!(error.contains("cannot count"), "{error}");
        assert_eq!(guarded(|| 7), Ok(7));
        assert!(!CAUGHT.get());
    }

    fn refusal(key: &str, step: &Value) -> String {
        check(json!({ "model": {}, key: step }).to_string().as_bytes()).unwrap_err()
    }

    #[test]
    fn steps_that_the_library_would_not_survive_are_refused() {
        let replace =
            |from: Value, to: &str| json!({ "type": "Replace", "pattern": from, "content": to });
        let doubling = replace(json!({ "String": "a" }), "aa");
        let chain: Vec<&Value> = std::iter::repeat_n(&doubling, 40).collect();
        let chain = json!({ "type": "Sequence", "normalizers": chain });
        assert!(refusal("normalizer", &chain).contains("times as long"));
        assert!(
            refusal("decoder", &replace(json!({ "Regex": "a*" }), &"b".repeat(99)))
                .contains("100 times")
        );
        assert!(
            refusal("normalizer", &replace(json!({ "String": "" }), "b")).contains("empty pattern")
        );
        assert!(
            refusal("normalizer", &json!({ "type": "Prepend", "prepend": "x".repeat(999) }))
                .contains("999")
        );
        let split = json!({ "type": "Split", "pattern": { "Regex": "" }, "behavior": "Isolated", "invert": false });
        let split = json!({ "type": "Sequence", "pretokenizers": [split] });
        assert!(refusal("pre_tokenizer", &split).contains("pre_tokenizer: an empty pattern"));
        let fixed = json!({ "type": "FixedLength", "length": 0 });
        assert!(refusal("pre_tokenizer", &fixed).contains("length 0"));
        // source: base64 of the little-endian numbers 0xffffffff and 4, and of two letters
        let map = |text: &str| json!({ "type": "Precompiled", "precompiled_charsmap": text });
        assert!(refusal("normalizer", &map("/////wAA")).contains("4294967295 bytes"));
        assert!(refusal("normalizer", &map("AAA")).contains("cut short"));
        let template =
            json!({ "type": "TemplateProcessing", "single": vec![json!({}); 65], "pair": [] });
        assert!(refusal("post_processor", &template).contains("65 pieces"));
    }

    #[test]
    fn steps_of_published_tokenizers_are_accepted() {
        let spaces = json!({ "type": "Replace", "pattern": { "String": " " }, "content": "▁" });
        let more = json!({ "type": "Replace", "pattern": { "Regex": " {2,}" }, "content": "▁" });
        let llama = json!({ "type": "Sequence", "normalizers": [{ "type": "Prepend", "prepend": "▁" }, spaces, more] });
        let map = json!({ "type": "Precompiled", "precompiled_charsmap": "BAAAAAAAAAA=" });
        for step in [llama, map, json!({ "type": "NFC" }), Value::Null] {
            check(json!({ "model": {}, "normalizer": step }).to_string().as_bytes()).unwrap();
        }
        assert!(check(b"{\"model\": ").is_err());
    }
}
