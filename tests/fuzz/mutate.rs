//! New inputs made from kept ones, the same each time.

/// Words that matter to one of the readers.
const WORDS: [&str; 24] = [
    "NaN",
    "+Inf",
    "-Inf",
    "1e999",
    "-0",
    "null",
    "true",
    "[]",
    "{}",
    "\"\"",
    "9223372036854775808",
    "-1",
    "$window",
    "${x}",
    "\\",
    "`",
    "2562047h47m16s",
    "&a *a",
    "<<: *a",
    "\u{202e}",
    "\"le\"",
    "1970-01-01T00:00:00Z",
    "status",
    "metadata",
];

/// Makes inputs.
pub struct Mutator<'k> {
    kept: &'k [Vec<u8>],
    state: u64,
}

impl<'k> Mutator<'k> {
    /// From these.
    pub fn new(kept: &'k [Vec<u8>]) -> Self {
        Self { kept, state: 0x9e37_79b9_7f4a_7c15 }
    }

    /// A number below `end`, of xorshift64*.
    fn below(&mut self, end: usize) -> usize {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let high = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(high).unwrap_or(0) % end.max(1)
    }

    /// One of the kept inputs with one to four changes.
    pub fn next(&mut self) -> Vec<u8> {
        let mut data = self.kept[self.below(self.kept.len())].clone();
        for _ in 0..=self.below(4) {
            self.change(&mut data);
        }
        data
    }

    fn change(&mut self, data: &mut Vec<u8>) {
        let at = self.below(data.len() + 1);
        let end = at + self.below((data.len() - at).min(32) + 1);
        match self.below(6) {
            0 => drop(data.drain(at..end)),
            1 => data.truncate(at),
            2 => {
                let word = WORDS[self.below(WORDS.len())];
                drop(data.splice(at..end, word.bytes()));
            }
            3 => {
                let copy = data[at..end].to_vec();
                let to = self.below(data.len() + 1);
                drop(data.splice(to..to, copy));
            }
            4 => {
                let other = &self.kept[self.below(self.kept.len())].clone();
                let from = self.below(other.len() + 1);
                drop(data.splice(at..end, other[from..].iter().copied().take(64)));
            }
            _ => {
                let byte = u8::try_from(self.below(256)).unwrap_or(0);
                if let Some(place) = data.get_mut(at) {
                    *place = byte;
                }
            }
        }
    }
}
