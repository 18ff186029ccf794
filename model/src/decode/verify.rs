//! Accept or reject drafts: pure functions of what was drafted and what the full model says.

use crate::decode::sample::{Distribution, Numbers};
use crate::error::{Error, Result};

/// How many drafts greedy decoding accepts: the longest prefix equal to the arg max of the full
/// model. `argmax[i]` is its choice after the last committed token and the first `i` drafts.
///
/// ```
/// use s3d_model::verify_greedy;
/// assert_eq!(verify_greedy(&[5, 6, 7], &[5, 6, 9, 1]), 2); // then the 9 is committed for free
/// ```
pub fn verify_greedy(drafts: &[u32], argmax: &[u32]) -> usize {
    drafts.iter().zip(argmax).take_while(|(draft, choice)| draft == choice).count()
}

/// What verification commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// Drafts accepted, from the first on.
    pub accepted: usize,
    /// The token after them, which the full model gives for free.
    pub next: u32,
}

/// Speculative sampling (Leviathan et al., arXiv 2211.17192, algorithm 1; Chen et al., arXiv
/// 2302.01318): draft `x` is accepted with probability `min(1, p(x) / q(x))`, the first one refused
/// is replaced by a draw from the positive part of `p - q`, and when all are accepted one more
/// token is drawn from `p`. What is committed then has exactly the distribution of the full model,
/// whatever `q` is (appendix A.1 there).
///
/// Draft `i` was drawn from `proposals[i]` = `q`. `targets` yields `p` after the last committed
/// token and the first `i` drafts; it is asked for no more than is needed. `numbers(i)` are the
/// random numbers of draft `i`'s place.
///
/// # Errors
/// A target that fails, or fewer of them than drafts and one more.
pub fn verify_sampled(
    drafts: &[u32],
    proposals: &[Distribution],
    targets: impl IntoIterator<Item = Result<Distribution>>,
    numbers: impl Fn(usize) -> Numbers,
) -> Result<Verified> {
    let mut targets = targets.into_iter();
    let mut target = || {
        let next = targets.next();
        next.unwrap_or_else(|| {
            Err(Error::invalid("expected a target for every draft and one more"))
        })
    };
    for (accepted, (&draft, q)) in drafts.iter().zip(proposals).enumerate() {
        let (p, numbers) = (target()?, numbers(accepted));
        if numbers.accept * q.probability(draft) >= p.probability(draft) {
            // Where rounding leaves nothing of p - q, the two are the same.
            let next = p.beyond(q).unwrap_or(p).draw(numbers.choose);
            return Ok(Verified { accepted, next });
        }
    }
    let accepted = drafts.len().min(proposals.len());
    Ok(Verified { accepted, next: target()?.draw(numbers(accepted).choose) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_ends_the_prefix() {
        assert_eq!(verify_greedy(&[], &[1]), 0);
        assert_eq!(verify_greedy(&[1], &[1, 2]), 1);
        assert_eq!(verify_greedy(&[2, 2], &[1, 2, 3]), 0);
        assert_eq!(verify_greedy(&[1, 3, 3], &[1, 2, 3, 4]), 1);
    }

    fn distribution(weights: &[f64]) -> Distribution {
        Distribution::new(weights.to_vec()).unwrap()
    }

    fn verify(accept: f64, choose: f64) -> Verified {
        let q = [distribution(&[1.0, 3.0, 0.0]), distribution(&[1.0, 0.0, 1.0])];
        let p = [[2.0, 1.0, 1.0], [1.0, 1.0, 1.0], [0.0, 1.0, 1.0]];
        let targets = p.iter().map(|weights| Ok(distribution(weights)));
        let numbers = |_| Numbers { draft: f64::NAN, accept, choose };
        verify_sampled(&[1, 0], &q, targets, numbers).unwrap()
    }

    #[test]
    fn one_number_decides_each_draft() {
        // source: by hand. p / q of the drafts is (1/4) / (3/4) = 1/3 and (1/3) / (1/2) = 2/3; the
        // positive parts of p - q are (1/4, 0, 1/4) and (0, 1/3, 0).
        assert_eq!(verify(0.33, 0.2), Verified { accepted: 2, next: 1 });
        assert_eq!(verify(0.33, 0.6), Verified { accepted: 2, next: 2 });
        assert_eq!(verify(0.34, 0.49), Verified { accepted: 0, next: 0 });
        assert_eq!(verify(0.34, 0.51), Verified { accepted: 0, next: 2 });
        let second = |accept| {
            let q = [distribution(&[1.0, 0.0, 1.0])];
            let targets = [Ok(distribution(&[1.0; 3])), Ok(distribution(&[0.0, 0.0, 1.0]))];
            let numbers = |_| Numbers { draft: 0.0, accept, choose: 0.3 };
            verify_sampled(&[0], &q, targets, numbers).unwrap()
        };
        assert_eq!(second(0.66), Verified { accepted: 1, next: 2 });
        assert_eq!(second(0.67), Verified { accepted: 0, next: 1 });
    }

    #[test]
    fn certain_distributions_are_greedy() {
        let certain =
            |token: usize| distribution(&[0, 1, 2].map(|i| f64::from(u8::from(i == token))));
        let cases = [([1usize, 2], [1usize, 2, 0]), ([1, 2], [1, 0, 0]), ([0, 2], [1, 2, 0])];
        for (drafts, choices) in cases {
            let q = drafts.map(certain);
            let targets = choices.map(|choice| Ok(certain(choice)));
            let tokens = drafts.map(|draft| draft as u32);
            let found =
                verify_sampled(&tokens, &q, targets, |place| Numbers::at(1, place)).unwrap();
            let accepted = verify_greedy(&tokens, &choices.map(|choice| choice as u32));
            assert_eq!(found, Verified { accepted, next: choices[accepted] as u32 });
        }
    }

    #[test]
    fn a_missing_target_is_an_error() {
        let q = [distribution(&[1.0])];
        let none = || verify_sampled(&[0], &q, [], |place| Numbers::at(1, place));
        assert!(none().unwrap_err().to_string().contains("target"));
        let one = verify_sampled(&[0], &q, [Ok(q[0].clone())], |place| Numbers::at(1, place));
        assert!(one.is_err());
    }
}
