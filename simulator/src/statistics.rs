//! Medians, quantiles, resampling of clusters, small least squares: the few statistics used here.

use crate::error::{Error, Result};
use ndarray::{Array1, Array2, ArrayView1, Axis};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use s3d_data::Estimate;
use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

/// Half the width of a 95 % interval of a normal variate, in standard errors.
pub(crate) const Z95: f64 = 1.96;
/// Standard deviation of a normal variate over its median absolute deviation from the middle.
pub const SIGMA_OF_MAD: f64 = 1.4826;
/// The median of the absolute value of a normal variate, in standard deviations.
pub(crate) const MEDIAN_ABSOLUTE: f64 = 0.6745;
/// Standard error of a median over that of a mean, for normal values.
pub(crate) const MEDIAN_ERROR: f64 = 1.2533;

/// The quantile `q` of `sorted` values, linear between order statistics (type 7 of Hyndman and Fan,
/// The American Statistician 50, 1996); `None` without values.
pub(crate) fn quantile_of_sorted(sorted: &[f64], q: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let place = q.clamp(0.0, 1.0) * last as f64;
    let (low, share) = (place.floor() as usize, place.fract());
    let high = (low + 1).min(last);
    Some(sorted[low] + (sorted[high] - sorted[low]) * share)
}

/// The quantile `q` of `values`; `None` without values.
pub fn quantile(values: &[f64], q: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    quantile_of_sorted(&sorted, q)
}

/// The median; `None` without values.
pub fn median(values: &[f64]) -> Option<f64> {
    quantile(values, 0.5)
}

/// The least value up to which half of the weight lies; `None` without values.
pub(crate) fn weighted_median(values: &[(f64, f64)]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let half = sorted.iter().map(|(_, weight)| weight).sum::<f64>() / 2.0;
    let mut below = 0.0;
    let reached = |(value, weight): &(f64, f64)| {
        below += weight;
        (below >= half).then_some(*value)
    };
    sorted.iter().find_map(reached)
}

/// The median and its standard error, from the median absolute deviation: `sigma = 1.4826 MAD` and
/// `1.2533 sigma / sqrt(n)` for normal values, robust against the bursts of a busy machine.
pub(crate) fn robust_mean(values: &[f64]) -> Option<(f64, f64)> {
    let middle = median(values)?;
    let deviations: Vec<f64> = values.iter().map(|value| (value - middle).abs()).collect();
    let sigma = SIGMA_OF_MAD * median(&deviations)?;
    Some((middle, MEDIAN_ERROR * sigma / (values.len() as f64).sqrt()))
}

/// Tails that make a percentile interval hold 95 % although only `clusters` were resampled: the
/// bootstrap's spread lacks the factor `sqrt(n / (n - 1))`, its tails those of Student's t
/// (expanded percentile, Hesterberg, The American Statistician 69, 2015).
pub fn tail(clusters: usize) -> f64 {
    const PLAIN: f64 = 0.025;
    // Beyond a thousand clusters Student's t is the normal law (and its inverse slow to converge).
    if !(2..1000).contains(&clusters) {
        return PLAIN;
    }
    let n = clusters as f64;
    let (Ok(student), Ok(normal)) = (StudentsT::new(0.0, 1.0, n - 1.0), Normal::new(0.0, 1.0))
    else {
        return PLAIN;
    };
    normal.cdf((n / (n - 1.0)).sqrt() * student.inverse_cdf(PLAIN))
}

/// The 97.5 % quantile of Student's t with `degrees` of freedom, at least 1.
pub(crate) fn student(degrees: usize) -> f64 {
    let law = StudentsT::new(0.0, 1.0, degrees.clamp(1, 1000) as f64);
    law.map_or(f64::INFINITY, |law| law.inverse_cdf(0.975))
}

/// `value` with the percentile interval of bootstrap `draws` over `clusters` clusters. Draws that
/// are not finite are left out. One cluster shows no spread, so there is no interval; nor is there
/// one without draws.
pub fn interval(value: f64, mut draws: Vec<f64>, clusters: usize) -> Estimate {
    draws.retain(|draw| draw.is_finite());
    if clusters < 2 {
        return Estimate::alone(value);
    }
    let tail = tail(clusters);
    let mut end = |q| quantile_of_unsorted(&mut draws, q);
    Estimate { value, low: end(tail), high: end(1.0 - tail) }
}

/// [`quantile_of_sorted`] by selection instead of sorting; reorders `values`.
fn quantile_of_unsorted(values: &mut [f64], q: f64) -> Option<f64> {
    let last = values.len().checked_sub(1)?;
    let place = q.clamp(0.0, 1.0) * last as f64;
    let (_, low, above) = values.select_nth_unstable_by(place.floor() as usize, f64::total_cmp);
    let high = above.iter().copied().min_by(f64::total_cmp).unwrap_or(*low);
    Some(*low + (high - *low) * place.fract())
}

/// The value at `x` of the broken line through sorted points, its outermost pieces continued; a
/// single point only at itself.
pub(crate) fn broken_line(points: &[(f64, f64)], x: f64) -> Option<f64> {
    if points.len() < 2 {
        return points.first().filter(|point| point.0 == x).map(|point| point.1);
    }
    let after = points.partition_point(|point| point.0 <= x).clamp(1, points.len() - 1);
    let (left, right) = (points[after - 1], points[after]);
    Some(left.1 + (right.1 - left.1) * (x - left.0) / (right.0 - left.0))
}

/// The falling sequence nearest to the means of `(x, sum, weight)`, sorted by `x`: pool adjacent
/// violators (Ayer et al., Annals of Mathematical Statistics 26, 1955). Cells without weight are
/// left out.
pub fn falling(cells: impl Iterator<Item = (f64, f64, f64)>) -> Vec<(f64, f64)> {
    let mut pools: Vec<(f64, f64, Vec<f64>)> = Vec::new();
    for (x, sum, weight) in cells.filter(|cell| cell.2 > 0.0) {
        let mut pool = (sum, weight, vec![x]);
        while let Some(last) = pools.pop_if(|last| last.0 * pool.1 < pool.0 * last.1) {
            pool = (last.0 + pool.0, last.1 + pool.1, [last.2, pool.2].concat());
        }
        pools.push(pool);
    }
    let level = |(sum, weight, places): (f64, f64, Vec<f64>)| {
        places.into_iter().map(move |x| (x, sum / weight))
    };
    pools.into_iter().flat_map(level).collect()
}

/// Product of two independent estimates: relative half-widths add in squares. Where one has no
/// interval, neither has the product.
pub fn product(a: Estimate, b: Estimate) -> Estimate {
    let value = a.value * b.value;
    let (Some(a_ends), Some(b_ends)) = (a.interval(), b.interval()) else {
        return Estimate::alone(value);
    };
    let spread = |a_end: f64, b_end: f64| (a_end / a.value - 1.0).hypot(b_end / b.value - 1.0);
    let (below, above) = (spread(a_ends.0, b_ends.0), spread(a_ends.1, b_ends.1));
    Estimate::new(value, value * (1.0 - below), value * (1.0 + above))
}

/// `a / b` of independent estimates: relative half widths add in quadrature (delta method). Where
/// one has no interval, neither has the quotient.
pub fn quotient(a: Estimate, b: Estimate) -> Estimate {
    let value = a.value / b.value;
    let (Some(a_ends), Some(b_ends)) = (a.interval(), b.interval()) else {
        return Estimate::alone(value);
    };
    let half =
        |a_end: f64, b_end: f64| ((a_end / a.value - 1.0).hypot(b_end / b.value - 1.0)) * value;
    Estimate::new(value, value - half(a_ends.0, b_ends.1), value + half(a_ends.1, b_ends.0))
}

/// Bootstrap draws of clusters: how often each of `clusters` occurs in each draw; drawn within
/// strata, the weight of each.
#[derive(Debug, Clone)]
pub struct Resamples {
    clusters: usize,
    counts: Vec<u32>,
}

/// Weight of a cluster that is drawn once from an endless stratum.
const UNIT: f64 = 1000.0;

impl Resamples {
    /// `draws` draws with replacement; draw `d` has its own stream of `seed`.
    pub fn new(clusters: usize, draws: usize, seed: u64) -> Self {
        let one = |draw: usize| {
            let mut source = ChaCha8Rng::seed_from_u64(seed);
            source.set_stream(draw as u64);
            let mut counts = vec![0u32; clusters];
            for _ in 0..clusters {
                counts[source.random_range(0..clusters)] += 1;
            }
            counts
        };
        let counts = (0..draws).into_par_iter().flat_map_iter(one).collect();
        Self { clusters, counts }
    }

    /// Draws within strata, whose shares stay as they are: of a stratum of `m` clusters `m - 1` are
    /// drawn, each of weight `m / (m - 1)`, so that variances are right in small strata too (Rao
    /// and Wu, JASA 83, 1988). `strata` has the stratum of each cluster.
    pub fn within(strata: &[usize], draws: usize, seed: u64) -> Self {
        let count = strata.iter().max().map_or(0, |last| last + 1);
        let members = |stratum: usize| {
            let own = strata.iter().enumerate().filter(move |(_, own)| **own == stratum);
            own.map(|(cluster, _)| cluster).collect::<Vec<usize>>()
        };
        let members: Vec<Vec<usize>> = (0..count).map(members).collect();
        let one = |draw: usize| {
            let mut source = ChaCha8Rng::seed_from_u64(seed);
            source.set_stream(draw as u64);
            let mut weights = vec![0u32; strata.len()];
            for own in members.iter().filter(|own| !own.is_empty()) {
                // A single cluster stands for its stratum in every draw.
                let drawn = (own.len() - 1).max(1);
                let weight = (UNIT * own.len() as f64 / drawn as f64).round() as u32;
                for _ in 0..drawn {
                    weights[own[source.random_range(0..own.len())]] += weight;
                }
            }
            weights
        };
        let counts = (0..draws).into_par_iter().flat_map_iter(one).collect();
        Self { clusters: strata.len(), counts }
    }

    /// Number of clusters.
    pub fn clusters(&self) -> usize {
        self.clusters
    }

    /// Each draw: occurrences by cluster.
    pub fn draws(&self) -> impl ExactSizeIterator<Item = &[u32]> {
        self.counts.chunks_exact(self.clusters.max(1))
    }
}

/// A source of standard normal deviates (Box and Muller, 1958), seeded.
#[derive(Debug)]
pub struct Normals(ChaCha8Rng);

impl Normals {
    /// The deviates of one `stream` of `seed`.
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut source = ChaCha8Rng::seed_from_u64(seed);
        source.set_stream(stream);
        Self(source)
    }
}

impl Iterator for Normals {
    type Item = f64;
    fn next(&mut self) -> Option<f64> {
        let (u, v): (f64, f64) = (self.0.random(), self.0.random());
        // 1 - u lies in (0, 1]: its logarithm is finite.
        Some((-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos())
    }
}

/// Weighted least squares with coefficients that may not be negative: a design `[cells, features]`,
/// targets and weights of the cells. Negative coefficients are set to 0, the most negative first,
/// and the rest solved again.
///
/// # Errors
/// Fewer cells than features, another number of targets or weights, or features that do not differ.
pub(crate) fn non_negative_least_squares(
    design: &Array2<f64>,
    targets: &[f64],
    weights: &[f64],
) -> Result<Vec<f64>> {
    let (cells, features) = design.dim();
    if features == 0 || cells < features {
        return Err(Error::missing("enough cells to fit a law", "measure more cells"));
    }
    if targets.len() != cells || weights.len() != cells {
        let found = format!("{} and {}", targets.len(), weights.len());
        return Err(Error::domain("targets and weights of a law", "one for each cell", found));
    }
    let weighted = design * &ArrayView1::from(weights).insert_axis(Axis(1));
    let normal = weighted.t().dot(design);
    let right = weighted.t().dot(&ArrayView1::from(targets));
    let mut active: Vec<usize> = (0..features).collect();
    while !active.is_empty() {
        let solved = solve(&active, &normal, &right)?;
        let worst = (0..active.len()).min_by(|&a, &b| solved[a].total_cmp(&solved[b]));
        match worst {
            Some(index) if solved[index] < 0.0 => active.remove(index),
            _ => {
                let mut all = vec![0.0; features];
                active.iter().zip(solved).for_each(|(&feature, value)| all[feature] = value);
                return Ok(all);
            }
        };
    }
    Ok(vec![0.0; features])
}

/// Normal equations of the active features, by Gaussian elimination with pivoting.
fn solve(active: &[usize], normal: &Array2<f64>, right: &Array1<f64>) -> Result<Vec<f64>> {
    let n = active.len();
    let row =
        |&a: &usize| active.iter().map(|&b| normal[[a, b]]).chain([right[a]]).collect::<Vec<f64>>();
    let mut matrix: Vec<Vec<f64>> = active.iter().map(row).collect();
    let largest = matrix.iter().enumerate().map(|(i, row)| row[i]).collect::<Vec<f64>>();
    for column in 0..n {
        let pivot = (column..n)
            .max_by(|&a, &b| matrix[a][column].abs().total_cmp(&matrix[b][column].abs()))
            .unwrap_or(column);
        matrix.swap(column, pivot);
        let head = matrix[column].clone();
        if head[column].abs() <= 1e-12 * largest[column] || head[column] == 0.0 {
            return Err(Error::missing("differing cells to fit a law", "measure more cells"));
        }
        for (index, row) in matrix.iter_mut().enumerate() {
            if index != column {
                let factor = row[column] / head[column];
                row.iter_mut().zip(&head).for_each(|(x, h)| *x -= factor * h);
            }
        }
    }
    Ok((0..n).map(|i| matrix[i][n] / matrix[i][i]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_type_seven() {
        // source: numpy.quantile([1, 2, 4, 8], [0.25, 0.5, 0.9]) = 1.75, 3, 6.8
        let found = [0.25, 0.5, 0.9].map(|q| quantile(&[8.0, 1.0, 4.0, 2.0], q).unwrap());
        assert!(found.iter().zip([1.75, 3.0, 6.8]).all(|(a, b)| (a - b).abs() < 1e-12));
        assert_eq!(median(&[]), None);
        for q in [0.0, 0.3, 0.77, 1.0] {
            let mut values = [8.0, 1.0, 4.0, 2.0, 9.0];
            assert_eq!(quantile_of_unsorted(&mut values.clone(), q), quantile(&values, q));
            values.reverse();
            assert_eq!(quantile_of_unsorted(&mut values, q), quantile(&values, q));
        }
    }

    #[test]
    fn tails_widen_for_few_clusters() {
        // source: scipy.stats: norm.cdf(sqrt(10 / 9) * t.ppf(0.025, 9)) = 0.008546...
        assert!((tail(10) - 0.008_55).abs() < 2e-5, "{}", tail(10));
        assert!((tail(999) - 0.025).abs() < 2e-4 && tail(100_000) == 0.025);
    }

    #[test]
    fn pools_what_rises() {
        // source: by hand: 0.5 of 10 and 0.7 of 10 pool to 0.6
        let cells = [(0.0, 9.0, 10.0), (0.2, 5.0, 10.0), (0.4, 7.0, 10.0), (0.6, 1.0, 10.0)];
        let found = falling(cells.into_iter());
        assert_eq!(found, [(0.0, 0.9), (0.2, 0.6), (0.4, 0.6), (0.6, 0.1)]);
    }

    #[test]
    fn student_has_its_tabulated_quantiles() {
        // source: table of Student's t: 12.706 at 1, 2.776 at 4 degrees of freedom
        assert!((student(1) - 12.706).abs() < 1e-3 && (student(4) - 2.776).abs() < 1e-3);
    }

    #[test]
    fn normals_have_mean_zero_and_variance_one() {
        let values: Vec<f64> = Normals::new(5, 0).take(40_000).collect();
        let mean = values.iter().sum::<f64>() / 40_000.0;
        let variance = values.iter().map(|v| v * v).sum::<f64>() / 40_000.0;
        // source: standard errors 1 / 200 and sqrt(2) / 200
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.03, "{mean} {variance}");
    }

    #[test]
    fn least_squares_finds_a_plane_and_refuses_negatives() {
        // source: algebra: y = 1 + 2 x; and y = 1 - x has best non-negative slope 0
        let rows = Array2::from_shape_fn((5, 2), |(x, power)| (x as f64).powi(power as i32));
        let fit = |slope: f64| {
            let targets: Vec<f64> = (0..5).map(|x| 1.0 + slope * x as f64).collect();
            non_negative_least_squares(&rows, &targets, &[1.0; 5]).unwrap()
        };
        assert!((fit(2.0)[0] - 1.0).abs() < 1e-12 && (fit(2.0)[1] - 2.0).abs() < 1e-12);
        // the mean of 1, 0, -1, -2, -3 is -1: no non-negative constant but 0
        assert_eq!(fit(-1.0), [0.0, 0.0]);
        let same = Array2::ones((4, 2));
        assert!(non_negative_least_squares(&same, &[1.0; 4], &[1.0; 4]).is_err());
        assert!(non_negative_least_squares(&rows, &[1.0; 4], &[1.0; 5]).is_err());
    }

    /// source: variance of a stratified mean: sum over strata of share^2 s^2 / m, with s^2 the
    /// sample variance. Here strata of 3 and 6, values 0, 1, 2 and 10, 12, 10, 12, 10, 12: s^2 1
    /// and 1.2.
    #[test]
    fn strata_keep_their_shares_and_their_variance() {
        let values = [0.0, 1.0, 2.0, 10.0, 12.0, 10.0, 12.0, 10.0, 12.0];
        let strata = [0, 0, 0, 1, 1, 1, 1, 1, 1];
        let resamples = Resamples::within(&strata, 20_000, 1);
        let mean = |weights: &[u32]| {
            let sum: f64 = weights.iter().zip(values).map(|(w, v)| f64::from(*w) * v).sum();
            sum / f64::from(weights.iter().sum::<u32>())
        };
        let means: Vec<f64> = resamples.draws().map(mean).collect();
        let middle = means.iter().sum::<f64>() / 20_000.0;
        let variance = means.iter().map(|m| (m - middle).powi(2)).sum::<f64>() / 20_000.0;
        let expected = (1.0f64 / 3.0).powi(2) / 3.0 + (2.0f64 / 3.0).powi(2) * 1.2 / 6.0;
        // Standard errors: 0.25 % of the mean's deviation, and 1 % of the variance.
        assert!((middle - 69.0 / 9.0).abs() < 0.01, "{middle}");
        assert!((variance / expected - 1.0).abs() < 0.04, "{variance} {expected}");
    }

    #[test]
    fn resamples_draw_as_many_as_there_are() {
        let resamples = Resamples::new(7, 50, 3);
        assert_eq!(resamples.draws().len(), 50);
        assert!(resamples.draws().all(|draw| draw.iter().sum::<u32>() == 7));
    }
}
