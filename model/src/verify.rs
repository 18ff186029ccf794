//! Accept or reject drafts: pure functions of what was drafted and what the full model says.

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
}
