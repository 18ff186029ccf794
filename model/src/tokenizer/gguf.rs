//! A tokenizer from the vocabulary of a GGUF file, written as the `tokenizer.json` it was made
//! from.

use super::{Tokenizer, words};
use crate::error::{Error, Result};
use crate::tokenizer::chat::ChatTemplate;
use crate::tokenizer::vocabulary::Vocabulary;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// Kinds of tokens in a GGUF file.
const CONTROL: i64 = 3;
const ADDED: i64 = 4;
const BYTE: i64 = 6;

impl Tokenizer {
    /// The tokenizer of the GGUF file at `path`.
    ///
    /// # Errors
    /// When it is of a kind that this program does not know; a `tokenizer.json` helps then.
    pub(crate) fn from_vocabulary(vocabulary: &Vocabulary, path: &Path) -> Result<Self> {
        let model = match vocabulary.model.as_str() {
            "gpt2" => byte_level(vocabulary),
            "llama" => pieces(vocabulary),
            other => Err(format!("tokenizer model '{other}' is not known")),
        };
        let parts = model.map_err(|message| {
            let help = "give the checkpoint's tokenizer.json with --tokenizer FILE";
            Error::malformed(path, format!("{message}; {help}"))
        })?;
        let mut tokenizer = Self::from_bytes(parts.to_string().as_bytes(), path)?;
        tokenizer.chat = ChatTemplate::of_vocabulary(vocabulary, path);
        Ok(tokenizer)
    }
}

/// A file of the `tokenizers` library.
fn file(vocabulary: &Vocabulary, begins: bool, model: Value, parts: [Value; 3]) -> Value {
    let [normalizer, pre_tokenizer, decoder] = parts;
    let added = vocabulary.tokens.iter().zip(&vocabulary.kinds).enumerate();
    let added: Vec<Value> = added
        .filter(|(_, (_, kind))| matches!(**kind, CONTROL | ADDED))
        .map(|(id, (token, kind))| {
            json!({
                "id": id, "content": token, "special": *kind == CONTROL, "single_word": false,
                "lstrip": false, "rstrip": takes_spaces(vocabulary, token), "normalized": false,
            })
        })
        .collect();
    let token = |id: Option<u32>| id.and_then(|id| Some((id, vocabulary.tokens.get(id as usize)?)));
    let begin = token(vocabulary.begin).filter(|_| vocabulary.add_begin.unwrap_or(begins));
    let end = token(vocabulary.end).filter(|_| vocabulary.add_end.unwrap_or(false));
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "decoder": decoder, "model": model,
        "post_processor": around(begin, end),
    })
}

/// Whether white space after a token belongs to it. Files do not say; llama.cpp too goes by the
/// model's name.
fn takes_spaces(vocabulary: &Vocabulary, token: &str) -> bool {
    let name = vocabulary.name.to_lowercase();
    let phi3 = name.contains("phi-3") || name.contains("phi3");
    phi3 && !["<unk>", "<s>", "<|endoftext|>"].contains(&token)
}

/// Puts tokens before and after every text.
fn around(begin: Option<(u32, &String)>, end: Option<(u32, &String)>) -> Value {
    if begin.is_none() && end.is_none() {
        return Value::Null;
    }
    let special = |token: &str| json!({ "SpecialToken": { "id": token, "type_id": 0 } });
    let text = |id: &str| json!({ "Sequence": { "id": id, "type_id": 0 } });
    let pieces = |texts: &[&str]| {
        let before = begin.iter().map(|(_, token)| special(token));
        let after = end.iter().map(|(_, token)| special(token));
        before.chain(texts.iter().map(|id| text(id))).chain(after).collect::<Vec<Value>>()
    };
    let tokens: Map<String, Value> = begin
        .iter()
        .chain(&end)
        .map(|(id, token)| {
            ((*token).clone(), json!({ "id": token, "ids": [id], "tokens": [token] }))
        })
        .collect();
    json!({
        "type": "TemplateProcessing", "single": pieces(&["A"]), "pair": pieces(&["A", "B"]),
        "special_tokens": tokens,
    })
}

/// Ids by token.
fn ids(vocabulary: &Vocabulary) -> BTreeMap<&str, usize> {
    vocabulary.tokens.iter().enumerate().map(|(id, token)| (token.as_str(), id)).collect()
}

/// Byte-level BPE, of GPT-2 and its heirs.
fn byte_level(vocabulary: &Vocabulary) -> std::result::Result<Value, String> {
    let words = words::named(&vocabulary.pre)?;
    let model = json!({
        "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
        "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
        "ignore_merges": words.whole_words, "vocab": ids(vocabulary), "merges": vocabulary.merges,
    });
    let parts = [words.normalizer(), words.pre_tokenizer(), words::bytes(true)];
    Ok(file(vocabulary, words.begins, model, parts))
}

/// SentencePiece: pieces merge by score, unknown characters fall back to bytes.
fn pieces(vocabulary: &Vocabulary) -> std::result::Result<Value, String> {
    let (count, scores) = (vocabulary.tokens.len(), vocabulary.scores.len());
    if scores != count {
        return Err(format!("{scores} scores for {count} tokens"));
    }
    let ids = ids(vocabulary);
    let unknown = vocabulary.kinds.iter().position(|kind| *kind == 2);
    let model = json!({
        "type": "BPE", "dropout": null, "unk_token": unknown.map(|id| &vocabulary.tokens[id]),
        "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": true,
        "byte_fallback": vocabulary.kinds.contains(&BYTE), "ignore_merges": false,
        "merges": merges(vocabulary, &ids), "vocab": ids,
    });
    let space = json!({ "type": "Replace", "pattern": { "String": " " }, "content": "▁" });
    let before = vocabulary.add_space.unwrap_or(true);
    let normalizer = match before {
        true => {
            json!({ "type": "Sequence", "normalizers": [{ "type": "Prepend", "prepend": "▁" }, space] })
        }
        false => space,
    };
    let back = json!({ "type": "Replace", "pattern": { "String": "▁" }, "content": " " });
    let mut decoders = vec![back, json!({ "type": "ByteFallback" }), json!({ "type": "Fuse" })];
    if before {
        decoders.push(json!({ "type": "Strip", "content": " ", "start": 1, "stop": 0 }));
    }
    let decoder = json!({ "type": "Sequence", "decoders": decoders });
    Ok(file(vocabulary, true, model, [normalizer, Value::Null, decoder]))
}

/// The merges that SentencePiece would do: two pieces that make a third, best score first.
fn merges(vocabulary: &Vocabulary, ids: &BTreeMap<&str, usize>) -> Vec<[String; 2]> {
    let mut found = Vec::new();
    for (token, score) in vocabulary.tokens.iter().zip(&vocabulary.scores) {
        for (at, _) in token.char_indices().skip(1) {
            let (left, right) = token.split_at(at);
            if let (Some(first), Some(second)) = (ids.get(left), ids.get(right)) {
                found.push((-score, *first, *second));
            }
        }
    }
    found.sort_by(|a, b| a.0.total_cmp(&b.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    let text = |id: usize| vocabulary.tokens[id].clone();
    found.into_iter().map(|(_, first, second)| [text(first), text(second)]).collect()
}
