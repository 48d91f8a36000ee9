//! Which stretches of time are counted as blocks.
//!
//! Blocks lie end to end from a fixed beginning, so that any replica of the controller, before or after a restart, cuts time at
//! the same moments and counts each block once. What was missed is counted later, from the server's own memory.

use jiff::{SignedDuration, Timestamp};

/// Blocks that are caught up on in one go.
pub const CATCH_UP_MAX: usize = 240;

/// The cut of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Where the first block begins: once the canary has warmed up.
    pub begins_at: Timestamp,
    /// The length of a block; at least a millisecond.
    pub block: SignedDuration,
    /// How long after its end a block can be read: the server must have scraped by then.
    pub lag: SignedDuration,
}

impl Schedule {
    /// The usual length of a block: 30 s, or two scrapes if that is longer.
    #[must_use]
    pub fn usual_block(scrape: SignedDuration) -> SignedDuration {
        scrape.saturating_mul(2).max(SignedDuration::from_secs(30))
    }

    /// The usual lag: one scrape and five seconds.
    #[must_use]
    pub fn usual_lag(scrape: SignedDuration) -> SignedDuration {
        scrape.saturating_add(SignedDuration::from_secs(5))
    }

    /// The ends of the blocks that can be read at `now` and were not counted, the oldest first: at most [`CATCH_UP_MAX`], the
    /// oldest of them. The very first is the beginning itself: the reading from which the first block is counted.
    #[must_use]
    pub fn due(&self, counted_until: Option<Timestamp>, now: Timestamp) -> Vec<Timestamp> {
        let until = now.saturating_sub(self.lag).unwrap_or(Timestamp::MIN);
        let mut due = Vec::new();
        let mut next = counted_until.map_or(Some(self.begins_at), |last| self.end_after(last));
        while let Some(end) = next.filter(|end| *end <= until && due.len() < CATCH_UP_MAX) {
            due.push(end);
            next = self.end_after(end);
        }
        due
    }

    /// All blocks that can be read at `now` after `last`, in one stretch: its end, and how many blocks are counted as one so
    /// that there are at most [`CATCH_UP_MAX`] of them. `None` if there is none.
    #[must_use]
    pub fn stretch(&self, last: Timestamp, now: Timestamp) -> Option<(Timestamp, i64)> {
        let length = self.length()?;
        let readable = now.checked_sub(self.lag).ok()?.duration_since(self.begins_at);
        let ends = i64::try_from(readable.as_millis()).ok()?.div_euclid(length);
        let until =
            self.begins_at.checked_add(SignedDuration::from_millis(ends.checked_mul(length)?)).ok()?;
        let blocks = i64::try_from(until.duration_since(last).as_millis()).ok()? / length;
        let most = i64::try_from(CATCH_UP_MAX).ok()?;
        (blocks > 0).then(|| (until, (blocks + most - 1) / most))
    }

    /// A block in milliseconds.
    fn length(&self) -> Option<i64> {
        i64::try_from(self.block.as_millis()).ok().map(|length| length.max(1))
    }

    /// When the next block can be read.
    #[must_use]
    pub fn next_read(&self, counted_until: Option<Timestamp>) -> Option<Timestamp> {
        let end = counted_until.map_or(Some(self.begins_at), |last| self.end_after(last))?;
        end.checked_add(self.lag).ok()
    }

    /// The first end of a block after `moment`; `None` at the end of all time.
    fn end_after(&self, moment: Timestamp) -> Option<Timestamp> {
        if moment < self.begins_at {
            return Some(self.begins_at);
        }
        let length = self.length()?;
        let passed = i64::try_from(moment.duration_since(self.begins_at).as_millis()).ok()?;
        let end = (passed / length).checked_add(1)?.checked_mul(length)?;
        self.begins_at.checked_add(SignedDuration::from_millis(end)).ok()
    }
}
