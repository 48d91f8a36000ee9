//! Numbers by chance, the same for the same seed.

/// splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 up to `most`, that one included.
    pub fn upto(&mut self, most: u64) -> u64 {
        self.next() % (most + 1)
    }

    /// A place in something of this length.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.upto(length as u64 - 1)).expect("a length")
    }
}
