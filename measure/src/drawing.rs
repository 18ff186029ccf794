//! How tokens are drawn where a run is made at a temperature: every text has random numbers of its
//! own, which its name and the run's seed decide.

use crate::error::{Error, Result};
use crate::request::{Prompt, Request};
use s3d_data::Drawn;
use s3d_data::run::shard::digest;
use s3d_model::Sampling;

/// How the text of `prompt` is drawn that is traced; none: greedily.
///
/// # Errors
/// What [`sampling`] refuses.
pub(crate) fn of_text(request: &Request, prompt: &Prompt) -> Result<Option<Sampling>> {
    of(request, "text", prompt)
}

/// How the texts of a block are drawn: plain decoding and every plan with the same numbers, so that
/// the two turns of plain decoding give one text.
///
/// # Errors
/// What [`sampling`] refuses.
pub(crate) fn of_block(
    request: &Request,
    block: usize,
    prompt: &Prompt,
) -> Result<Option<Sampling>> {
    of(request, &format!("block {block}"), prompt)
}

fn of(request: &Request, what: &str, prompt: &Prompt) -> Result<Option<Sampling>> {
    let seed = seed(request.seed, what, &prompt.id);
    request.sampling.as_ref().map(|drawn| sampling(drawn, seed)).transpose()
}

/// Draws with the numbers of `seed`.
///
/// # Errors
/// A temperature or share that cannot be.
pub(crate) fn sampling(drawn: &Drawn, seed: u64) -> Result<Sampling> {
    drawn.check().map_err(|e| Error::invalid(e.to_string()))?;
    let all = Sampling::new(drawn.temperature, seed)?;
    Ok(match drawn.top_p {
        Some(share) => all.top_p(share)?,
        None => all,
    })
}

/// A seed that belongs to `what` of the text `id`.
fn seed(of_run: u64, what: &str, id: &str) -> u64 {
    let words = digest([of_run.to_string().as_str(), what, id]);
    u64::from_str_radix(&words, 16).unwrap_or(of_run)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_has_numbers_of_its_own() {
        let seeds = [
            seed(1, "text", "a"),
            seed(2, "text", "a"),
            seed(1, "block 0", "a"),
            seed(1, "block 1", "a"),
            seed(1, "text", "b"),
        ];
        for (place, seed) in seeds.iter().enumerate() {
            assert!(!seeds[..place].contains(seed), "{seeds:?}");
        }
        assert_eq!(seeds[0], seed(1, "text", "a"));
    }

    #[test]
    fn draws_that_cannot_be_are_refused() {
        let drawn = |temperature, top_p| sampling(&Drawn { temperature, top_p }, 1);
        assert_eq!(
            drawn(0.8, Some(0.9)).unwrap(),
            Sampling::new(0.8, 1).unwrap().top_p(0.9).unwrap()
        );
        assert!(drawn(-1.0, None).is_err() && drawn(0.8, Some(2.0)).is_err());
    }
}
