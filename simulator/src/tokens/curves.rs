//! Acceptance as a function of the skip ratio, and the rate itself: the only home of `U`.
//!
//! `alpha(beta; U)` falls as more layers are skipped; `U` says how well the model is trained to do
//! without them (larger is better), the ceiling what a draft reaches that skips nothing (1 for the
//! first predictor, below 1 for masks). A family with one shape parameter, as in the paper (arXiv
//! 2405.20314); which family is a choice that the data make (see [`mod@crate::fit`]).

pub use s3d_data::Family;

use crate::error::{Error, Result, positive};
use s3d_data::{AcceptanceCounts, SkipRatio};
use serde::{Deserialize, Serialize};

/// The probability that a draft is accepted given that those before it were (`alpha_i`), in [0, 1].
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct AcceptanceRate(f64);

impl AcceptanceRate {
    /// A rate.
    ///
    /// # Errors
    /// Outside `[0, 1]`.
    pub fn new(value: f64) -> Result<Self> {
        if (0.0..=1.0).contains(&value) {
            Ok(Self(value))
        } else {
            Err(Error::domain("acceptance rate", "a number in [0, 1]", value))
        }
    }

    /// Rates of several predictors.
    ///
    /// # Errors
    /// The first that lies outside `[0, 1]`.
    pub fn all(values: &[f64]) -> Result<Vec<Self>> {
        values.iter().map(|&value| Self::new(value)).collect()
    }

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }

    /// A number that is a rate up to rounding.
    pub(crate) fn clamped(value: f64) -> Self {
        Self(value.clamp(0.0, 1.0))
    }
}

impl TryFrom<f64> for AcceptanceRate {
    type Error = Error;
    fn try_from(value: f64) -> Result<Self> {
        Self::new(value)
    }
}

impl From<AcceptanceRate> for f64 {
    fn from(rate: AcceptanceRate) -> f64 {
        rate.0
    }
}

/// The conditional rates behind counts: accepted / attempted; `None` where nothing was attempted.
/// The one place where a rate is made of counts.
pub(crate) fn conditional_rates(counts: &AcceptanceCounts) -> Vec<Option<AcceptanceRate>> {
    let pairs = counts.accepted.iter().zip(&counts.attempted);
    pairs.map(|(&k, &n)| (n > 0).then(|| AcceptanceRate::clamped(k as f64 / n as f64))).collect()
}

#[derive(Debug, Clone, PartialEq)]
enum CurveShape {
    Power(f64),
    Superellipse(f64),
    Exponential(f64),
    Decay(f64),
    Logistic { centre: f64, slope: f64 },
    Isotonic(Vec<(f64, f64)>),
}

/// `alpha(beta; U)`: one predictor's acceptance by skip ratio.
#[derive(Debug, Clone, PartialEq)]
pub struct AcceptanceCurve {
    shape: CurveShape,
    ceiling: f64,
}

impl AcceptanceCurve {
    /// A curve of `family` with its [`Family::parameters`] and a ceiling.
    ///
    /// # Errors
    /// A shape parameter (`u`, `slope`) that is not above 0, a ceiling outside (0, 1], another
    /// number of parameters, or the isotonic family, which has points instead
    /// ([`Self::isotonic`]).
    pub fn new(family: Family, parameters: &[f64], ceiling: f64) -> Result<Self> {
        let shape = match (family, parameters) {
            (Family::Power, &[u]) => CurveShape::Power(positive("u", u)?),
            (Family::Superellipse, &[u]) => CurveShape::Superellipse(positive("u", u)?),
            (Family::Exponential, &[u]) => CurveShape::Exponential(positive("u", u)?),
            (Family::Decay, &[u]) => CurveShape::Decay(positive("u", u)?),
            (Family::Logistic, &[centre, slope]) if centre.is_finite() => {
                CurveShape::Logistic { centre, slope: positive("slope", slope)? }
            }
            _ => {
                let expected = match family {
                    Family::Isotonic => "measured points, from which alone it is made".to_string(),
                    _ => format!("the finite parameters {}", family.parameters().join(", ")),
                };
                return Err(Error::domain(
                    format!("curve {family}"),
                    expected,
                    format!("{parameters:?}"),
                ));
            }
        };
        Ok(Self { shape, ceiling: check_ceiling(ceiling)? })
    }

    /// The falling curve through `(skip ratio, rate)` points, linear between them and flat outside.
    ///
    /// # Errors
    /// No points, rates outside [0, 1], points that do not rise in skip ratio or fall in rate.
    pub fn isotonic(points: Vec<(f64, f64)>) -> Result<Self> {
        let sorted = points.windows(2).all(|p| p[0].0 < p[1].0 && p[0].1 >= p[1].1);
        let inside = points.iter().all(|p| (0.0..1.0).contains(&p.0) && (0.0..=1.0).contains(&p.1));
        if points.is_empty() || !sorted || !inside {
            return Err(Error::domain(
                "isotonic points",
                "rising skip ratios in [0, 1) with falling rates in [0, 1]",
                format!("{points:?}"),
            ));
        }
        Ok(Self { shape: CurveShape::Isotonic(points), ceiling: 1.0 })
    }

    /// Its family.
    pub fn family(&self) -> Family {
        match self.shape {
            CurveShape::Power(_) => Family::Power,
            CurveShape::Superellipse(_) => Family::Superellipse,
            CurveShape::Exponential(_) => Family::Exponential,
            CurveShape::Decay(_) => Family::Decay,
            CurveShape::Logistic { .. } => Family::Logistic,
            CurveShape::Isotonic(_) => Family::Isotonic,
        }
    }

    /// The rate that a draft reaches that skips nothing (`alpha_0`).
    pub fn ceiling(&self) -> f64 {
        self.ceiling
    }

    /// `alpha(beta; U)`.
    pub fn rate(&self, skip_ratio: SkipRatio) -> AcceptanceRate {
        let beta = skip_ratio.get();
        AcceptanceRate::clamped(self.ceiling * self.share_of_ceiling(beta))
    }

    /// `alpha / alpha_0` at `beta` (cost model, section 4).
    fn share_of_ceiling(&self, beta: f64) -> f64 {
        match &self.shape {
            CurveShape::Power(u) => one_minus_power(beta, *u),
            CurveShape::Superellipse(u) => one_minus_power(beta, *u).powf(u.recip()),
            CurveShape::Exponential(u) => (-u * (1.0 - beta)).exp_m1() / (-u).exp_m1(),
            CurveShape::Decay(u) => (-beta / u).exp(),
            CurveShape::Logistic { centre, slope } => scaled_logistic(beta, *centre, *slope),
            CurveShape::Isotonic(points) => interpolate(points, beta),
        }
    }
}

fn check_ceiling(ceiling: f64) -> Result<f64> {
    if ceiling > 0.0 && ceiling <= 1.0 {
        Ok(ceiling)
    } else {
        Err(Error::domain("ceiling", "a number in (0, 1]", ceiling))
    }
}

/// `1 - beta^u`: exact for `u = 1`, and without cancellation where `beta^u` is near 1.
fn one_minus_power(beta: f64, u: f64) -> f64 {
    let power = beta.powf(u);
    if u == 1.0 || power <= 0.5 { 1.0 - power } else { -(u * beta.ln()).exp_m1() }
}

/// `(s(k(c - beta)) - s(k(c - 1))) / (s(k c) - s(k(c - 1)))` with the sigmoid `s`, rewritten by
/// `s(x) - s(y) = sinh((x - y) / 2) / (2 cosh(x / 2) cosh(y / 2))` so that nothing cancels:
/// `sinh(k(1 - beta)/2) cosh(k c/2) / (sinh(k/2) cosh(k(c - beta)/2))`, in decaying exponentials.
fn scaled_logistic(beta: f64, centre: f64, slope: f64) -> f64 {
    let (top, here) = ((slope * centre).abs(), (slope * (centre - beta)).abs());
    let sinh = (-slope * (1.0 - beta)).exp_m1() / (-slope).exp_m1();
    let cosh = (1.0 + (-top).exp()) / (1.0 + (-here).exp());
    sinh * cosh * (0.5 * (top - here - slope * beta)).exp()
}

/// The value at `x` on the line through sorted `points`, flat outside them.
fn interpolate(points: &[(f64, f64)], x: f64) -> f64 {
    let after = points.partition_point(|point| point.0 < x);
    match (after.checked_sub(1).map(|before| points[before]), points.get(after)) {
        (Some(left), Some(right)) => {
            left.1 + (right.1 - left.1) * (x - left.0) / (right.0 - left.0)
        }
        (Some(end), None) => end.1,
        (None, Some(start)) => start.1,
        (None, None) => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(beta: f64) -> SkipRatio {
        SkipRatio::new(beta).unwrap()
    }

    fn curve(family: Family, u: f64) -> AcceptanceCurve {
        let parameters: &[f64] = if family == Family::Logistic { &[0.7, 8.0] } else { &[u] };
        AcceptanceCurve::new(family, parameters, 1.0).unwrap()
    }

    #[test]
    fn every_family_starts_at_its_ceiling_and_all_but_decay_end_at_zero() {
        // source: cost model, section 4: alpha(0) = alpha_0, alpha(1) = 0 except for decay
        for family in &Family::ALL[..5] {
            assert_eq!(curve(*family, 2.5).rate(at(0.0)).get(), 1.0, "{family}");
            let end = curve(*family, 2.5).rate(at(1.0 - 1e-15)).get();
            assert!(
                if *family == Family::Decay { end > 0.6 } else { end < 1e-5 },
                "{family} {end}"
            );
        }
    }

    #[test]
    fn at_u_one_power_and_superellipse_are_the_line() {
        for layers in 1..80usize {
            for skipped in 0..layers {
                let beta = skipped as f64 / layers as f64;
                for family in [Family::Power, Family::Superellipse] {
                    assert_eq!(curve(family, 1.0).rate(at(beta)).get(), 1.0 - beta);
                }
            }
        }
    }

    #[test]
    fn isotonic_interpolates_and_stays_flat_outside() {
        let curve = AcceptanceCurve::isotonic(vec![(0.2, 0.9), (0.6, 0.5)]).unwrap();
        let rates = [0.0, 0.2, 0.4, 0.6, 0.9].map(|beta| curve.rate(at(beta)).get());
        assert_eq!(rates, [0.9, 0.9, 0.7, 0.5, 0.5]);
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(AcceptanceCurve::new(Family::Power, &[bad], 1.0).is_err());
            assert!(AcceptanceCurve::new(Family::Logistic, &[0.5, bad], 1.0).is_err());
        }
        for ceiling in [0.0, 1.1, f64::NAN] {
            assert!(AcceptanceCurve::new(Family::Power, &[2.0], ceiling).is_err());
        }
        assert!(AcceptanceCurve::new(Family::Isotonic, &[], 1.0).is_err());
        assert!(AcceptanceCurve::isotonic(vec![(0.2, 0.5), (0.6, 0.9)]).is_err());
        let message = "powr".parse::<Family>().unwrap_err().to_string();
        assert!(message.contains("power, superellipse") && message.contains("'powr'"), "{message}");
        let message = AcceptanceRate::new(1.2).unwrap_err().to_string();
        assert_eq!(message, "acceptance rate: expected a number in [0, 1], found 1.2");
    }

    #[test]
    fn rates_are_made_of_counts() {
        let counts = AcceptanceCounts { attempted: vec![10, 8, 0], accepted: vec![8, 2, 0] };
        let rates: Vec<_> =
            conditional_rates(&counts).iter().map(|r| r.map(AcceptanceRate::get)).collect();
        assert_eq!(rates, [Some(0.8), Some(0.25), None]);
    }
}
