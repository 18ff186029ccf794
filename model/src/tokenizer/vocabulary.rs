//! The vocabulary that a GGUF file holds, as it says it.

/// What a GGUF file says of its tokenizer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Vocabulary {
    /// `gpt2` for byte-level BPE, `llama` for SentencePiece.
    pub model: String,
    /// How a byte-level BPE cuts text into words before it merges.
    pub pre: String,
    /// Tokens by id.
    pub tokens: Vec<String>,
    /// Kinds by id: 1 normal, 2 unknown, 3 control, 4 added by users, 5 unused, 6 a byte.
    pub kinds: Vec<i64>,
    /// Scores by id (SentencePiece).
    pub scores: Vec<f64>,
    /// Pairs, first merged first (byte-level BPE).
    pub merges: Vec<String>,
    /// Begin-of-text token.
    pub begin: Option<u32>,
    /// End-of-text token.
    pub end: Option<u32>,
    /// Whether every text begins with it; unsaid in some files.
    pub add_begin: Option<bool>,
    /// Whether every text ends with the end-of-text token; unsaid in most files.
    pub add_end: Option<bool>,
    /// Whether a space is put before a text; unsaid in some files.
    pub add_space: Option<bool>,
    /// The template of conversations.
    pub chat_template: Option<String>,
    /// The model's name.
    pub name: String,
}
