//! How byte-level BPE cuts text into words before it merges: the ways that GGUF files name under
//! `tokenizer.ggml.pre`, as pre-tokenizers of the `tokenizers` library.
//!
//! A way is a row of cuts. Each cuts every piece that the one before has left: what it matches
//! stands alone, and so does what lies between. Names and defaults are llama.cpp's
//! (`llama-vocab.cpp`); the cuts are those of the families' own `tokenizer.json` where it is known,
//! else llama.cpp's (`scripts/fixtures/words.py` has both).

use serde_json::{Value, json};

/// One cut.
#[derive(Debug, Clone, Copy)]
enum Cut {
    /// Where a regular expression matches.
    Regex(&'static str),
    /// Digits of any script: each alone, or runs of them.
    Digits { each: bool },
    /// Runs of punctuation.
    Punctuation,
    /// GPT-2's words; then characters stand for bytes, which what follows sees.
    Gpt2AndBytes,
}

/// A way to cut, and what goes with it in a file that does not say.
#[derive(Debug)]
pub(super) struct Words {
    /// Its names, the family's own first.
    names: &'static [&'static str],
    cuts: &'static [Cut],
    /// Whether the family composes characters first (Unicode NFC).
    composes: bool,
    /// Whether a word that is a token is taken without merging.
    pub whole_words: bool,
    /// Whether a text begins with the begin-of-text token.
    pub begins: bool,
}

const GPT_2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const LLAMA_3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN_2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// As Qwen 2, with the marks that belong to letters.
const QWEN_35: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// As Llama 3 over runs of digits, which were cut before.
const MINICPM_5: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// As Qwen 2, but punctuation does not take line ends along.
const SEED_CODER: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+";
/// A word ends where small letters are followed by a capital one.
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT_4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const DEEPSEEK_3: &str = r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##;
/// Letters that have a case, of the Unicode version that DeepSeek wrote down.
const DEEPSEEK_LETTERS: &str = "\\s?[\\p{Lu}\\p{Ll}\\p{Lt}--[\u{560}-\u{588}\u{10c7}\u{10cd}\u{10d0}-\u{10ff}\u{1c80}-\u{1c8f}\u{2d00}-\u{2d2d}\u{a790}-\u{a7fa}\u{ab30}-\u{ab6f}\u{10570}-\u{105bf}\u{10d50}-\u{10d8f}\u{16e40}-\u{16edf}\u{1d400}-\u{1dfff}]]+";
const DEEPSEEK_PUNCTUATION: &str =
    "\\s?[!-/:-~\u{ff01}-\u{ff0f}\u{ff1a}-\u{ff5e}\u{2018}-\u{201f}\u{3000}-\u{3002}]+";
/// Chinese, Japanese, and what lies between in Unicode; Korean syllables.
const DEEPSEEK_ASIAN: &str = "[\u{800}-\u{9fa5}\u{ac00}-\u{d7ff}]+";
const DEEPSEEK_3_ASIAN: &str = "[\u{4e00}-\u{9fa5}\u{3040}-\u{30ff}]+";
const BLOOM: &str = " ?[^(\\s|.,!?\u{2026}\u{3002}\u{ff0c}\u{3001}\u{964}\u{6d4}\u{60c})]+";

const PLAIN: Words = Words {
    names: &[],
    cuts: &[Cut::Regex(GPT_2)],
    composes: false,
    whole_words: false,
    begins: false,
};
const DIGIT: Cut = Cut::Digits { each: true };
const THREE_DIGITS: Cut = Cut::Regex(r"\p{N}{1,3}");

/// All ways that are known.
const KNOWN: &[Words] = &[
    // What llama.cpp does where a file says nothing: older files of any family.
    Words {
        names: &["default", ""],
        cuts: &[
            Cut::Regex(r"[\p{P}\$\+<=>\^~\|]+"),
            Cut::Regex(GPT_2),
            Cut::Regex(r"\p{N}+"),
            Cut::Regex("[0-9][0-9][0-9]"),
        ],
        ..PLAIN
    },
    Words {
        names: &["llama-bpe", "llama3", "llama-v3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"],
        cuts: &[Cut::Regex(LLAMA_3)],
        whole_words: true,
        begins: true,
        ..PLAIN
    },
    Words {
        names: &["dbrx", "smaug-bpe", "chatglm-bpe", "glm4"],
        cuts: &[Cut::Regex(LLAMA_3)],
        ..PLAIN
    },
    Words {
        names: &["qwen2", "deepseek-r1-qwen", "megrez", "kormo", "stablelm2"],
        cuts: &[Cut::Regex(QWEN_2)],
        composes: true,
        ..PLAIN
    },
    Words { names: &["hunyuan", "solar-open", "grok-2"], cuts: &[Cut::Regex(QWEN_2)], ..PLAIN },
    Words { names: &["qwen35"], cuts: &[Cut::Regex(QWEN_35)], composes: true, ..PLAIN },
    Words {
        names: &["tekken"],
        cuts: &[Cut::Regex(TEKKEN)],
        whole_words: true,
        begins: true,
        ..PLAIN
    },
    Words { names: &["gpt-4o", "llama4", "kanana2"], cuts: &[Cut::Regex(GPT_4O)], ..PLAIN },
    Words {
        names: &["smollm", "starcoder", "refact", "codeshell", "exaone", "minerva-7b", "mellum2"],
        cuts: &[DIGIT, Cut::Regex(GPT_2)],
        ..PLAIN
    },
    Words { names: &["command-r"], cuts: &[DIGIT, Cut::Regex(GPT_2)], composes: true, ..PLAIN },
    Words {
        names: &[
            "gpt-2",
            "phi-2",
            "jais",
            "exaone4",
            "trillion",
            "mellum",
            "a.x-4.0",
            "granite-docling",
        ],
        ..PLAIN
    },
    Words { names: &["olmo", "mpt"], composes: true, ..PLAIN },
    Words {
        names: &["falcon"],
        cuts: &[
            Cut::Punctuation,
            Cut::Gpt2AndBytes,
            Cut::Digits { each: false },
            Cut::Regex("[0-9][0-9][0-9]"),
        ],
        ..PLAIN
    },
    Words {
        names: &["falcon3"],
        cuts: &[Cut::Punctuation, Cut::Gpt2AndBytes, DIGIT],
        whole_words: true,
        begins: true,
        ..PLAIN
    },
    Words {
        names: &["deepseek-llm"],
        cuts: &[
            Cut::Regex("[\r\n]"),
            Cut::Regex(DEEPSEEK_LETTERS),
            Cut::Regex(DEEPSEEK_PUNCTUATION),
            Cut::Regex(r"\s+$"),
            Cut::Regex(DEEPSEEK_ASIAN),
            DIGIT,
        ],
        ..PLAIN
    },
    Words {
        names: &["deepseek-coder"],
        cuts: &[
            Cut::Regex("[\r\n]"),
            Cut::Regex(r"\s?\p{L}+"),
            Cut::Regex(r"\s?\p{P}+"),
            Cut::Regex(DEEPSEEK_ASIAN),
            DIGIT,
        ],
        ..PLAIN
    },
    Words {
        names: &["deepseek-v3", "hunyuan-dense", "joyai-llm"],
        cuts: &[THREE_DIGITS, Cut::Regex(DEEPSEEK_3_ASIAN), Cut::Regex(DEEPSEEK_3)],
        ..PLAIN
    },
    Words {
        names: &["minicpm5"],
        cuts: &[THREE_DIGITS, Cut::Regex(MINICPM_5)],
        whole_words: true,
        ..PLAIN
    },
    Words { names: &["seed-coder"], cuts: &[Cut::Regex(SEED_CODER)], ..PLAIN },
    Words { names: &["bloom", "poro-chat", "gpt3-finnish"], cuts: &[Cut::Regex(BLOOM)], ..PLAIN },
    Words { names: &["viking"], cuts: &[Cut::Regex(BLOOM), DIGIT], ..PLAIN },
];

/// The way of a name.
///
/// # Errors
/// Says that it is not known, and which are.
pub(super) fn named(name: &str) -> Result<&'static Words, String> {
    KNOWN.iter().find(|words| words.names.contains(&name)).ok_or_else(|| {
        let known: Vec<&str> = KNOWN.iter().flat_map(|words| words.names).copied().collect();
        let known = known.into_iter().filter(|name| !name.is_empty()).collect::<Vec<_>>().join(", ");
        format!("how its tokenizer cuts text into words, tokenizer.ggml.pre = {name:?}, is not known; expected one of {known}")
    })
}

/// Characters of bytes, as byte-level BPE writes them; after GPT-2's words or not.
pub(super) fn bytes(use_regex: bool) -> Value {
    json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": use_regex })
}

impl Cut {
    fn json(self) -> Value {
        match self {
            Self::Regex(pattern) => json!({
                "type": "Split", "pattern": { "Regex": pattern }, "behavior": "Isolated", "invert": false,
            }),
            Self::Digits { each } => json!({ "type": "Digits", "individual_digits": each }),
            Self::Punctuation => json!({ "type": "Punctuation", "behavior": "Contiguous" }),
            Self::Gpt2AndBytes => bytes(true),
        }
    }
}

impl Words {
    /// What the `tokenizers` library does to a text first.
    pub(super) fn normalizer(&self) -> Value {
        if self.composes { json!({ "type": "NFC" }) } else { Value::Null }
    }

    /// What it cuts a text with.
    pub(super) fn pre_tokenizer(&self) -> Value {
        let mut steps: Vec<Value> = self.cuts.iter().map(|cut| cut.json()).collect();
        if !self.cuts.iter().any(|cut| matches!(cut, Cut::Gpt2AndBytes)) {
            steps.push(bytes(false));
        }
        json!({ "type": "Sequence", "pretokenizers": steps })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use tokenizers::{
        OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, PreTokenizerWrapper,
    };

    #[derive(serde::Deserialize)]
    struct Fixture {
        texts: Vec<String>,
        /// Pieces of each text by the first name of a way.
        pieces: BTreeMap<String, Vec<Vec<String>>>,
    }

    #[test]
    fn every_way_cuts_as_its_family_does() {
        // source: scripts/fixtures/words.py, the tokenizers package with what each family publishes
        let text = include_str!("../../tests/fixtures/tokenizers/words.json");
        let fixture: Fixture = serde_json::from_str(text).unwrap();
        assert_eq!(fixture.texts.len(), 14);
        for words in KNOWN {
            let name = words.names[0];
            let cut: PreTokenizerWrapper = serde_json::from_value(words.pre_tokenizer()).unwrap();
            let expected = &fixture.pieces[name];
            for (text, expected) in fixture.texts.iter().zip(expected) {
                let mut pieces = PreTokenizedString::from(text.as_str());
                cut.pre_tokenize(&mut pieces).unwrap();
                let pieces = pieces.get_splits(OffsetReferential::Original, OffsetType::Byte);
                let pieces: Vec<&str> = pieces.iter().map(|piece| piece.0).collect();
                assert_eq!(pieces, *expected, "{name}: {text:?}");
            }
        }
    }

    #[test]
    fn names_are_unique_and_one_that_is_not_known_is_named() {
        let mut names: Vec<&str> = KNOWN.iter().flat_map(|words| words.names).copied().collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        for (alias, family) in
            [("llama3", "llama-bpe"), ("deepseek-r1-qwen", "qwen2"), ("", "default")]
        {
            assert_eq!(named(alias).unwrap().names[0], family);
        }
        let error = named("klingon").unwrap_err();
        assert!(error.contains("klingon") && error.contains("smollm"), "{error}");
    }
}
