//! Latencies in buckets: which bucket a time belongs to, and what a set of counts says of all times.
//!
//! Log-linear: below [`STEPS`] µs a bucket is 1 µs wide; from there on each octave (a factor of two) has
//! [`STEPS`] of equal width. A bucket's middle is off by at most 1/32 (3.1 %) of any time in it, and exact below
//! 32 µs. The same idea as HdrHistogram's, with its index found by one `leading_zeros`.

/// Buckets an octave has, as a power of two.
const STEP_BITS: u32 = 4;
pub const STEPS: usize = 1 << STEP_BITS;
/// Rows of [`STEPS`] buckets: one for 0 to 15 µs, then one an octave.
const ROWS: usize = 36;
/// Times from 2^39 µs (6.4 days) on count as a little less.
pub const BUCKETS: usize = ROWS * STEPS;

/// The bucket of a time.
#[inline]
pub fn bucket(us: u64) -> usize {
    // The octave's number is that of its highest bit; below STEPS the row is 0 and the bucket the time itself.
    let octave = (us | (STEPS as u64 - 1)).ilog2() - (STEP_BITS - 1);
    let shift = octave.saturating_sub(1);
    let step = (us >> shift) as usize & (STEPS - 1);
    (octave as usize * STEPS + step).min(BUCKETS - 1)
}

/// Times of a bucket: from the first, to before the second.
pub fn bounds(bucket: usize) -> (u64, u64) {
    let (row, step) = (bucket / STEPS, (bucket % STEPS) as u64);
    match row {
        0 => (step, step + 1),
        _ => {
            let width = 1 << (row - 1);
            let low = (STEPS as u64 + step) * width;
            (low, low + width)
        }
    }
}

/// The time that stands for all of a bucket: its middle, rounded down.
fn middle(bucket: usize) -> u64 {
    let (low, high) = bounds(bucket);
    low + (high - low) / 2
}

/// Counts by bucket, of any number of shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    counts: [u64; BUCKETS],
    pub sum_us: u64,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            counts: [0; BUCKETS],
            sum_us: 0,
        }
    }
}

impl Counts {
    pub fn add(&mut self, bucket: usize, n: u64) {
        self.counts[bucket] = self.counts[bucket].wrapping_add(n);
    }

    /// Times counted.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub fn filled(&self) -> impl Iterator<Item = (usize, u64)> {
        let all = self.counts.iter().copied().enumerate();
        all.filter(|&(_, n)| n > 0)
    }

    /// Takes away what was counted before `then`. Where that is more than there is now, counting began anew in
    /// between, and nothing is taken away.
    pub fn since(&mut self, then: &[(u16, u64)]) {
        let is_less = |&(bucket, n): &(u16, u64)| self.counts[usize::from(bucket)] < n;
        if then.iter().any(is_less) {
            return;
        }
        for &(bucket, n) in then {
            self.counts[usize::from(bucket)] -= n;
        }
    }

    /// The times that so many thousandths of all do not exceed (nearest rank), in ascending order of `permille`,
    /// each as the middle of its bucket; `None` without any.
    pub fn percentiles<const N: usize>(&self, permille: [u64; N]) -> [Option<u64>; N] {
        let total = self.total();
        let mut found = [None; N];
        if total == 0 {
            return found;
        }
        let (mut passed, mut next) = (0, 0);
        for (bucket, n) in self.filled() {
            passed += n;
            while next < N && passed >= rank(total, permille[next]) {
                found[next] = Some(middle(bucket));
                next += 1;
            }
        }
        found
    }

    /// How many lie below each of `limits` (ascending, in µs). Exact where a limit is the bound of a bucket; else the
    /// bucket it lies in counts as below if its middle is.
    pub fn below<const N: usize>(&self, limits: [u64; N]) -> [u64; N] {
        let mut below = [0; N];
        for (bucket, n) in self.filled() {
            let at = limits.partition_point(|&limit| limit <= middle(bucket));
            if at < N {
                below[at] += n;
            }
        }
        for at in 1..N {
            below[at] += below[at - 1];
        }
        below
    }
}

/// The place of the time looked for, from 1 on.
fn rank(total: u64, permille: u64) -> u64 {
    let rank = (u128::from(total) * u128::from(permille)).div_ceil(1000);
    u64::try_from(rank).unwrap_or(u64::MAX).clamp(1, total)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Times around every power of two, and ends.
    fn times() -> impl Iterator<Item = u64> {
        let around = |n: u64| [n.saturating_sub(1), n, n + 1, n + n / 3, n + n / 2];
        (0..39).flat_map(move |bit| around(1 << bit))
    }

    #[test]
    fn a_time_lies_within_the_bounds_of_its_bucket() {
        for us in times().filter(|us| *us < 1 << 39) {
            let (low, high) = bounds(bucket(us));
            assert!(low <= us && us < high, "{us} in {low}..{high}");
        }
    }

    #[test]
    fn buckets_follow_each_other_without_gap() {
        let mut end = 0;
        for at in 0..BUCKETS {
            let (low, high) = bounds(at);
            assert_eq!(low, end);
            assert_eq!((bucket(low), bucket(high - 1)), (at, at));
            end = high;
        }
        assert_eq!(end, 1 << 39);
    }

    #[test]
    fn a_longer_time_is_never_in_an_earlier_bucket() {
        let mut sorted: Vec<u64> = times().collect();
        sorted.sort_unstable();
        assert!(sorted.windows(2).all(|w| bucket(w[0]) <= bucket(w[1])));
    }

    #[test]
    fn the_middle_is_off_by_a_32nd_at_most_and_exact_below_32_us() {
        for us in times().filter(|us| *us < 1 << 39) {
            let off = middle(bucket(us)).abs_diff(us);
            assert!(off * 32 <= us, "{us} off by {off}");
            assert!(us >= 32 || off == 0);
        }
    }

    #[test]
    fn endless_times_are_in_the_last_bucket() {
        assert_eq!(bucket(1 << 39), BUCKETS - 1);
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    fn of(times: &[u64]) -> Counts {
        let mut counts = Counts::default();
        for us in times {
            counts.add(bucket(*us), 1);
        }
        counts
    }

    #[test]
    fn percentiles_are_those_of_the_sorted_times_but_for_the_width_of_a_bucket() {
        // Times over five octaves, no two alike in their distance.
        let mut all: Vec<u64> = (0..5000u64).map(|n| 40 + n * n % 7919 * 11).collect();
        let counts = of(&all);
        all.sort_unstable();
        let permille = [1, 500, 900, 990, 999, 1000];
        for (found, p) in counts.percentiles(permille).into_iter().zip(permille) {
            let exact = all[(5 * p - 1) as usize];
            let off = found.unwrap().abs_diff(exact);
            assert!(off * 32 <= exact, "p{p}: {found:?} for {exact}");
        }
    }

    #[test]
    fn one_time_is_all_percentiles_and_none_is_no_number() {
        let all = [500, 900, 990, 999];
        assert_eq!(of(&[7]).percentiles(all), [Some(7); 4]);
        assert_eq!(Counts::default().percentiles(all), [None; 4]);
        assert_eq!(of(&[3, 9]).percentiles([500, 501]), [Some(3), Some(9)]);
    }

    #[test]
    fn counts_of_shards_add_up_to_those_of_all_times() {
        let (a, b) = ([1, 20, 333, 4_444], [20, 55_555, 1 << 50]);
        let mut both = of(&a);
        of(&b).filled().for_each(|(at, n)| both.add(at, n));
        assert_eq!(both, of(&[&a[..], &b[..]].concat()));
        assert_eq!(both.total(), 7);
    }

    #[test]
    fn what_was_before_is_taken_away_unless_counting_began_anew() {
        let mark = |counts: &Counts| -> Vec<(u16, u64)> {
            counts.filled().map(|(at, n)| (at as u16, n)).collect()
        };
        let before = mark(&of(&[5, 5, 100]));
        let mut now = of(&[5, 5, 100, 100, 9]);
        now.since(&before);
        assert_eq!(now, of(&[100, 9]));
        let mut anew = of(&[5, 9]);
        anew.since(&before);
        assert_eq!(anew, of(&[5, 9]));
    }

    #[test]
    fn counts_below_limits_are_cumulative() {
        let counts = of(&[1, 9, 10, 99, 1_000, 5_000_000]);
        assert_eq!(counts.below([10, 100, 1_100, 10_000_000]), [2, 4, 5, 6]);
    }
}
