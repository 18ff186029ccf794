//! How often texts hold each token: from this the draft vocabulary of a model is made.

use super::self_written::Written;
use super::texts::Texts;
use crate::data::samples::Pieces;
use s3d_model::weights::DraftVocabulary;
use s3d_model::{Error, Result, Tokenizer};

/// One part in so many of each file is held out.
pub(crate) const HELD_OUT: usize = 10;

/// How often texts hold each token of a vocabulary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenCounts {
    /// `[vocab]`, in the texts that a list is made from.
    counted: Vec<u64>,
    /// `[vocab]`, in the texts that it is judged by.
    held_out: Vec<u64>,
}

/// Tokens to choose drafts from.
#[derive(Debug, Clone, PartialEq)]
pub struct DraftTokens {
    /// The list.
    pub tokens: DraftVocabulary,
    /// The share of the tokens of held-out texts that it holds; none without such texts.
    pub coverage: Option<f64>,
}

impl TokenCounts {
    /// Texts of the model's own: counted with their prompts, of which it repeats much; judged by
    /// what it wrote after them, of which drafts are made.
    ///
    /// # Errors
    /// A token that is not of a vocabulary of `vocab` tokens; nothing to count.
    pub(crate) fn of_written<'t>(
        texts: impl IntoIterator<Item = &'t Written>,
        vocab: usize,
    ) -> Result<Self> {
        let mut counts = Self::none(vocab);
        for text in texts {
            let first = if text.held_out { text.prompt } else { 0 };
            counts.add(text.tokens.get(first..).unwrap_or_default(), text.held_out)?;
        }
        counts.some()
    }

    /// Texts of one's own, the last tenth of each file held out.
    ///
    /// # Errors
    /// A text that cannot be tokenized; nothing to count.
    pub fn of_texts(
        texts: &Texts,
        tokenizer: &Tokenizer,
        end: Option<u32>,
        vocab: usize,
    ) -> Result<Self> {
        let mut counts = Self::none(vocab);
        for file in &texts.files {
            let [counted, held_out] = tokens_of(file, tokenizer, end)?;
            counts.add(&counted, false)?;
            counts.add(&held_out, true)?;
        }
        counts.some()
    }

    /// What a training learns from.
    pub(crate) fn of_pieces(pieces: &Pieces, vocab: usize) -> Result<Self> {
        match pieces {
            Pieces::Generated => Err(Error::invalid(
                "a draft vocabulary is counted on texts; generated ones have no end: give --corpus",
            )),
            Pieces::Written { training, held_out } => {
                Self::of_written(training.iter().chain(held_out), vocab)
            }
            Pieces::Own { training, held_out } => {
                let mut counts = Self::none(vocab);
                counts.add(training, false)?;
                counts.add(held_out, true)?;
                Ok(counts)
            }
        }
    }

    /// The `size` most frequent tokens; those of `always` come first, whatever their count.
    ///
    /// # Errors
    /// A size that no list can have.
    pub fn most_frequent(&self, always: &[u32], size: usize) -> Result<DraftTokens> {
        let tokens = DraftVocabulary::most_frequent(&self.counted, always, size)?;
        let all: u64 = self.held_out.iter().sum();
        let listed: u64 = tokens.ids().iter().map(|id| self.held_out[*id as usize]).sum();
        let coverage = (all > 0).then(|| listed as f64 / all as f64);
        Ok(DraftTokens { tokens, coverage })
    }

    /// Tokens of the vocabulary.
    pub fn vocab(&self) -> usize {
        self.counted.len()
    }

    /// The counts, if anything was counted.
    fn some(self) -> Result<Self> {
        match self.counted.iter().any(|count| *count > 0) {
            true => Ok(self),
            false => Err(Error::invalid("no token to count: expected texts that are not held out")),
        }
    }

    fn none(vocab: usize) -> Self {
        Self { counted: vec![0; vocab], held_out: vec![0; vocab] }
    }

    fn add(&mut self, tokens: &[u32], held_out: bool) -> Result<()> {
        let counts = if held_out { &mut self.held_out } else { &mut self.counted };
        let vocab = counts.len();
        for token in tokens {
            let count = counts.get_mut(*token as usize).ok_or_else(|| {
                Error::invalid(format!(
                    "the texts hold token {token}, the model's vocabulary has {vocab}; give texts \
                     of this model"
                ))
            })?;
            *count += 1;
        }
        Ok(())
    }
}

/// The tokens of a file's texts, each ended by `end`: those that are learned from, and the last
/// tenth, which is held out.
pub(crate) fn tokens_of(
    file: &[String],
    tokenizer: &Tokenizer,
    end: Option<u32>,
) -> Result<[Vec<u32>; 2]> {
    let mut tokens = Vec::new();
    for text in file {
        tokens.extend(tokenizer.encode(text)?);
        tokens.extend(end);
    }
    let rest = tokens.split_off(tokens.len() - tokens.len() / HELD_OUT);
    Ok([tokens, rest])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(held_out: bool, prompt: usize, tokens: &[u32]) -> Written {
        let (id, task) = ("a".to_string(), "b".to_string());
        Written { id, task, held_out, prompt, tokens: tokens.to_vec() }
    }

    /// source: by hand
    #[test]
    fn whole_texts_are_counted_and_the_outputs_of_held_out_ones_judge() {
        let texts = [
            text(false, 2, &[9, 1, 1, 2, 2, 3]),
            text(false, 1, &[9, 2, 1, 2]),
            text(true, 1, &[9, 2, 2, 5, 0]),
        ];
        let counts = TokenCounts::of_written(&texts, 10).unwrap();
        let list = counts.most_frequent(&[0], 3).unwrap();
        assert_eq!(list.tokens.ids(), [0, 2, 1]);
        assert_eq!(list.coverage, Some(0.75));
        let alone = TokenCounts::of_written(&texts[..2], 10).unwrap();
        assert_eq!(alone.most_frequent(&[], 2).unwrap().coverage, None);
        let said = |texts: &[Written]| {
            let counts = TokenCounts::of_written(texts, 9);
            counts.and_then(|counts| counts.most_frequent(&[], 2)).unwrap_err().to_string()
        };
        assert!(said(&texts[2..]).contains("no token to count"));
        assert!(said(&[text(false, 0, &[9])]).contains("token 9"));
    }
}
