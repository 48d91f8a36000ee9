//! Times as people say them.

use jiff::Timestamp;

/// A span in its two largest units: `45s`, `4m12s`, `2h5m`, `3d4h`. Negative spans are `0s`.
#[must_use]
pub fn span(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    let pair = |big: i64, unit: &str, small: i64, small_unit: &str| match small {
        0 => format!("{big}{unit}"),
        _ => format!("{big}{unit}{small}{small_unit}"),
    };
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => pair(minutes, "m", seconds % 60, "s"),
        (0, _, _) => pair(hours, "h", minutes, "m"),
        (_, _, _) => pair(days, "d", hours, "h"),
    }
}

/// Whole seconds from `from` to `to`, rounded down; negative when `to` is earlier.
#[must_use]
pub fn seconds_between(from: Timestamp, to: Timestamp) -> i64 {
    to.as_second() - from.as_second()
}

/// Without the seconds from ten minutes on, without the minutes from ten hours on: an age that counts on quietly.
const fn coarse(seconds: i64) -> i64 {
    match seconds {
        36_000.. => seconds / 3_600 * 3_600,
        600.. => seconds / 60 * 60,
        _ => seconds,
    }
}

/// How long ago: `3s ago`, `41m ago`, `just now`.
#[must_use]
pub fn ago(now: Timestamp, at: Timestamp) -> String {
    match seconds_between(at, now) {
        i64::MIN..=0 => "just now".to_owned(),
        seconds => format!("{} ago", span(coarse(seconds))),
    }
}

/// How soon: `in 4m12s`, `now`.
#[must_use]
pub fn until(now: Timestamp, at: Timestamp) -> String {
    match seconds_between(now, at) {
        i64::MIN..=0 => "now".to_owned(),
        seconds => format!("in {}", span(seconds)),
    }
}

/// A date and time of day in UTC to the minute: `2026-03-01 14:02`.
#[must_use]
pub fn date(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M").to_string()
}

/// A time in UTC to the second: `2026-03-01T14:02:11Z`.
#[must_use]
pub fn stamp(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_the_two_largest_units() {
        for (seconds, said) in [
            (-5, "0s"),
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (252, "4m12s"),
            (3_600, "1h"),
            (7_509, "2h5m"),
            (86_400, "1d"),
            (273_600, "3d4h"),
        ] {
            assert_eq!(span(seconds), said);
        }
    }

    #[test]
    fn says_past_and_future() {
        let now = Timestamp::from_second(1_000).unwrap();
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(ago(now, at(997)), "3s ago");
        assert_eq!(ago(now, at(1_002)), "just now");
        assert_eq!(ago(at(3_500), at(1_000)), "41m ago");
        assert_eq!(ago(at(1_000 + 36_900), at(1_000)), "10h ago");
        assert_eq!(until(now, at(1_252)), "in 4m12s");
        assert_eq!(until(now, at(1_000)), "now");
        assert_eq!(stamp(at(0)), "1970-01-01T00:00:00Z");
        assert_eq!(date(at(0)), "1970-01-01 00:00");
    }
}
