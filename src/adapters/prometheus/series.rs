//! From the bytes of an answer to series of counters and histograms.
//! <https://prometheus.io/docs/prometheus/latest/querying/api/#range-vectors>

use serde::Deserialize;

use crate::engine::statistics::histogram::Bucket;
use crate::engine::{Answer, Line, Reading};

use super::answer::{self, time_of};

#[derive(Deserialize)]
struct Full {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    result: Vec<Series>,
}

#[derive(Deserialize)]
struct Series {
    #[serde(default)]
    metric: Labels,
    #[serde(default)]
    values: Vec<(f64, String)>,
    #[serde(default)]
    histograms: Vec<(f64, Histogram)>,
}

/// The labels that are looked at; others are left alone.
#[derive(Default, Deserialize)]
struct Labels {
    #[serde(default)]
    pod: String,
    #[serde(default)]
    le: Option<String>,
}

/// A native histogram. Its buckets are `[boundary rule, lower, upper, count]`; empty ones are not there.
#[derive(Deserialize)]
struct Histogram {
    #[serde(default)]
    buckets: Vec<(u8, String, String, String)>,
}

/// What the body of an answer with status 200 to a question for a range says. Never a text out of the body, but for the names of
/// pods.
///
/// # Errors
/// Why it is no series, as the answer to the whole question.
pub fn parse(body: &[u8]) -> Result<Vec<Line>, Answer> {
    match answer::result_type(body)?.as_str() {
        "matrix" => {}
        "vector" => return Err(Answer::WrongType("one moment (vector)".to_owned())),
        "scalar" => return Err(Answer::WrongType("one number (scalar)".to_owned())),
        _ => return Err(Answer::WrongType("an unknown type".to_owned())),
    }
    let full: Full = serde_json::from_slice(body).map_err(|_| answer::unreadable(body))?;
    full.data.result.into_iter().map(line).collect()
}

fn line(series: Series) -> Result<Line, Answer> {
    let broken = || Answer::Failed("the answer holds a number or a time that is none".to_owned());
    let upper = series.metric.le.map(|le| number(&le).ok_or_else(broken)).transpose()?;
    let mut points = Vec::with_capacity(series.values.len() + series.histograms.len());
    for (at, value) in series.values {
        let reading = Reading::Number(number(&value).ok_or_else(broken)?);
        points.push((time_of(at).ok_or_else(broken)?, reading));
    }
    for (at, histogram) in series.histograms {
        let buckets: Option<Vec<Bucket>> = histogram.buckets.iter().map(bucket).collect();
        let mut buckets = buckets.ok_or_else(broken)?;
        buckets.sort_by(|a, b| a.lower.total_cmp(&b.lower));
        points.push((time_of(at).ok_or_else(broken)?, Reading::Buckets(buckets)));
    }
    points.sort_by_key(|(at, _)| *at);
    Ok(Line { pod: series.metric.pod, upper, points })
}

fn bucket((_, lower, upper, count): &(u8, String, String, String)) -> Option<Bucket> {
    let bucket = Bucket { lower: number(lower)?, upper: number(upper)?, count: number(count)? };
    (bucket.lower <= bucket.upper && bucket.count.is_finite() && bucket.count >= 0.0).then_some(bucket)
}

/// A number as Prometheus writes it; infinite ones are `+Inf` and `-Inf`.
fn number(text: &str) -> Option<f64> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use crate::engine::statistics::histogram;

    use super::*;

    fn matrix(series: &str) -> Vec<u8> {
        format!(r#"{{"status":"success","data":{{"resultType":"matrix","result":[{series}]}}}}"#).into_bytes()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn reads_counters_by_pod_and_buckets_of_both_kinds() {
        let body = matrix(
            r#"{"metric":{"pod":"a-1","code":"500"},"values":[[10,"3"],[20.5,"4"]]},
               {"metric":{"pod":"a-1","le":"+Inf"},"values":[[10,"7"]]},
               {"metric":{"pod":"b-2"},"histograms":[[10,{"count":"3","sum":"1","buckets":[[0,"0.5","1","1"],[0,"0.25","0.5","2"]]}]]}"#,
        );
        let lines = parse(&body).unwrap();
        let half = Timestamp::from_millisecond(20_500).unwrap();
        assert_eq!(lines[0].points, [(at(10), Reading::Number(3.0)), (half, Reading::Number(4.0))]);
        assert_eq!((lines[0].pod.as_str(), lines[0].upper), ("a-1", None));
        assert_eq!(lines[1].upper, Some(f64::INFINITY));
        let bucket = |lower, upper, count| Bucket { lower, upper, count };
        let buckets = vec![bucket(0.25, 0.5, 2.0), bucket(0.5, 1.0, 1.0)];
        assert_eq!(lines[2].points, [(at(10), Reading::Buckets(buckets))]);
        assert_eq!(parse(&matrix("")), Ok(Vec::new()));
    }

    /// As Prometheus 3.13 answers for the same requests: exponential buckets, and custom ones that it made of a classic histogram.
    #[test]
    fn native_histograms_of_a_real_server_are_read() {
        let exponential = r#"{"metric":{"pod":"a"},"histograms":[[9,{"count":"100","sum":"10.7","buckets":[[3,"-0.001","0.001","20"],
            [0,"0.001953125","0.0021298979153618314","17"],[0,"0.002762135864009951","0.0030121305183748843","15"],
            [0,"0.018581361171917516","0.020263118041422026","17"],[0,"0.29730177875068026","0.3242098886627524","12"],
            [0,"0.3242098886627524","0.35355339059327373","19"]]}]]}"#;
        let custom = r#"{"metric":{"pod":"a"},"histograms":[[9,{"count":"100","sum":"10.7","buckets":[[3,"-Inf","0.005","52"],
            [0,"0.01","0.025","17"],[0,"0.25","0.5","31"]]}]]}"#;
        for series in [exponential, custom] {
            let lines = parse(&matrix(series)).unwrap();
            let Reading::Buckets(buckets) = &lines[0].points[0].1 else { panic!("{lines:?}") };
            let above = |bound| histogram::above(buckets, bound, histogram::Side::Surely);
            assert_eq!((histogram::total(buckets), above(0.25), above(0.5)), (100.0, 31.0, 0.0), "{series}");
        }
    }

    #[test]
    fn everything_else_is_no_series_and_says_nothing_of_the_body() {
        for (body, words) in [
            (r#"{"status":"error","errorType":"execution","error":"secret"}"#.to_owned(), "execution"),
            (r#"{"status":"success","warnings":["secret"],"data":{"resultType":"matrix","result":[]}}"#.to_owned(), "1 warning"),
            (r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#.to_owned(), "vector"),
            (r#"{"status":"success","data":{"resultType":"matrix","result":[{"values":[[1,"secret"]]}]}}"#.to_owned(), "number"),
            (r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"le":"x"}}]}}"#.to_owned(), "number"),
            (r#"{"status":"success","data":{"resultType":"matrix","result":[{"values":[[1e300,"1"]]}]}}"#.to_owned(), "time"),
            (r#"{"status":"success","data":{"resultType":"matrix","result":[{"histograms":[[1,{"buckets":[[0,"2","1","1"]]}]]}]}}"#.to_owned(), "number"),
            ("<html>".to_owned(), "web page"),
        ] {
            let text = format!("{:?}", parse(body.as_bytes()).unwrap_err());
            assert!(text.contains(words) && !text.contains("secret"), "{body}: {text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(parse(&bytes).is_err());
        }

        /// Series come only from a whole answer: any byte cut off makes it none.
        #[test]
        fn a_cut_answer_is_no_series(cut in 1usize..100) {
            let body = matrix(r#"{"metric":{"pod":"a"},"values":[[1,"1"],[2,"2"]]}"#);
            prop_assert!(parse(&body).is_ok() && parse(&body[..body.len() - cut.min(body.len())]).is_err());
        }
    }
}
