//! Medians and spread of few samples, and the order of turns.

/// Median and quartiles of a set of samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    pub(crate) lower_quartile: f64,
    pub(crate) upper_quartile: f64,
    pub(crate) count: usize,
}

impl Summary {
    /// None of an empty set.
    pub(crate) fn of(samples: &[f64]) -> Option<Self> {
        if samples.is_empty() {
            return None;
        }
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        Some(Self {
            median: quantile(&sorted, 0.50),
            lower_quartile: quantile(&sorted, 0.25),
            upper_quartile: quantile(&sorted, 0.75),
            count: sorted.len(),
        })
    }

    /// Width of the middle half as a share of the median; 0 when the median is.
    pub(crate) fn spread(&self) -> f64 {
        if self.median == 0.0 {
            return 0.0;
        }
        (self.upper_quartile - self.lower_quartile) / self.median.abs()
    }
}

/// Quantile `q` (0 to 1) of a sorted set that is not empty, linear between neighbours.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let place = q * (sorted.len() - 1) as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    sorted[below] + (sorted[above] - sorted[below]) * (place - place.floor())
}

/// Ratios of the values that share a round. Rounds where either is missing, or the base is not above 0, are left out.
///
/// Ratios are taken within a round, since a neighbour on the machine slows a whole round rather than one contestant.
pub(crate) fn paired_ratios(values: &[(u32, f64)], base: &[(u32, f64)]) -> Vec<f64> {
    values
        .iter()
        .filter_map(|&(round, value)| {
            let &(_, divisor) = base.iter().find(|(other, _)| *other == round)?;
            (divisor > 0.0).then(|| value / divisor)
        })
        .collect()
}

/// A permutation of `0..count` that depends on `seed` alone (splitmix64 and Fisher-Yates).
pub(crate) fn shuffled(count: usize, seed: u64) -> Vec<usize> {
    let mut state = seed;
    let mut order: Vec<usize> = (0..count).collect();
    for last in (1..count).rev() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^= word >> 31;
        order.swap(last, (word % (last as u64 + 1)) as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_has_no_summary() {
        assert_eq!(Summary::of(&[]), None);
    }

    #[test]
    fn one_sample_is_its_own_median_and_has_no_spread() {
        let one = Summary::of(&[3.5]).expect("not empty");
        assert_eq!((one.median, one.spread(), one.count), (3.5, 0.0, 1));
    }

    #[test]
    fn quartiles_lie_between_neighbours() {
        let four = Summary::of(&[4.0, 1.0, 3.0, 2.0]).expect("not empty");
        assert_eq!(
            (four.lower_quartile, four.median, four.upper_quartile),
            (1.75, 2.5, 3.25)
        );
        assert!((four.spread() - 0.6).abs() < 1e-12);
    }

    #[test]
    fn an_outlier_moves_neither_median_nor_quartiles() {
        let calm = Summary::of(&[1.0, 2.0, 3.0, 4.0, 5.0]).expect("not empty");
        let wild = Summary::of(&[1.0, 2.0, 3.0, 4.0, 500.0]).expect("not empty");
        assert_eq!(calm, wild);
    }

    #[test]
    fn ratios_pair_within_a_round_and_skip_rounds_with_a_gap() {
        let values = [(0, 2.0), (1, 9.0), (2, 4.0), (3, 1.0)];
        let base = [(2, 8.0), (0, 4.0), (3, 0.0)];
        assert_eq!(paired_ratios(&values, &base), [0.5, 0.5]);
    }

    #[test]
    fn a_shuffle_is_a_permutation_and_depends_on_the_seed_alone() {
        let mut seen = shuffled(7, 42);
        assert_eq!(seen, shuffled(7, 42));
        assert!((0..20).any(|seed| shuffled(7, seed) != seen));
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2, 3, 4, 5, 6]);
        assert!(shuffled(0, 1).is_empty());
    }

    #[test]
    fn each_contestant_takes_each_place_about_equally_often() {
        let mut first = [0_u32; 4];
        for seed in 0..4_000 {
            first[shuffled(4, seed)[0]] += 1;
        }
        assert!(
            first.iter().all(|&times| (850..1_150).contains(&times)),
            "{first:?}"
        );
    }
}
