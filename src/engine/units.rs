//! Numbers that cannot be wrong.

use std::fmt;

/// A share of traffic in whole per cent, 0 to 100.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(u8);

impl Weight {
    /// No traffic.
    pub const ZERO: Weight = Weight(0);
    /// All traffic.
    pub const FULL: Weight = Weight(100);

    /// The weight of `percent`, brought into 0..=100.
    #[must_use]
    pub fn clamped(percent: i32) -> Self {
        Weight(u8::try_from(percent.clamp(0, 100)).unwrap_or(0))
    }

    /// Per cent, 0 to 100.
    #[must_use]
    pub const fn percent(self) -> i32 {
        self.0 as i32
    }

    /// What is left for the other side.
    #[must_use]
    pub const fn rest(self) -> Weight {
        Weight(100 - self.0)
    }

    /// Whether this is no traffic.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Whether this is all traffic.
    #[must_use]
    pub const fn is_full(self) -> bool {
        self.0 == 100
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", self.0)
    }
}
