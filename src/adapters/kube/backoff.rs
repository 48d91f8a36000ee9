//! Pauses between attempts.

use std::cell::Cell;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

/// The first pause.
const FIRST: Duration = Duration::from_millis(50);

/// The pause before attempt `failures` + 1: 50 ms, doubled with each failure up to `longest`, and of that a random
/// half to whole, so that those who failed together do not come back together.
#[must_use]
pub fn pause(failures: u32, longest: Duration) -> Duration {
    let whole = FIRST.saturating_mul(1_u32 << failures.saturating_sub(1).min(20)).min(longest);
    whole.mul_f64(0.5 + fraction() / 2.0)
}

thread_local! {
    static SEED: Cell<Option<u64>> = const { Cell::new(None) };
}

/// From now on the random numbers of this thread follow from `seed`, so that a simulation can be played again.
pub fn seed(seed: u64) {
    SEED.set(Some(seed));
}

/// A random number from 0 up to 1. The standard library seeds each hasher at random: enough for a jitter.
#[must_use]
pub fn fraction() -> f64 {
    let random = SEED.get().map_or_else(|| RandomState::new().hash_one(std::process::id()), following);
    let bits = random >> 40;
    // 24 bits fit a double exactly.
    f64::from(u32::try_from(bits).unwrap_or_default()) / f64::from(1_u32 << 24)
}

/// The number after `seed`: splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
fn following(seed: u64) -> u64 {
    let state = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    SEED.set(Some(state));
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers_again() {
        let numbers = || {
            seed(7);
            [fraction(), fraction(), fraction()]
        };
        let first = numbers();
        assert_eq!(first, numbers());
        assert!(first[0] != first[1] && first.iter().all(|it| (0.0..1.0).contains(it)), "{first:?}");
        SEED.set(None);
    }

    #[test]
    fn pauses_double_up_to_the_longest_with_at_most_half_taken_off() {
        let longest = Duration::from_secs(30);
        for (failures, whole) in [(1, 0.05), (2, 0.1), (5, 0.8), (20, 30.0), (u32::MAX, 30.0)] {
            let pause = pause(failures, longest).as_secs_f64();
            assert!((whole / 2.0..=whole).contains(&pause), "{failures}: {pause}");
        }
    }

    #[test]
    fn pauses_differ() {
        let first = pause(10, Duration::from_secs(30));
        assert!((0..100).any(|_| pause(10, Duration::from_secs(30)) != first));
    }
}
