//! How many pods a share of traffic needs. Integers only.

use super::Weight;

/// Pods of the canary for `weight` when a route splits the traffic: `ceil(desired × weight / 100)`, at least one.
/// A negative `desired` counts as zero.
#[must_use]
pub fn canary_size(desired: i32, weight: Weight) -> i32 {
    let desired = i64::from(desired.max(0));
    let size = (desired * i64::from(weight.percent()) + 99) / 100;
    i32::try_from(size.max(1)).unwrap_or(i32::MAX)
}

/// Pods of the canary when the share is the share of pods, beside `desired` stable pods: the least number whose share
/// is at least `weight`, but never more than `desired`: stable keeps its size, so the share cannot pass one half
/// before adoption.
#[must_use]
pub fn canary_size_by_pods(desired: i32, weight: Weight) -> i32 {
    let desired = i64::from(desired.max(0));
    let rest = i64::from(weight.rest().percent());
    let size = if rest == 0 { desired } else { (desired * i64::from(weight.percent()) + rest - 1) / rest };
    i32::try_from(size.clamp(1, desired.max(1))).unwrap_or(i32::MAX)
}

/// The share that `canary` pods have beside `stable` pods, rounded to whole per cent.
#[must_use]
pub fn share_of_pods(canary: i32, stable: i32) -> Weight {
    let (canary, stable) = (i64::from(canary.max(0)), i64::from(stable.max(0)));
    if canary == 0 {
        return Weight::ZERO;
    }
    Weight::clamped(i32::try_from((canary * 200 + canary + stable) / (2 * (canary + stable))).unwrap_or(100))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (desired, percent, size) in [
            (4, 10, 1),
            (4, 50, 2),
            (4, 51, 3),
            (4, 100, 4),
            (10, 10, 1),
            (11, 10, 2),
            (0, 50, 1),
            (1, 1, 1),
            (i32::MAX, 100, i32::MAX),
        ] {
            assert_eq!(canary_size(desired, Weight::clamped(percent)), size, "{desired} pods, {percent} %");
        }
    }

    #[test]
    fn sizes_by_pods_reach_the_share_or_as_many_as_stable() {
        for (desired, percent, size) in
            [(9, 10, 1), (10, 10, 2), (4, 50, 4), (4, 80, 4), (4, 100, 4), (0, 50, 1), (1, 10, 1)]
        {
            assert_eq!(
                canary_size_by_pods(desired, Weight::clamped(percent)),
                size,
                "{desired} pods, {percent} %"
            );
        }
    }

    #[test]
    fn shares() {
        for (canary, stable, percent) in
            [(0, 4, 0), (1, 9, 10), (4, 4, 50), (4, 0, 100), (0, 0, 0), (1, 2, 33), (2, 1, 67)]
        {
            assert_eq!(share_of_pods(canary, stable).percent(), percent, "{canary} beside {stable}");
        }
    }
}
