//! How many requests of a histogram are above a bound.
//!
//! A bound inside a bucket has no answer, only two sides: requests that are surely slower (for harm) and requests that may be
//! (for safety). Nothing is interpolated.
//!
//! The resolution of native histograms may be halved from one read to the next
//! (<https://prometheus.io/docs/specs/native_histograms/>): before subtracting, the finer is put on the coarser's buckets.

/// Which doubt is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Only what is surely above the bound.
    Surely,
    /// Everything that may be above the bound.
    Possibly,
}

/// One bucket: requests above `lower` and up to `upper`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// Seconds, or whatever the histogram counts; may be minus infinity.
    pub lower: f64,
    /// As `lower`; may be infinity.
    pub upper: f64,
    /// Requests in it.
    pub count: f64,
}

/// The buckets of a classic histogram: `cumulative` holds `le` and the count up to it, in any order. Empty if a count falls from
/// one bound to the next, a bound comes twice, or the last bound is not +Inf: such an answer is not whole.
#[must_use]
pub fn from_cumulative(cumulative: &[(f64, f64)]) -> Vec<Bucket> {
    let mut sorted: Vec<(f64, f64)> = cumulative.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let is_whole = sorted.last().is_some_and(|(le, _)| *le == f64::INFINITY)
        && sorted.iter().all(|(_, count)| count.is_finite() && *count >= 0.0)
        && sorted.first().is_some_and(|(le, _)| *le > f64::NEG_INFINITY)
        // A bound that comes twice has two counts of which nobody knows the right one.
        && sorted.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
    if !is_whole {
        return Vec::new();
    }
    let (mut lower, mut below) = (f64::NEG_INFINITY, 0.0);
    let bucket = |(upper, up_to): &(f64, f64)| {
        let bucket = Bucket { lower, upper: *upper, count: up_to - below };
        (lower, below) = (*upper, *up_to);
        bucket
    };
    sorted.iter().map(bucket).collect()
}

/// All requests.
#[must_use]
pub fn total(buckets: &[Bucket]) -> f64 {
    buckets.iter().map(|bucket| bucket.count).sum()
}

/// The requests above `bound`. A bucket that holds the bound inside itself counts for [`Side::Possibly`] only.
#[must_use]
pub fn above(buckets: &[Bucket], bound: f64, side: Side) -> f64 {
    let is_above = |bucket: &&Bucket| match side {
        Side::Surely => bucket.lower >= bound && bucket.upper > bound,
        Side::Possibly => bucket.upper > bound,
    };
    buckets.iter().filter(is_above).map(|bucket| bucket.count).sum()
}

/// What was added between two reads of a growing histogram; `after` itself if it was reset in between: a bucket fell.
///
/// `None` if the two have no common buckets: a boundary of the coarser one is none of the finer one's. Both are sorted by `lower`;
/// buckets that are not there are empty.
#[must_use]
pub fn added(before: &[Bucket], after: &[Bucket]) -> Option<Vec<Bucket>> {
    let (coarse_before, coarse_after) = match (merged(before, after), merged(after, before)) {
        // The one that can be put on the other's buckets is the finer one.
        (Some(before), _) => (before, after.to_vec()),
        (None, Some(after)) => (before.to_vec(), after),
        (None, None) => return None,
    };
    let at = |buckets: &[Bucket], upper: f64| {
        buckets.iter().find(|bucket| bucket.upper == upper).map_or(0.0, |bucket| bucket.count)
    };
    let is_reset = coarse_before.iter().any(|bucket| at(&coarse_after, bucket.upper) < bucket.count);
    if is_reset {
        return Some(after.to_vec());
    }
    let grown =
        |bucket: &Bucket| Bucket { count: bucket.count - at(&coarse_before, bucket.upper), ..*bucket };
    Some(coarse_after.iter().map(grown).collect())
}

/// `fine` on the buckets of `coarse`; buckets outside all of them stay as they are. `None` if one lies across a boundary.
fn merged(fine: &[Bucket], coarse: &[Bucket]) -> Option<Vec<Bucket>> {
    let mut merged: Vec<Bucket> = Vec::new();
    for bucket in fine {
        let overlaps = |wide: &&Bucket| wide.lower < bucket.upper && bucket.lower < wide.upper;
        let place = match coarse.iter().find(overlaps) {
            None => *bucket,
            Some(wide) if wide.lower <= bucket.lower && bucket.upper <= wide.upper => {
                Bucket { count: bucket.count, ..*wide }
            }
            Some(_) => return None,
        };
        match merged.last_mut() {
            Some(last) if last.upper == place.upper => last.count += place.count,
            _ => merged.push(place),
        }
    }
    Some(merged)
}
