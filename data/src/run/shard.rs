//! Shards: parts of one request, each measured by a process of its own, and what `run.json` says of
//! them.

use crate::error::{Error, Result};
use crate::limits;
use crate::quote::shown;
use crate::units::Seconds;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// One of several equal parts of a list of work, written `2/5`.
///
/// Parts are contiguous, so that results put one behind the other in the order of their shards
/// stand as in a run that was never divided. A part depends on the list alone, never on how long
/// anything took.
///
/// ```
/// use s3d_data::Shard;
/// let parts: Vec<_> = (1..=3).map(|i| Shard::new(i, 3).unwrap().part(10)).collect();
/// assert_eq!(parts, [0..3, 3..6, 6..10]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Shard {
    index: usize,
    count: usize,
}

impl Shard {
    /// Shard `index` of `count`, counted from 1.
    ///
    /// # Errors
    /// Unless `1 <= index <= count`, or where nobody has so many machines.
    pub fn new(index: usize, count: usize) -> Result<Self> {
        limits::within("the number of shards", count, &(1..=limits::SHARDS))?;
        match (1..=count).contains(&index) {
            true => Ok(Self { index, count }),
            false => Err(expected(&format!("{index}/{count}"))),
        }
    }

    /// Its number, from 1.
    pub fn index(self) -> usize {
        self.index
    }

    /// How many there are.
    pub fn count(self) -> usize {
        self.count
    }

    /// Which of `items` things are its own: every thing belongs to exactly one of the shards.
    pub fn part(self, items: usize) -> Range<usize> {
        // Wide enough for any two numbers; the result is at most `items`.
        let end = |index: usize| (items as u128 * index as u128 / self.count as u128) as usize;
        end(self.index - 1)..end(self.index)
    }
}

fn expected(found: &str) -> Error {
    Error::invalid(format!(
        "expected i/n with 1 <= i <= n, such as 2/5 for the second of five parts; found '{}'",
        shown(found)
    ))
}

impl FromStr for Shard {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| text.parse().ok()).flatten()
        };
        let numbers = text.split_once('/').and_then(|(i, n)| Some((number(i)?, number(n)?)));
        let (index, count) = numbers.ok_or_else(|| expected(text))?;
        Self::new(index, count)
    }
}

impl TryFrom<String> for Shard {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Shard> for String {
    fn from(shard: Shard) -> Self {
        shard.to_string()
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

/// What was asked for, beside what every header says: the flag or thing, and its value in words.
/// Shards belong together when all of it is the same.
pub type RequestWords = BTreeMap<String, String>;

/// What was asked of each stage, by its name.
pub type Asked = BTreeMap<String, RequestWords>;

/// What the `run.json` of one shard says about that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sharding {
    /// Which part this is.
    pub shard: Shard,
    /// The request that was divided.
    pub request: RequestWords,
}

/// What the `run.json` of a merged run says about its shards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Merged {
    /// How many shards the request was divided into.
    pub count: usize,
    /// The request that was divided.
    pub request: RequestWords,
    /// Those that are here; all of them but in a partial merge.
    pub shards: Vec<MergedShard>,
}

/// One shard of a merged run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MergedShard {
    /// Which part it is.
    pub shard: Shard,
    /// Index of its machine into the machines of `run.json`.
    pub machine: usize,
    /// The command line that made it.
    pub command: Vec<String>,
    /// Threads used.
    pub threads: usize,
    /// Start, RFC 3339 UTC.
    pub started: String,
    /// End, RFC 3339 UTC; null for one that was not finished.
    pub ended: Option<String>,
    /// Seconds spent measuring, over all resumptions.
    pub seconds_measuring: Seconds,
}

/// The first 12 hexadecimal digits of the SHA-256 of `parts`, each ended by a zero byte: tells
/// lists apart in [`RequestWords`] that are too long to be written out.
pub fn digest<T: AsRef<[u8]>>(parts: impl IntoIterator<Item = T>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_ref());
        hash.update([0]);
    }
    hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_i_of_n_reads() {
        let shard: Shard = "2/5".parse().unwrap();
        assert_eq!((shard.index(), shard.count(), shard.to_string()), (2, 5, "2/5".into()));
        for many in ["1/0", "0/0", "1/1000000000000"] {
            let message = many.parse::<Shard>().unwrap_err().to_string();
            assert!(message.contains("the number of shards: expected 1 to 4096"), "{message}");
        }
        for bad in ["", "/", "0/2", "3/2", "-1/2", "+1/2", "1", "1/2/3", "a/b", "1 /2"] {
            let message = bad.parse::<Shard>().unwrap_err().to_string();
            assert!(message.contains("1 <= i <= n") && message.contains(bad), "{message}");
        }
        assert!("1/99999999999999999999999".parse::<Shard>().is_err());
        assert!(serde_json::from_str::<Shard>("\"4/3\"").is_err());
    }

    #[test]
    fn digests_are_those_of_sha256() {
        // source: printf 'a\0b\0' | sha256sum
        assert_eq!(digest(["a", "b"]), "8fb20ef63ced");
        assert_ne!(digest(["ab"]), digest(["a", "b"]));
    }

    proptest! {
        #[test]
        fn parts_cover_everything_once_and_evenly(items in 0usize..5000, count in 1usize..70) {
            let part = |i| Shard::new(i, count).unwrap().part(items);
            let parts: Vec<_> = (1..=count).map(part).collect();
            prop_assert_eq!(parts[0].start, 0);
            prop_assert_eq!(parts[count - 1].end, items);
            prop_assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].start));
            let lengths = || parts.iter().map(ExactSizeIterator::len);
            prop_assert!(lengths().max().unwrap() - lengths().min().unwrap() <= 1);
        }
    }
}
