//! Texts that run into a loop: a small model repeats itself, and repetition is too easy to draft.

use crate::error::Result;
use crate::tokenizer::Tokenizer;

/// Times in a row that one sentence stands in a looping text.
const REPEATS: usize = 3;
/// Tokens of the longest and shortest sentence that is looked for where there is no text.
const PERIODS: std::ops::RangeInclusive<usize> = 4..=64;

/// How many of `tokens` come before the text repeats one sentence three times in a row: the loop is
/// cut after the sentence's first appearance. All of them when it never does.
///
/// Sentences end with `.`, `!`, `?` or a line break. Without a tokenizer, a sentence is any run of
/// 4 to 64 tokens.
///
/// # Errors
/// When the tokens cannot be decoded.
pub fn loop_cut(tokens: &[u32], tokenizer: Option<&Tokenizer>) -> Result<usize> {
    let Some(tokenizer) = tokenizer else {
        return Ok(token_loop(tokens).unwrap_or(tokens.len()));
    };
    let Some(end) = sentence_loop(&tokenizer.decode(tokens)?) else {
        return Ok(tokens.len());
    };
    let mut stream = tokenizer.stream();
    let mut written = 0;
    for (count, token) in tokens.iter().enumerate() {
        written += stream.push(&[*token])?.len();
        if written >= end {
            return Ok(count + 1);
        }
    }
    Ok(tokens.len())
}

/// Where the first sentence that stands three times in a row ends, in bytes.
fn sentence_loop(text: &str) -> Option<usize> {
    let mut ends = Vec::new();
    let mut sentences: Vec<&str> = Vec::new();
    let mut position = 0;
    for piece in text.split_inclusive(['.', '!', '?', '\n']) {
        position += piece.len();
        let sentence = piece.trim().trim_end_matches(['.', '!', '?']);
        if sentence.is_empty() {
            continue;
        }
        sentences.push(sentence);
        ends.push(position);
        let last = sentences.len().saturating_sub(REPEATS);
        if sentences.len() >= REPEATS && sentences[last..].iter().all(|s| *s == sentence) {
            return Some(ends[last]);
        }
    }
    None
}

/// The same on token ids: where the first run that stands three times in a row first ends.
fn token_loop(tokens: &[u32]) -> Option<usize> {
    (0..tokens.len()).find_map(|start| {
        let rest = &tokens[start..];
        let repeats = |period: &usize| {
            let run = &rest[..*period];
            rest.chunks_exact(*period).take(REPEATS).all(|other| other == run)
        };
        let period = PERIODS.filter(|period| period * REPEATS <= rest.len()).find(repeats)?;
        Some(start + period)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_three_times_in_a_row_is_a_loop() {
        assert_eq!(sentence_loop("He ran. She sat. She sat. She sat. End."), Some(16));
        assert_eq!(sentence_loop("He ran. She sat. He ran. She sat. He ran."), None);
        assert_eq!(sentence_loop("a b\na b\na b"), Some(4));
        assert_eq!(sentence_loop("Wait... What?! Wait."), None);
        assert_eq!(sentence_loop(""), None);
    }

    #[test]
    fn token_ids_loop_alike() {
        assert_eq!(token_loop(&[9, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4]), Some(5));
        assert_eq!(token_loop(&[1, 2, 3, 4, 1, 2, 3, 4, 5]), None);
        assert_eq!(loop_cut(&[1, 2, 3], None).unwrap(), 3);
    }
}
