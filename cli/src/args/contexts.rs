//! The contexts that a run is asked about: one, a range that doubles, or a list.

use s3d_data::limits;
use s3d_data::results::CONTEXTS;
use std::str::FromStr;

/// The context where none is asked for, in tokens.
const DEFAULT: usize = 256;
/// The shortest context that passes are timed at.
const SHORTEST: usize = 16;

/// Rising contexts in tokens, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contexts {
    own: usize,
    further: Vec<usize>,
}

impl Contexts {
    /// What `--context` is where it is not given.
    pub const DEFAULT: &str = "256";

    /// The context that the one choice is made for: the shortest.
    pub fn own(&self) -> usize {
        self.own
    }

    /// The longest.
    pub fn longest(&self) -> usize {
        self.further.last().copied().unwrap_or(self.own)
    }

    /// All, where there are several; else none.
    pub fn several(&self) -> Vec<usize> {
        match self.further[..] {
            [] => Vec::new(),
            _ => std::iter::once(self.own).chain(self.further.iter().copied()).collect(),
        }
    }

    /// Whether it is what is asked where nothing is.
    pub fn is_default(&self) -> bool {
        self.own == DEFAULT && self.further.is_empty()
    }
}

impl FromStr for Contexts {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || {
            format!(
                "expected a number of tokens (256), a range that doubles (256..4096) or a rising \
                 list (256,1024,4096) of at most {CONTEXTS}, each from {SHORTEST} to {} tokens",
                limits::TOKENS
            )
        };
        let tokens = |text: &str| {
            let tokens: Option<usize> = text.trim().parse().ok();
            tokens.filter(|tokens| (SHORTEST..=limits::TOKENS).contains(tokens)).ok_or_else(bad)
        };
        let all: Vec<usize> = match text.split_once("..") {
            Some((from, to)) => {
                let (from, to) = (tokens(from)?, tokens(to)?);
                let doubling = std::iter::successors(Some(from), |tokens| Some(tokens * 2));
                doubling.take_while(|tokens| *tokens < to).chain([to]).collect()
            }
            None => text.split(',').map(tokens).collect::<Result<_, _>>()?,
        };
        let range = text.contains("..");
        let rising = all.windows(2).all(|pair| pair[0] < pair[1]) && all.len() <= CONTEXTS;
        match &all[..] {
            [own, further @ ..] if rising && !(range && further.is_empty()) => {
                Ok(Self { own: *own, further: further.to_vec() })
            }
            _ => Err(bad()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn several(text: &str) -> Vec<usize> {
        text.parse::<Contexts>().unwrap().several()
    }

    #[test]
    fn one_a_range_that_doubles_or_a_list() {
        let one: Contexts = Contexts::DEFAULT.parse().unwrap();
        assert!(one.is_default() && one.several().is_empty());
        assert_eq!((one.own(), one.longest()), (256, 256));
        assert_eq!(several("256..4096"), [256, 512, 1024, 2048, 4096]);
        // source: by hand: 160 is twice 80, and the end is asked about too
        assert_eq!(several("80..200"), [80, 160, 200]);
        assert_eq!(several("256, 1000,4096"), [256, 1000, 4096]);
        assert_eq!("80..200".parse::<Contexts>().unwrap().longest(), 200);
    }

    #[test]
    fn what_is_no_context_is_refused() {
        let many: Vec<String> = (16..99).map(|tokens| tokens.to_string()).collect();
        for bad in [
            "",
            "x",
            "0",
            "15",
            "-256",
            "1.5",
            "NaN",
            "512..256",
            "256..256",
            "256..",
            "..256",
            "256...512",
            "1..4",
            "256,",
            "512,256",
            "256,256",
            "256:3,1024:1",
            "99999999999999999999",
            "256..99999999999",
            &many.join(","),
        ] {
            assert!(bad.parse::<Contexts>().is_err(), "{bad}");
        }
    }
}
