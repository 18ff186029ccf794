//! How byte-level BPE cuts text into words before it merges: the ways that GGUF files name under
//! `tokenizer.ggml.pre`, as pre-tokenizers of the `tokenizers` library.
//!
//! A way is a row of regular expressions. Each cuts every piece that the one before has left: what it
//! matches stands alone, and so does what lies between. Names and defaults are llama.cpp's
//! (`llama-vocab.cpp`), expressions those of the model families' own `tokenizer.json`.

use serde_json::{Value, json};

/// A way to cut, and what goes with it in a file that does not say.
#[derive(Debug)]
pub(super) struct Words {
    /// Its names, the family's own first.
    names: &'static [&'static str],
    /// Regular expressions, applied one after another.
    cuts: &'static [&'static str],
    /// Whether the family composes characters first (NFC).
    composes: bool,
    /// Whether a word that is a token is taken without merging.
    pub whole_words: bool,
    /// Whether a text begins with the begin-of-text token.
    pub begins: bool,
}

const DIGIT: &str = r"\p{N}";
const GPT_2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const QWEN_2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const LLAMA_3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

const PLAIN: Words =
    Words { names: &[], cuts: &[GPT_2], composes: false, whole_words: false, begins: false };

/// All ways that are known.
const KNOWN: &[Words] = &[
    Words { names: &["gpt-2"], ..PLAIN },
    Words { names: &["smollm"], cuts: &[DIGIT, GPT_2], ..PLAIN },
    Words { names: &["llama-bpe"], cuts: &[LLAMA_3], whole_words: true, begins: true, ..PLAIN },
    Words { names: &["qwen2"], cuts: &[QWEN_2], composes: true, ..PLAIN },
];

/// The way of a name.
///
/// # Errors
/// Says that it is not known.
pub(super) fn named(name: &str) -> Result<&'static Words, String> {
    KNOWN.iter().find(|words| words.names.contains(&name)).ok_or_else(|| {
        format!("its pre-tokenizer '{name}' (tokenizer.ggml.pre: how text is cut into words) is not known")
    })
}

/// Characters of bytes, as byte-level BPE writes them.
pub(super) fn bytes(use_regex: bool) -> Value {
    json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": use_regex })
}

impl Words {
    /// What the `tokenizers` library does to a text first.
    pub fn normalizer(&self) -> Value {
        if self.composes { json!({ "type": "NFC" }) } else { Value::Null }
    }

    /// What it cuts a text with.
    pub fn pre_tokenizer(&self) -> Value {
        let cut = |pattern: &&str| json!({ "type": "Split", "pattern": { "Regex": pattern }, "behavior": "Isolated", "invert": false });
        let steps: Vec<Value> = self.cuts.iter().map(cut).chain([bytes(false)]).collect();
        json!({ "type": "Sequence", "pretokenizers": steps })
    }
}
