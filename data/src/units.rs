//! Units: SI base units inside, scaling to ms, MiB or GB/s only in the display.
//!
//! The only place of the project where a number is multiplied or divided by a power of ten or of
//! 1024 for the sake of reading it.

use crate::error::{Error, Result};
use crate::limits;
use crate::quote::shown;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, Sub};
use std::str::FromStr;

/// A duration in seconds; finite.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seconds(pub f64);

/// A number of bytes.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Bytes(pub u64);

/// Bytes per second.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BytesPerSecond(pub f64);

/// Floating-point operations per second (a multiply-add counts as two).
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FlopsPerSecond(pub f64);

/// A clock frequency in Hz.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hertz(pub f64);

/// Arithmetic of quantities: they add, subtract and scale; a quantity over another one of its kind
/// is a ratio.
macro_rules! arithmetic {
    ($($unit:ident),*) => {$(
        impl Add for $unit {
            type Output = Self;
            fn add(self, other: Self) -> Self {
                Self(self.0 + other.0)
            }
        }

        impl AddAssign for $unit {
            fn add_assign(&mut self, other: Self) {
                self.0 += other.0;
            }
        }

        impl Sub for $unit {
            type Output = Self;
            fn sub(self, other: Self) -> Self {
                Self(self.0 - other.0)
            }
        }

        impl Mul<f64> for $unit {
            type Output = Self;
            fn mul(self, factor: f64) -> Self {
                Self(self.0 * factor)
            }
        }

        impl Div<f64> for $unit {
            type Output = Self;
            fn div(self, divisor: f64) -> Self {
                Self(self.0 / divisor)
            }
        }

        impl Div for $unit {
            type Output = f64;
            fn div(self, other: Self) -> f64 {
                self.0 / other.0
            }
        }

        impl Sum for $unit {
            fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
                all.fold(Self(0.0), Add::add)
            }
        }

        impl $unit {
            /// The larger of two.
            #[must_use]
            pub fn max(self, other: Self) -> Self {
                Self(self.0.max(other.0))
            }

            /// The smaller of two.
            #[must_use]
            pub fn min(self, other: Self) -> Self {
                Self(self.0.min(other.0))
            }
        }
    )*};
}

arithmetic!(Seconds, BytesPerSecond, FlopsPerSecond, Hertz);

impl Add for Bytes {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl Sub for Bytes {
    type Output = Self;

    /// No number of bytes is below 0: what is more than there is leaves none.
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Mul<f64> for Bytes {
    type Output = Self;

    /// Rounded to whole bytes.
    fn mul(self, factor: f64) -> Self {
        Self((self.0 as f64 * factor).round() as u64)
    }
}

impl Div for Bytes {
    type Output = f64;
    fn div(self, other: Self) -> f64 {
        self.0 as f64 / other.0 as f64
    }
}

impl Div<Seconds> for Bytes {
    type Output = BytesPerSecond;
    fn div(self, time: Seconds) -> BytesPerSecond {
        BytesPerSecond(self.0 as f64 / time.0)
    }
}

impl Div<BytesPerSecond> for Bytes {
    type Output = Seconds;
    fn div(self, rate: BytesPerSecond) -> Seconds {
        Seconds(self.0 as f64 / rate.0)
    }
}

impl Sum for Bytes {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self(0), Add::add)
    }
}

impl fmt::Display for Hertz {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} GHz", three_digits(self.0 / 1e9))
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.0.abs();
        let (scaled, unit) = if magnitude >= 1.0 || magnitude == 0.0 {
            (self.0, "s")
        } else if magnitude >= 1e-3 {
            (self.0 * 1e3, "ms")
        } else if magnitude >= 1e-6 {
            (self.0 * 1e6, "us")
        } else {
            (self.0 * 1e9, "ns")
        };
        write!(f, "{} {unit}", three_digits(scaled))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.0 as f64;
        for (power, unit) in [(3, "GiB"), (2, "MiB"), (1, "KiB")] {
            let scale = 1024f64.powi(power);
            if value >= scale {
                return match f.precision() {
                    Some(decimals) => write!(f, "{:.decimals$} {unit}", value / scale),
                    None => write!(f, "{} {unit}", three_digits(value / scale)),
                };
            }
        }
        write!(f, "{} B", self.0)
    }
}

impl fmt::Display for BytesPerSecond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} GB/s", three_digits(self.0 / 1e9))
    }
}

impl fmt::Display for FlopsPerSecond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} GFLOP/s", three_digits(self.0 / 1e9))
    }
}

/// A fraction of 1, written in percent: `Share(0.0132)` is `1.3 %`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Share(pub f64);

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = f.precision().unwrap_or(if self.0.abs() < 0.0995 { 1 } else { 0 });
        write!(f, "{:.decimals$} %", self.0 * 100.0)
    }
}

/// A value with about three significant digits, never in exponent form.
fn three_digits(value: f64) -> String {
    let magnitude = value.abs();
    let decimals = if magnitude >= 100.0 {
        0
    } else if magnitude >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.decimals$}")
}

impl Bytes {
    /// A mebibyte.
    pub const MEBIBYTE: Self = Self(1 << 20);
    /// The number of bytes in a GiB.
    pub(crate) const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

    /// From a number of GiB, as published tables give it.
    pub fn from_gib(gib: f64) -> Self {
        Self((gib * Self::GIB).round() as u64)
    }

    /// In GiB.
    pub fn gib(self) -> f64 {
        self.0 as f64 / Self::GIB
    }
}

impl Seconds {
    /// No time.
    pub const ZERO: Self = Self(0.0);
    /// A thousandth: `time / Seconds::MILLISECOND` is a number of milliseconds, and
    /// `Seconds::MILLISECOND * number` the time of one.
    pub const MILLISECOND: Self = Self(1e-3);
    /// A billionth.
    pub const NANOSECOND: Self = Self(1e-9);

    /// From a number of nanoseconds.
    pub fn from_nanoseconds(nanoseconds: f64) -> Self {
        Self::NANOSECOND * nanoseconds
    }
}

impl Hertz {
    /// A thousand a second.
    pub const KILOHERTZ: Self = Self(1e3);
    /// A million a second.
    pub const MEGAHERTZ: Self = Self(1e6);
}

/// Splits `"120s"` into `(120.0, "s")`.
fn number_and_suffix<'a>(text: &'a str, what: &str) -> Result<(f64, &'a str)> {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let value: f64 = text[..end].parse().map_err(|_| not_a(what, text))?;
    Ok((value, text[end..].trim()))
}

fn not_a(what: &str, text: &str) -> Error {
    Error::invalid(format!("expected {what}, found '{}'", shown(text)))
}

impl FromStr for Bytes {
    type Err = Error;

    /// Reads `8GiB`, `512MiB`, `16MB`, `1024`.
    fn from_str(text: &str) -> Result<Self> {
        const WHAT: &str = "a size such as 8GiB, 512MiB or 16GB";
        let (value, suffix) = number_and_suffix(text, WHAT)?;
        let scale = match suffix.to_ascii_lowercase().as_str() {
            "" | "b" => 1.0,
            "k" | "kib" => 1024.0,
            "m" | "mib" => 1024.0 * 1024.0,
            "g" | "gib" => Self::GIB,
            "t" | "tib" => Self::GIB * 1024.0,
            "kb" => 1e3,
            "mb" => 1e6,
            "gb" => 1e9,
            "tb" => 1e12,
            _ => return Err(not_a(WHAT, text)),
        };
        let bytes =
            limits::within("a size in bytes", value * scale, &(0.0..=limits::BYTES as f64))?;
        Ok(Self(bytes.round() as u64))
    }
}

impl FromStr for Seconds {
    type Err = Error;

    /// Reads `120s`, `2m`, `500ms`, `120`.
    fn from_str(text: &str) -> Result<Self> {
        const WHAT: &str = "a duration such as 120s, 2m or 500ms";
        let (value, suffix) = number_and_suffix(text, WHAT)?;
        let scale = match suffix {
            "" | "s" => 1.0,
            "ms" => 1e-3,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            _ => return Err(not_a(WHAT, text)),
        };
        Ok(Self(limits::within("a duration in seconds", value * scale, &limits::SPENT_SECONDS)?))
    }
}

/// A value with its 95 % interval. `low <= value <= high` is not demanded: a bootstrap interval
/// may leave its point estimate outside. One text, or one block of times, has no interval: both
/// ends are null then.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Estimate {
    /// The point estimate.
    pub value: f64,
    /// Lower end of the 95 % interval; none where there is no interval.
    pub low: Option<f64>,
    /// Upper end of the 95 % interval; none where there is no interval.
    pub high: Option<f64>,
}

impl Estimate {
    /// A value with its interval.
    pub fn new(value: f64, low: f64, high: f64) -> Self {
        Self { value, low: Some(low), high: Some(high) }
    }

    /// A value known exactly: an interval of no width.
    pub fn exact(value: f64) -> Self {
        Self::new(value, value, value)
    }

    /// A value whose interval is not known.
    pub fn alone(value: f64) -> Self {
        Self { value, low: None, high: None }
    }

    /// Both ends of the interval, where there is one.
    pub fn interval(&self) -> Option<(f64, f64)> {
        self.low.zip(self.high)
    }

    /// Both ends of the interval; the value twice where there is none: what a drawing reaches to.
    pub fn ends(&self) -> (f64, f64) {
        self.interval().unwrap_or((self.value, self.value))
    }

    /// Whether there is an interval and `value` lies in it, ends included.
    pub fn covers(&self, value: f64) -> bool {
        self.interval().is_some_and(|(low, high)| low <= value && value <= high)
    }

    /// Whether there is an interval and all of it lies above `value`.
    pub fn is_above(&self, value: f64) -> bool {
        self.low.is_some_and(|low| low > value)
    }

    /// Whether the interval of a ratio or rate is wider than a factor of two, or reaches 0: it says
    /// that more must be measured, and is not shown. Of what may be 0 (shares, losses) this says
    /// nothing.
    pub fn is_wide(&self) -> bool {
        self.interval().is_some_and(|(low, high)| low <= 0.0 || high > 2.0 * low)
    }

    /// Value and interval, each through `f` (monotone rising).
    pub fn map(&self, f: impl Fn(f64) -> f64) -> Self {
        Self { value: f(self.value), low: self.low.map(&f), high: self.high.map(&f) }
    }
}

/// What stands in place of an interval that is too wide to be shown.
pub const TOO_WIDE: &str = "more data needed";

impl fmt::Display for Estimate {
    /// `1.83 [1.75, 1.91]`, or `1.83 (no interval)`; a precision (`{:.1}`) sets the decimals. Of a
    /// ratio or rate (`{:#}`) an interval that is too wide is not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let p = f.precision().unwrap_or(2);
        match self.interval() {
            Some(_) if f.alternate() && self.is_wide() => {
                write!(f, "{:.p$} ({TOO_WIDE})", self.value)
            }
            Some((low, high)) => write!(f, "{:.p$} [{low:.p$}, {high:.p$}]", self.value),
            None => write!(f, "{:.p$} (no interval)", self.value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_read_back() {
        assert_eq!("8GiB".parse::<Bytes>().unwrap(), Bytes(8 << 30));
        assert_eq!("1.5 MB".parse::<Bytes>().unwrap(), Bytes(1_500_000));
        assert_eq!("2m".parse::<Seconds>().unwrap(), Seconds(120.0));
        assert_eq!("500ms".parse::<Seconds>().unwrap(), Seconds(0.5));
        let many = "9".repeat(400);
        for bad in ["", "GiB", "8 parsecs", "-3s", &many, "99999999999999999999"] {
            assert!(bad.parse::<Bytes>().is_err() && bad.parse::<Seconds>().is_err(), "{bad}");
        }
    }

    #[test]
    fn units_do_arithmetic() {
        // source: by hand
        let (long, short) = (Seconds(1.5), Seconds(0.5));
        assert_eq!((long + short, long - short, short * 3.0), (Seconds(2.0), Seconds(1.0), long));
        assert_eq!((long / short, long / 2.0), (3.0, Seconds(0.75)));
        assert_eq!([long, short, short].into_iter().sum::<Seconds>(), Seconds(2.5));
        assert_eq!(Seconds(0.25) / Seconds::MILLISECOND, 250.0);
        assert_eq!(Bytes(3000) / Seconds(1.5), BytesPerSecond(2000.0));
        assert_eq!(Bytes(3000) / BytesPerSecond(6000.0), Seconds(0.5));
        assert_eq!((Bytes(5) - Bytes(7), Bytes(5) + Bytes(7)), (Bytes(0), Bytes(12)));
        assert_eq!((Bytes(10) * 0.25, Bytes(10) / Bytes(4)), (Bytes(3), 2.5));
    }

    #[test]
    fn display_scales() {
        assert_eq!(Seconds(0.00234).to_string(), "2.34 ms");
        assert_eq!(Seconds(3.1e-5).to_string(), "31.0 us");
        assert_eq!(Share(0.0132).to_string(), "1.3 %");
        assert_eq!(Share(0.83).to_string(), "83 %");
        assert_eq!(Bytes(150 * 1024 * 1024).to_string(), "150 MiB");
        assert_eq!(BytesPerSecond(25.3e9).to_string(), "25.3 GB/s");
        assert_eq!(Hertz(2.445e9).to_string(), "2.44 GHz");
        assert_eq!(Estimate::new(1.834, 1.75, 1.91).to_string(), "1.83 [1.75, 1.91]");
        assert_eq!(Estimate::alone(1.834).to_string(), "1.83 (no interval)");
        let wide = Estimate::new(1.8, 0.9, 1.81);
        assert_eq!(format!("{wide:#.1} {wide:.1}"), "1.8 (more data needed) 1.8 [0.9, 1.8]");
    }

    #[test]
    fn an_interval_that_is_not_known_is_null() {
        let alone = Estimate::alone(1.5);
        let text = serde_json::to_string(&alone).unwrap();
        assert_eq!(text, r#"{"value":1.5,"low":null,"high":null}"#);
        assert_eq!(serde_json::from_str::<Estimate>(&text).unwrap(), alone);
        assert!(!alone.is_wide());
        assert!(!alone.is_above(1.0) && !alone.covers(1.5) && alone.ends() == (1.5, 1.5));
    }
}
