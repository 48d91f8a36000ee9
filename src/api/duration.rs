//! Durations as Prometheus writes them: `90s`, `1h30m`, `48h`, `2w`.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A span of time in whole milliseconds, written as a Prometheus duration (units `ms s m h d w y`, largest first, a
/// year of 365 days). <https://prometheus.io/docs/prometheus/latest/querying/basics/#time-durations>
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span {
    millis: i64,
}

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a duration: write it like 90s, 10m, 1h30m, 48h or 2w")]
pub struct SpanError {
    text: String,
}

const UNITS: [(&str, i64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// The longest span that is accepted: a hundred years. Keeps every sum of spans far from overflow.
const MILLIS_MAX: i64 = 100 * 365 * 86_400_000;

/// What the schema accepts. The number of digits keeps the sum of all units below [`MILLIS_MAX`] (it is at most 72
/// years), so that everything the API server stores can be read.
const SCHEMA_RULE: &str = "self.matches('^(0|([0-9]y)?([0-9]{1,3}w)?([0-9]{1,4}d)?([0-9]{1,5}h)?([0-9]{1,6}m)?\
     ([0-9]{1,8}s)?([0-9]{1,9}ms)?)$') && self != ''";

impl Span {
    /// No time at all.
    pub const ZERO: Span = Span { millis: 0 };

    /// A span of `seconds` (negative counts as zero).
    #[must_use]
    pub const fn seconds(seconds: i64) -> Self {
        Self::millis(seconds.saturating_mul(1_000))
    }

    /// A span of `millis` milliseconds (negative counts as zero, more than a hundred years as a hundred years).
    #[must_use]
    pub const fn millis(millis: i64) -> Self {
        let millis = if millis < 0 { 0 } else { millis };
        Span { millis: if millis > MILLIS_MAX { MILLIS_MAX } else { millis } }
    }

    /// Whole milliseconds.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.millis
    }

    /// Whether this is no time at all.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.millis == 0
    }

    /// The same span for the standard library's waits.
    #[must_use]
    pub const fn as_std(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.millis.unsigned_abs())
    }

    /// The same span for arithmetic on timestamps.
    #[must_use]
    pub const fn as_signed(self) -> jiff::SignedDuration {
        jiff::SignedDuration::from_millis(self.millis)
    }
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let error = || SpanError { text: text.chars().take(64).collect() };
        if text == "0" {
            return Ok(Span::ZERO);
        }
        let (mut rest, mut millis, mut next_unit) = (text, 0i64, 0usize);
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(error)?;
            let count: i64 = rest[..digits].parse().map_err(|_| error())?;
            rest = &rest[digits..];
            let unit_len = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
            let unit =
                UNITS[next_unit..].iter().position(|(u, _)| *u == &rest[..unit_len]).ok_or_else(error)?;
            let factor = UNITS[next_unit + unit].1;
            millis = count.checked_mul(factor).and_then(|m| m.checked_add(millis)).ok_or_else(error)?;
            next_unit += unit + 1;
            rest = &rest[unit_len..];
        }
        if text.is_empty() || millis > MILLIS_MAX { Err(error()) } else { Ok(Span { millis }) }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.millis == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.millis;
        // Weeks and years are accepted but read badly: 48h is said as 2d, two weeks as 14d.
        for (unit, factor) in &UNITS[2..] {
            if rest >= *factor {
                write!(f, "{}{unit}", rest / factor)?;
                rest %= factor;
            }
        }
        Ok(())
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Span {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Span".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": 32,
            "x-kubernetes-validations": [{
                "rule": SCHEMA_RULE,
                "message": "not a duration: write it like 90s, 10m, 1h30m, 48h or 2w",
            }],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_prometheus_durations() {
        for (text, millis, shown) in [
            ("90s", 90_000, "1m30s"),
            ("48h", 172_800_000, "2d"),
            ("2w", 1_209_600_000, "14d"),
            ("1h30m", 5_400_000, "1h30m"),
            ("1500ms", 1_500, "1s500ms"),
            ("0", 0, "0s"),
            ("0s", 0, "0s"),
        ] {
            let span: Span = text.parse().unwrap();
            assert_eq!((span.as_millis(), span.to_string().as_str()), (millis, shown), "{text}");
            assert_eq!(span.to_string().parse::<Span>().unwrap(), span);
        }
    }

    #[test]
    fn refuses_what_is_not_a_duration() {
        for text in [
            "",
            "10",
            "m",
            "10 m",
            "-5m",
            "1m1h",
            "1m1m",
            "1.5h",
            "5 minutes",
            "99999999999999999999s",
            "200y",
            "é",
        ] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }
}
