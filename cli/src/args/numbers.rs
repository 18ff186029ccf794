//! Numbers that flags take: within the bounds of [`s3d_data::limits`], and finite.

use clap::builder::RangedU64ValueParser;
use s3d_data::limits;
use std::collections::BTreeSet;

/// A whole number from `low` to `high`.
fn count(low: usize, high: usize) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(low as u64..=high as u64)
}

/// Layers of a model.
pub fn layers() -> RangedU64ValueParser<usize> {
    count(1, limits::LAYERS)
}

/// Tokens of a context or a text.
pub fn tokens() -> RangedU64ValueParser<usize> {
    count(1, limits::TOKENS)
}

/// Texts decoded together.
pub fn batch() -> RangedU64ValueParser<usize> {
    count(1, limits::BATCH)
}

/// Numbers of texts that are decoded at once, ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batches(pub Vec<usize>);

/// Numbers that a list may have.
const MOST_BATCHES: usize = 32;

/// `1,2,4`, or `1..16`, which doubles from the first to the last.
pub fn batches(text: &str) -> Result<Batches, String> {
    let most = limits::BATCH;
    let wrong = || {
        format!(
            "expected numbers of texts from 1 to {most}, such as 1,2,4,8,16 or 1..16; found '{}'",
            s3d_data::shown(text)
        )
    };
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|number| digits && (1..=most).contains(number));
        number.ok_or_else(wrong)
    };
    let mut all = BTreeSet::new();
    for part in text.split(',').map(str::trim) {
        match part.split_once("..") {
            None => drop(all.insert(number(part)?)),
            Some((first, last)) => {
                let (first, last) = (number(first)?, number(last)?);
                if first > last {
                    return Err(wrong());
                }
                all.extend(std::iter::successors(Some(first), |n| {
                    Some(2 * n).filter(|n| *n < last)
                }));
                all.insert(last);
            }
        }
    }
    if all.len() > MOST_BATCHES {
        return Err(format!(
            "expected at most {MOST_BATCHES} numbers of texts, found {}",
            all.len()
        ));
    }
    Ok(Batches(all.into_iter().collect()))
}

/// Experts of a layer.
pub fn experts() -> RangedU64ValueParser<usize> {
    count(1, limits::EXPERTS)
}

/// Predictors.
pub fn predictors() -> RangedU64ValueParser<usize> {
    count(1, limits::PREDICTORS)
}

/// Rows of a tree of drafts: a draft and the last token at least.
pub fn tree_rows() -> RangedU64ValueParser<usize> {
    count(2, limits::PREDICTORS + 1)
}

/// Prompts, or plans that are listed.
pub fn listed() -> RangedU64ValueParser<usize> {
    count(1, limits::PROMPTS)
}

/// A share in percent, between nothing and all.
pub fn percent(text: &str) -> Result<f64, String> {
    let number: Option<f64> = text.trim().strip_suffix('%').and_then(|n| n.trim().parse().ok());
    let share = number.map(|number| number / 100.0).filter(|share| *share > 0.0 && *share < 1.0);
    share.ok_or_else(|| {
        format!("expected a share above 0% and below 100%, such as 2%; found '{text}'")
    })
}

/// A number that is neither NaN nor infinite.
pub fn finite(text: &str) -> Result<f64, String> {
    let number: Option<f64> = text.trim().parse().ok();
    number.filter(|number| number.is_finite()).ok_or_else(|| "expected a finite number".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_texts_are_a_list_or_doubled() {
        let read = |text| batches(text).unwrap().0;
        assert_eq!(read("1,2,4,8,16"), [1, 2, 4, 8, 16]);
        assert_eq!(read("1..16"), [1, 2, 4, 8, 16]);
        assert_eq!(read("3..20"), [3, 6, 12, 20]);
        assert_eq!(read("8, 1..2,8"), [1, 2, 8]);
        for bad in [
            "",
            "0",
            "1.5",
            "4..2",
            "100000",
            "-1",
            "NaN",
            "1,,2",
            "..",
            "1..",
            "+2",
            "1..2..4",
            "a",
            "99999999999999999999",
        ] {
            assert!(batches(bad).is_err(), "{bad}");
        }
        let many: Vec<String> = (1..=33).map(|n: u32| n.to_string()).collect();
        assert!(batches(&many.join(",")).unwrap_err().contains("at most 32"));
    }
}
