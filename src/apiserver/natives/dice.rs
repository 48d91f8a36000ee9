//! What is random, from a seed.

use crate::api::Span;

/// Letters of generated names: they form no words.
const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// A row of random numbers: splitmix64.
/// <https://prng.di.unimi.it/splitmix64.c>
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Anything between nothing and `most`.
    pub(super) fn up_to(&mut self, most: Span) -> Span {
        let most = u64::try_from(most.as_millis()).unwrap_or(0);
        let millis = if most == 0 { 0 } else { self.next() % (most + 1) };
        Span::millis(i64::try_from(millis).unwrap_or(0))
    }

    /// The end of a generated name.
    pub(super) fn suffix(&mut self) -> String {
        let mut number = self.next();
        let letters = (0..5).map(|_| {
            let letter = LETTERS[usize::try_from(number % 27).unwrap_or(0)];
            number /= 27;
            char::from(letter)
        });
        letters.collect()
    }
}
