//! From the bytes of an answer to what it says.
//!
//! The bytes are read twice: first the envelope, which tells partial and failed answers apart, then the one sample.
//! <https://prometheus.io/docs/prometheus/latest/querying/api/#format-overview>

use jiff::Timestamp;
use prometheus_http_query::response::{Data, Sample};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::engine::Answer;
use crate::engine::flaw::{self, Flaw};

/// What stands around every answer. Unknown fields are left alone (`infos`, for one, does not make an answer doubtful).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    status: String,
    data: Option<Head>,
    error_type: Option<String>,
    #[serde(default)]
    warnings: Option<Vec<IgnoredAny>>,
    /// VictoriaMetrics: some of its storage nodes did not answer.
    #[serde(default)]
    is_partial: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    result_type: String,
}

/// The result of type `vector`, to be counted.
#[derive(Deserialize)]
struct Counted {
    data: Series,
}

#[derive(Deserialize)]
struct Series {
    result: Vec<IgnoredAny>,
}

#[derive(Deserialize)]
struct Full {
    data: Data,
}

/// What the body of an answer with status 200 says. Never a text out of the body.
#[must_use]
pub fn parse(body: &[u8]) -> Answer {
    match result_type(body).as_deref() {
        Ok("vector") => match serde_json::from_slice::<Counted>(body).map(|c| c.data.result.len()) {
            Ok(0) => Answer::Empty,
            Ok(1) => one(body),
            Ok(series) => Answer::ManySeries(series),
            Err(_) => unreadable(body),
        },
        Ok("scalar") => one(body),
        Ok("matrix") => Answer::WrongType("a range of samples (matrix)".to_owned()),
        Ok("string") => Answer::WrongType("a text (string)".to_owned()),
        Ok(_) => Answer::WrongType("an unknown type".to_owned()),
        Err(answer) => answer.clone(),
    }
}

/// The type of the result of a whole answer, as it names it.
///
/// # Errors
/// The answer, if it is not whole, not good, or has warnings.
pub fn result_type(body: &[u8]) -> Result<String, Answer> {
    let Ok(envelope) = serde_json::from_slice::<Envelope>(body) else { return Err(unreadable(body)) };
    if envelope.status != "success" {
        let class = class_of(envelope.error_type.as_deref());
        return Err(Answer::Failed(format!("the server reports an error ({class})")));
    }
    let warnings = envelope.warnings.filter(|_| !flaw::is(Flaw::WarningsPass));
    if let Some(warnings) = warnings.filter(|warnings| !warnings.is_empty()) {
        let (count, s) = (warnings.len(), if warnings.len() == 1 { "" } else { "s" });
        return Err(Answer::Warnings(format!("{count} warning{s}; ask the same query by hand to read them")));
    }
    if envelope.is_partial {
        return Err(Answer::Warnings("isPartial: some of its storage did not answer".to_owned()));
    }
    match envelope.data {
        Some(data) => Ok(data.result_type),
        None => Err(Answer::Failed("the answer has no data".to_owned())),
    }
}

/// The class of an error answer, among those that Prometheus names.
#[must_use]
pub fn error_class(body: &[u8]) -> Option<&'static str> {
    let envelope: Envelope = serde_json::from_slice(body).ok()?;
    (envelope.status == "error").then(|| class_of(envelope.error_type.as_deref()))
}

fn class_of(error_type: Option<&str>) -> &'static str {
    const CLASSES: [&str; 9] = [
        "timeout",
        "canceled",
        "execution",
        "bad_data",
        "internal",
        "unavailable",
        "not_found",
        "not_acceptable",
        "too_many_requests",
    ];
    CLASSES.into_iter().find(|class| Some(*class) == error_type).unwrap_or("of no known class")
}

fn one(body: &[u8]) -> Answer {
    match serde_json::from_slice::<Full>(body).map(|full| full.data) {
        Ok(Data::Scalar(found)) => sample(&found),
        Ok(Data::Vector(series)) => match series.as_slice() {
            [one] => sample(one.sample()),
            _ => unreadable(body),
        },
        Ok(Data::Matrix(_)) => unreadable(body),
        // The envelope was good, so the series is not of the plain kind.
        Err(_) => Answer::WrongType("no plain number (perhaps a native histogram)".to_owned()),
    }
}

fn sample(found: &Sample) -> Answer {
    match time_of(found.timestamp()) {
        Some(sampled_at) => Answer::Sample { value: found.value(), sampled_at },
        None => Answer::Failed("the answer's time is no time".to_owned()),
    }
}

/// Seconds since 1970, as Prometheus writes them, to the millisecond.
pub fn time_of(seconds: f64) -> Option<Timestamp> {
    let millis = (seconds * 1_000.0).round();
    // Beyond this a float is no exact number of milliseconds, and no year that a clock shows.
    const MILLIS_MAX: f64 = 1e14;
    if millis.is_nan() || millis.abs() > MILLIS_MAX {
        return None;
    }
    // Exact: a whole number far within the range of i64.
    Timestamp::from_millisecond(millis as i64).ok()
}

/// Why a body is no answer.
pub fn unreadable(body: &[u8]) -> Answer {
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    Answer::Failed(
        match first {
            None => "the answer is empty",
            Some(b'<') => "the answer is a web page, not JSON: is there a proxy or a login in between?",
            Some(b'{') => "the answer is not what the Prometheus API answers",
            Some(_) => "the answer is not JSON",
        }
        .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn vector(series: &str) -> Answer {
        parse(
            format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{series}]}}}}"#)
                .as_bytes(),
        )
    }

    #[test]
    fn reads_one_number_with_its_time() {
        let sampled_at = Timestamp::from_millisecond(1_700_000_000_123).unwrap();
        for (text, value) in [("0.5", 0.5), ("-0", 0.0), ("1e-300", 1e-300), ("3", 3.0)] {
            let answer = vector(&format!(r#"{{"metric":{{}},"value":[1700000000.123,"{text}"]}}"#));
            assert_eq!(answer, Answer::Sample { value, sampled_at }, "{text}");
        }
        for (text, finite) in
            [("NaN", false), ("+Inf", false), ("-Inf", false), ("1e999", false), ("1", true)]
        {
            match vector(&format!(r#"{{"metric":{{}},"value":[1,"{text}"]}}"#)) {
                Answer::Sample { value, .. } => assert_eq!(value.is_finite(), finite, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    /// Formats as documented; none of them is ever a number.
    #[test]
    fn everything_else_is_no_number() {
        let good = r#""data":{"resultType":"scalar","result":[1,"1"]}"#;
        for (body, words) in [
            (String::new(), "is empty"),
            (" \n".to_owned(), "is empty"),
            ("<html>".to_owned(), "web page"),
            ("[]".to_owned(), "not JSON"),
            ("{}".to_owned(), "not what the Prometheus API"),
            ("nonsense".to_owned(), "not JSON"),
            (format!(r#"{{"status":"success",{good}"#), "not what the Prometheus API"),
            (format!(r#"{{"status":"success",{good}}}x"#), "not what the Prometheus API"),
            (format!(r#"{{{good}}}"#), "not what the Prometheus API"),
            (format!(r#"{{"status":"error","errorType":"timeout","error":"secret",{good}}}"#), "(timeout)"),
            (format!(r#"{{"status":"error","errorType":"secret",{good}}}"#), "of no known class"),
            (format!(r#"{{"status":"success","warnings":["secret"],{good}}}"#), "1 warning;"),
            (format!(r#"{{"status":"success",{good},"warnings":["a","b"]}}"#), "2 warnings;"),
            (format!(r#"{{"status":"success","isPartial":true,{good}}}"#), "isPartial"),
            (r#"{"status":"success"}"#.to_owned(), "no data"),
            (r#"{"status":"success","data":null}"#.to_owned(), "no data"),
            (r#"{"status":"success","data":{"resultType":"streams","result":[]}}"#.to_owned(), "unknown type"),
            (r#"{"status":"success","data":{"resultType":"scalar","result":[1,2]}}"#.to_owned(), "no plain number"),
            (r#"{"status":"success","data":{"resultType":"scalar","result":[1e300,"1"]}}"#.to_owned(), "no time"),
            (r#"{"status":"success","data":{"resultType":"vector","result":{}}}"#.to_owned(), "not what"),
            (
                r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"histogram":[1,{"count":"1","sum":"1"}]}]}}"#.to_owned(),
                "native histogram",
            ),
        ] {
            let answer = parse(body.as_bytes());
            let text = format!("{answer:?}");
            assert!(!matches!(answer, Answer::Sample { .. }) && text.contains(words), "{body}: {text}");
            assert!(!text.contains("secret"), "{body}: {text}");
        }
        assert_eq!(vector(""), Answer::Empty);
        assert_eq!(vector("{},{}"), Answer::ManySeries(2));
    }

    #[test]
    fn infos_do_not_make_an_answer_doubtful() {
        let body = br#"{"status":"success","infos":["x"],"warnings":[],"data":{"resultType":"scalar","result":[1,"1"]}}"#;
        assert!(matches!(parse(body), Answer::Sample { .. }));
    }

    #[test]
    fn deep_bodies_are_refused() {
        let deep = format!(r#"{{"status":"success","data":{}"#, "[".repeat(1 << 20));
        assert!(matches!(parse(deep.as_bytes()), Answer::Failed(_)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let never = matches!(parse(&bytes), Answer::Failed(_));
            prop_assert!(never);
        }

        /// A number comes only from a whole, warning-free answer: any byte cut off makes it none.
        #[test]
        fn a_cut_answer_is_never_a_number(cut in 1usize..90) {
            let body = br#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"1"]}]}}"#;
            let whole = matches!(parse(body), Answer::Sample { .. });
            let cut = matches!(parse(&body[..body.len() - cut]), Answer::Failed(_));
            prop_assert!(whole && cut);
        }
    }
}
