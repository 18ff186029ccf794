//! Numbers that flags take: within the bounds of [`s3d_data::limits`], and finite.

use clap::builder::RangedU64ValueParser;
use s3d_data::limits;

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

/// Experts of a layer.
pub fn experts() -> RangedU64ValueParser<usize> {
    count(1, limits::EXPERTS)
}

/// Predictors.
pub fn predictors() -> RangedU64ValueParser<usize> {
    count(1, limits::PREDICTORS)
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
