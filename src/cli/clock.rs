//! The one place where commands read the time.

use jiff::Timestamp;

/// The time at this moment.
#[expect(
    clippy::disallowed_methods,
    reason = "the edge: pages and lines get the time from here as an argument"
)]
pub(super) fn now() -> Timestamp {
    Timestamp::now()
}
