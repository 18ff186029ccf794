//! The tokenizer of the corpus: byte-level BPE (Sennrich et al. 2016), learned from training
//! documents.
//!
//! Words keep the space before them, every digit is a token of its own, and any text can be
//! encoded, because all 256 bytes are in the vocabulary.

use crate::corpus::{Split, document};
use s3d_model::{Error, Result, Tokenizer};
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split as SplitBy, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior};

/// The token that ends a text.
pub(crate) const END_OF_TEXT: &str = "</s>";

/// What may not be merged across: words, single digits and signs, each with the space before it.
const PIECES: &str = r" ?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]+|\s";

/// Learns a vocabulary of `size` tokens, `</s>` (token 0) included, from the first
/// `documents` training documents of the corpus of `seed`.
pub fn learn_tokenizer(seed: u64, size: usize, documents: u64) -> Result<Tokenizer> {
    build(seed, size, documents)
        .map_err(|error| Error::invalid(format!("the tokenizer could not be learned: {error}")))
}

fn build(seed: u64, size: usize, documents: u64) -> tokenizers::Result<Tokenizer> {
    let mut inner = tokenizers::Tokenizer::new(BPE::default());
    let pieces = SplitPattern::Regex(PIECES.into());
    let pieces = SplitBy::new(pieces, SplitDelimiterBehavior::Isolated, false)?;
    let bytes = ByteLevel::new(false, true, false);
    inner.with_pre_tokenizer(Some(Sequence::new(vec![pieces.into(), bytes.into()])));
    inner.with_decoder(Some(bytes));
    let trainer = BpeTrainer::builder()
        .vocab_size(size)
        .show_progress(false)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .special_tokens(vec![AddedToken::from(END_OF_TEXT, true)])
        .build();
    let texts = (0..documents).map(|index| document(seed, Split::Training, index).text);
    inner.train(&mut TrainerWrapper::BpeTrainer(trainer), texts)?;
    Ok(Tokenizer::from_inner(inner))
}
