//! The tokens of a prompt: a text, or a conversation.

use super::Tokenizer;
use super::chat::{ChatTemplate, Now, Rendering};
use crate::error::{Error, Result};
use s3d_data::Prompt;
use s3d_data::prompt::Message;

impl Tokenizer {
    /// The tokens of a prompt: of its text as it is, or of the conversation in the chat template,
    /// which writes special tokens itself.
    ///
    /// # Errors
    /// Messages without a chat template, a template that fails, a text that the tokenizer refuses.
    pub fn encode_prompt(&self, prompt: &Prompt, rendering: Rendering) -> Result<Vec<u32>> {
        let said = [Message::user(&prompt.text)];
        let messages = match prompt.messages.as_slice() {
            [] if !rendering.chat => return self.encode(&prompt.text),
            [] => &said[..],
            messages => messages,
        };
        self.encode_bare(&self.template()?.render(messages, rendering.now)?)
    }

    /// The tokens of a conversation up to where the words of a user begin.
    ///
    /// # Errors
    /// No chat template, or one that fails or leaves out what a user says.
    pub fn encode_before_user(&self, now: Now) -> Result<Vec<u32>> {
        /// A character for private use, which stands for the words.
        const WORDS: &str = "\u{e000}";
        let text = self.template()?.render(&[Message::user(WORDS)], now)?;
        let (before, _) = text.split_once(WORDS).ok_or_else(|| {
            Error::invalid("the chat template leaves out what a user says; take another model")
        })?;
        self.encode_bare(before)
    }

    fn template(&self) -> Result<&ChatTemplate> {
        self.chat().ok_or_else(|| {
            Error::invalid(
                "expected a model with a chat template, found none: give texts in place of \
                 messages, and leave out \
                 --chat",
            )
        })
    }
}
