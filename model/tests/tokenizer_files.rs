//! Files of tokenizers that are cut, damaged or hostile: each is an error in one line, or a
//! tokenizer that works; never a panic, and never memory without bound.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use s3d_model::Tokenizer;
use serde_json::{Value, json};
use std::path::Path;

const TEXT: &str = "Once upon a time, 3 mice\nlived in a déjà-vu <s>house</s>.";

fn shipped() -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    std::fs::read(root.join("data/models/story/tokenizer.json")).unwrap()
}

/// Reads a file and, where it is a tokenizer, encodes and decodes with it. Says what the first
/// error was.
fn use_it(bytes: &[u8]) -> Result<Vec<u32>, String> {
    let path = Path::new("folder/tokenizer.json");
    let named = |error: s3d_model::Error| {
        let error = error.to_string();
        assert!(error.len() < 600 && !error.contains('\n'), "{error}");
        error
    };
    let tokenizer = Tokenizer::from_bytes(bytes, path).map_err(|error| {
        let error = named(error);
        assert!(error.contains("tokenizer.json"), "{error}");
        error
    })?;
    let ids = tokenizer.encode(TEXT).map_err(named)?;
    assert!(ids.len() < 10_000, "{} tokens", ids.len());
    tokenizer.decode(&ids).map_err(named)?;
    tokenizer.decode(&[0, 1, 7, 511, u32::MAX]).map_err(named)?;
    let _ = tokenizer.vocab_size();
    Ok(ids)
}

#[test]
fn the_shipped_file_cut_anywhere_is_an_error() {
    let whole = shipped();
    use_it(&whole).unwrap();
    for end in (0..whole.len() - 1).step_by(73) {
        use_it(&whole[..end]).unwrap_err();
    }
}

#[test]
fn the_shipped_file_with_a_part_taken_out_never_panics() {
    // Cuts that keep the file JSON are those that reach the library: some of them make it panic.
    let whole = String::from_utf8(shipped()).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let mut read = 0;
    for start in (0..lines.len()).step_by(13) {
        for length in [1, 2, 7] {
            let end = (start + length).min(lines.len());
            let rest = [&lines[..start], &lines[end..]].concat().join("\n");
            read += usize::from(use_it(rest.as_bytes()).is_ok());
        }
    }
    assert!(read > 10, "{read}");
}

/// Puts `value` at a path of keys and places.
fn with(change: &[(&str, Value)]) -> Vec<u8> {
    let mut file: Value = serde_json::from_slice(&shipped()).unwrap();
    for (path, value) in change {
        *file.pointer_mut(path).unwrap_or_else(|| panic!("{path}")) = value.clone();
    }
    file.to_string().into_bytes()
}

#[test]
fn every_part_of_a_file_replaced_by_something_else_never_panics() {
    let paths = [
        "/version",
        "/truncation",
        "/padding",
        "/added_tokens",
        "/normalizer",
        "/pre_tokenizer",
        "/post_processor",
        "/decoder",
        "/model",
        "/model/vocab",
        "/model/merges",
        "/model/type",
        "/model/unk_token",
        "/model/byte_fallback",
        "/model/continuing_subword_prefix",
        "/model/end_of_word_suffix",
        "/model/dropout",
        "/model/merges/0",
        "/model/merges/200",
    ];
    let values = [
        Value::Null,
        json!(0),
        json!(-1),
        json!(1e300),
        json!(u64::MAX),
        json!(""),
        json!("é"),
        json!([]),
        json!({}),
        json!([[]]),
        json!(["a"]),
        json!([["a", "b"]]),
        json!({ "é": 3_000_000_000_u64 }),
        json!({ "": 0 }),
        json!(true),
    ];
    for path in paths {
        for value in &values {
            let _ = use_it(&with(&[(path, value.clone())]));
        }
    }
}

/// Files that made the library panic, allocate without bound, or never end.
#[test]
fn hostile_steps_are_errors_that_name_them() {
    let sequence = |key: &str, steps: Vec<Value>| json!({ "type": "Sequence", key: steps });
    let replace = |pattern: Value, content: &str| json!({ "type": "Replace", "pattern": pattern, "content": content });
    let split = |pattern: Value| json!({ "type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": false });
    let chain: Vec<Value> = (0..60).map(|_| replace(json!({ "String": "o" }), "oooo")).collect();
    let words = |path: &str, value: Value, word: &str| {
        let error = use_it(&with(&[(path, value)])).unwrap_err();
        assert!(error.contains(word), "{error}");
    };
    words("/normalizer", sequence("normalizers", chain.clone()), "times as long");
    words("/decoder", sequence("decoders", chain), "times as long");
    words("/normalizer", replace(json!({ "String": "" }), "x"), "empty pattern");
    words("/pre_tokenizer", split(json!({ "String": "" })), "empty pattern");
    words("/pre_tokenizer", json!({ "type": "FixedLength", "length": 0 }), "FixedLength");
    words(
        "/normalizer",
        json!({ "type": "Precompiled", "precompiled_charsmap": "/////w==" }),
        "charsmap",
    );
    let damaged = json!({ "type": "Precompiled", "precompiled_charsmap": "CAAAAP//////////AAA=" });
    words("/normalizer", damaged, "tokenizer library failed");
    let token = json!({ "SpecialToken": { "id": "<gone>", "type_id": 0 } });
    let template = json!({
        "type": "TemplateProcessing", "single": [token], "pair": [], "special_tokens": {},
    });
    assert!(use_it(&with(&[("/post_processor", template)])).is_err());
}

#[test]
fn a_file_that_was_saved_cutting_and_filling_up_reads_as_one_that_was_not() {
    let plain = use_it(&shipped()).unwrap();
    let cut =
        json!({ "direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0 });
    let never =
        json!({ "direction": "Left", "max_length": 0, "strategy": "OnlyFirst", "stride": 9 });
    let fill = |length: u64| {
        json!({
            "strategy": { "Fixed": length }, "direction": "Left", "pad_to_multiple_of": null,
            "pad_id": 0, "pad_type_id": 0, "pad_token": "<pad>",
        })
    };
    for change in [
        [("/truncation", cut), ("/padding", Value::Null)],
        [("/truncation", never), ("/padding", Value::Null)],
        [("/truncation", Value::Null), ("/padding", fill(64))],
        [("/truncation", Value::Null), ("/padding", fill(1_000_000_000_000))],
    ] {
        assert_eq!(use_it(&with(&change)).unwrap(), plain);
    }
}

#[test]
fn what_is_no_regular_file_or_too_large_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let refuse = |path: &Path| Tokenizer::load(path).unwrap_err().to_string();
    assert!(refuse(dir.path()).contains("regular file"));
    let large = dir.path().join("tokenizer.json");
    std::fs::File::create(&large).unwrap().set_len(1 << 40).unwrap();
    assert!(refuse(&large).contains("1099511627776 bytes"));
    if cfg!(unix) {
        assert!(refuse(Path::new("/dev/zero")).contains("regular file"));
    }
}
