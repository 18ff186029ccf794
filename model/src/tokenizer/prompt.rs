//! The tokens of a prompt: a text, or a conversation.

use super::Tokenizer;
use super::chat::Rendering;
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
        let template = self.chat().ok_or_else(|| {
            Error::invalid(
                "expected a model with a chat template, found none: give texts in place of \
                 messages, and leave out \
                 --chat",
            )
        })?;
        self.encode_bare(&template.render(messages, rendering.now)?)
    }
}
