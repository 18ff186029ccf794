//! Text to token ids and back, and a stream of text from a stream of tokens.

pub mod chat;
pub(crate) mod flags;
mod gguf;
mod guard;
mod prompt;
pub(crate) mod vocabulary;
mod words;

use crate::error::{Error, Result};
use crate::tokenizer::chat::ChatTemplate;
use guard::FILE_BYTES_MAX;
use std::path::{Path, PathBuf};

/// Where the tokenizer of a model comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum TokenizerFrom {
    /// The checkpoint itself, where it has one.
    #[default]
    Checkpoint,
    /// A `tokenizer.json`.
    File(PathBuf),
    /// Token ids are all that is wanted.
    Nowhere,
}

/// Tokens before a stream that its decoder sees.
const CONTEXT: usize = 8;

/// The tokenizer of a checkpoint (`tokenizer.json`, or the vocabulary of a GGUF file).
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// How conversations are written.
    pub(crate) chat: Option<ChatTemplate>,
}

impl Tokenizer {
    /// Reads a `tokenizer.json`. What it says of cutting and filling up texts is somebody's saved
    /// state, and left aside.
    ///
    /// # Errors
    /// When the file cannot be read, is too large or is no tokenizer.
    pub fn load(path: &Path) -> Result<Self> {
        let io = |e| Error::io("read", path, e);
        let found = std::fs::metadata(path).map_err(io)?;
        if !found.is_file() || found.len() > FILE_BYTES_MAX {
            let message = format!(
                "expected a regular file of at most {FILE_BYTES_MAX} bytes; found {}",
                if found.is_file() { format!("{} bytes", found.len()) } else { "none".into() }
            );
            return Err(Error::malformed(path, message));
        }
        Self::from_bytes(&std::fs::read(path).map_err(io)?, path)
    }

    /// Reads the content of a `tokenizer.json` that came from `path`, which errors name.
    ///
    /// # Errors
    /// When it is no tokenizer, or one that the library would not survive.
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self> {
        let inner = guard::read(bytes).map_err(|e| {
            let text: String = e.chars().take(200).collect();
            Error::malformed(path, format!("not a tokenizer: {}", text.escape_debug()))
        })?;
        Ok(Self { inner, chat: None })
    }

    /// Wraps a tokenizer that was just trained.
    pub fn from_inner(inner: tokenizers::Tokenizer) -> Self {
        Self { inner, chat: None }
    }

    /// The text of a `tokenizer.json`.
    ///
    /// # Errors
    /// When the tokenizer cannot be written as JSON.
    pub fn to_json(&self) -> Result<String> {
        let text = self.inner.to_string(true);
        text.map_err(|e| Error::invalid(format!("the tokenizer cannot be written: {e}")))
    }

    /// Writes a `tokenizer.json`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let text = self.inner.to_string(true).map_err(|e| Error::malformed(path, e.to_string()))?;
        std::fs::write(path, text).map_err(|e| Error::io("write", path, e))
    }

    /// The chat template that came with the tokenizer.
    pub fn chat(&self) -> Option<&ChatTemplate> {
        self.chat.as_ref()
    }

    /// The largest token id and 1: added tokens are counted, and ids that no token has.
    pub fn vocab_size(&self) -> usize {
        let ids = self.inner.get_vocab(true).into_values();
        ids.max().map_or(0, |id| id as usize + 1)
    }

    /// The id of one token, special tokens included.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The tokens of `text`, with what the tokenizer itself adds around it (a begin-of-text token,
    /// say).
    ///
    /// # Errors
    /// When the tokenizer refuses the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        self.encode_with(text, true)
    }

    /// The tokens of `text` alone, as a chat template wants it.
    ///
    /// # Errors
    /// When the tokenizer refuses the text.
    pub fn encode_bare(&self, text: &str) -> Result<Vec<u32>> {
        self.encode_with(text, false)
    }

    fn encode_with(&self, text: &str, special: bool) -> Result<Vec<u32>> {
        guard::encode(&self.inner, text, special)
            .map_err(|e| Error::invalid(format!("cannot encode the text: {e}")))
    }

    /// The text of `tokens`, special tokens left out.
    ///
    /// # Errors
    /// When the tokenizer's decoder fails.
    pub fn decode(&self, tokens: &[u32]) -> Result<String> {
        guard::decode(&self.inner, tokens)
            .map_err(|e| Error::invalid(format!("cannot decode the tokens: {e}")))
    }

    /// A decoder for tokens that arrive one after another.
    pub fn stream(&self) -> TextStream<'_> {
        self.stream_after(&[])
    }

    /// A decoder for tokens that continue `text`: spaces between the two are not lost.
    pub fn stream_after(&self, text: &[u32]) -> TextStream<'_> {
        let tokens = text[text.len().saturating_sub(CONTEXT)..].to_vec();
        TextStream { tokenizer: self, prefix: 0, read: tokens.len(), tokens }
    }
}

/// Turns tokens into text as they come. Text is held back while it may still change: a character
/// of several bytes can be spread over several tokens.
#[derive(Debug, Clone)]
pub struct TextStream<'t> {
    tokenizer: &'t Tokenizer,
    tokens: Vec<u32>,
    /// First token of the window that is decoded again; gives decoders their left context.
    prefix: usize,
    /// First token whose text was not handed out yet.
    read: usize,
}

impl TextStream<'_> {
    /// Adds `tokens` and returns the text they complete (empty when a character is still open).
    ///
    /// # Errors
    /// When the tokenizer's decoder fails.
    pub fn push(&mut self, tokens: &[u32]) -> Result<String> {
        self.tokens.extend_from_slice(tokens);
        let text = self.fresh()?;
        if text.is_empty() || text.ends_with('\u{fffd}') {
            return Ok(String::new());
        }
        self.prefix = self.read;
        self.read = self.tokens.len();
        Ok(text)
    }

    /// The text still held back, with a replacement character where a character never ended.
    ///
    /// # Errors
    /// When the tokenizer's decoder fails.
    pub fn finish(mut self) -> Result<String> {
        let text = self.fresh()?;
        self.read = self.tokens.len();
        Ok(text)
    }

    /// What the tokens from `read` on add to the text of those from `prefix` on.
    fn fresh(&self) -> Result<String> {
        let before = self.tokenizer.decode(&self.tokens[self.prefix..self.read])?;
        let mut now = self.tokenizer.decode(&self.tokens[self.prefix..])?;
        Ok(if now.is_char_boundary(before.len()) { now.split_off(before.len()) } else { now })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A byte-level tokenizer of 256 tokens, one per byte, so that characters span tokens.
    fn bytes() -> Tokenizer {
        use tokenizers::decoders::byte_level::ByteLevel;
        use tokenizers::models::bpe::BPE;
        let mut alphabet: Vec<char> = ByteLevel::alphabet().into_iter().collect();
        alphabet.sort_unstable();
        let vocab = alphabet.iter().enumerate().map(|(id, c)| (c.to_string(), id as u32));
        let model = BPE::builder()
            .vocab_and_merges(vocab.collect::<tokenizers::models::bpe::Vocab>(), vec![])
            .build()
            .unwrap();
        let mut inner = tokenizers::Tokenizer::new(model);
        inner.with_pre_tokenizer(Some(ByteLevel::new(false, false, false)));
        inner.with_decoder(Some(ByteLevel::new(false, false, false)));
        Tokenizer::from_inner(inner)
    }

    #[test]
    fn a_stream_of_single_tokens_spells_the_text() {
        let tokenizer = bytes();
        let text = "Grüße, 世界! 🦀 ok";
        let tokens = tokenizer.encode(text).unwrap();
        assert_eq!(tokens.len(), text.len());
        let mut stream = tokenizer.stream();
        let mut spelled = String::new();
        for token in tokens {
            let piece = stream.push(&[token]).unwrap();
            assert!(!piece.contains('\u{fffd}'));
            spelled += &piece;
        }
        spelled += &stream.finish().unwrap();
        assert_eq!(spelled, text);
    }

    #[test]
    fn a_stream_after_a_text_spells_what_follows() {
        let tokenizer = bytes();
        let tokens = tokenizer.encode("from here on é").unwrap();
        let (text, rest) = tokens.split_at(9);
        let mut stream = tokenizer.stream_after(text);
        let spelled = stream.push(rest).unwrap() + &stream.finish().unwrap();
        assert_eq!(spelled, " on é");
    }

    #[test]
    fn a_missing_file_and_a_broken_file_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokenizer.json");
        assert!(Tokenizer::load(&path).unwrap_err().to_string().contains("tokenizer.json"));
        std::fs::write(&path, "{}").unwrap();
        assert!(Tokenizer::load(&path).unwrap_err().to_string().contains("not a tokenizer"));
    }
}
