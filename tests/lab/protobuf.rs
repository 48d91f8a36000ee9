//! Native histograms in the exposition format that carries them: messages of `io.prometheus.client`, each after its length.
//! <https://prometheus.io/docs/instrumenting/exposition_formats/#protobuf-format>,
//! <https://prometheus.io/docs/specs/native_histograms/>

use std::collections::BTreeMap;

/// The content type of the format.
pub const CONTENT_TYPE: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

/// Each bucket is 2^(1/2^schema) times as wide as the one before.
pub const SCHEMA: i32 = 3;

const MILLI: f64 = 0.001;

/// One histogram with its labels.
pub struct Histogram<'a> {
    pub labels: [(&'a str, &'a str); 2],
    /// Observations by the index of their bucket.
    pub buckets: BTreeMap<i32, u64>,
    /// Observations that are next to nothing.
    pub zeros: u64,
    pub sum: f64,
}

/// The bucket of an observation; `None` for next to nothing.
pub fn index_of(seconds: f64) -> Option<i32> {
    // The upper bound belongs to the bucket: 0.25 is in the one that ends there.
    (seconds > MILLI).then(|| (seconds.log2() * f64::from(1 << SCHEMA)).ceil() as i32)
}

/// A family of histograms.
pub fn family(name: &str, histograms: &[Histogram<'_>]) -> Vec<u8> {
    const HISTOGRAM: u64 = 4;
    let mut family = Message::default();
    family.text(1, name);
    family.number(3, HISTOGRAM);
    for histogram in histograms {
        let mut metric = Message::default();
        for (name, value) in histogram.labels {
            let mut label = Message::default();
            label.text(1, name);
            label.text(2, value);
            metric.message(1, &label);
        }
        metric.message(7, &of(histogram));
        family.message(4, &metric);
    }
    let mut delimited = Message::default();
    delimited.varint(family.0.len() as u64);
    delimited.0.extend(family.0);
    delimited.0
}

fn of(histogram: &Histogram<'_>) -> Message {
    let mut message = Message::default();
    message.number(1, histogram.zeros + histogram.buckets.values().sum::<u64>());
    message.double(2, histogram.sum);
    message.signed(5, i64::from(SCHEMA));
    message.double(6, MILLI);
    message.number(7, histogram.zeros);
    // Runs of buckets without a gap: how far after the one before, and how many.
    let (mut next, mut runs): (i32, Vec<(i32, u64)>) = (0, Vec::new());
    for index in histogram.buckets.keys() {
        match runs.last_mut() {
            Some((_, length)) if *index == next => *length += 1,
            _ => runs.push((index - next, 1)),
        }
        next = index + 1;
    }
    for (offset, length) in runs {
        let mut span = Message::default();
        span.signed(1, i64::from(offset));
        span.number(2, length);
        message.message(12, &span);
    }
    let mut before = 0;
    for count in histogram.buckets.values().map(|count| i64::try_from(*count).unwrap_or(i64::MAX)) {
        message.signed(13, count - before);
        before = count;
    }
    message
}

/// Fields, one after the other. <https://protobuf.dev/programming-guides/encoding/>
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn number(&mut self, field: u64, value: u64) {
        self.varint(field << 3);
        self.varint(value);
    }

    /// Small negative numbers are short too ("ZigZag").
    fn signed(&mut self, field: u64, value: i64) {
        self.number(field, ((value << 1) ^ (value >> 63)) as u64);
    }

    fn double(&mut self, field: u64, value: f64) {
        self.varint(field << 3 | 1);
        self.0.extend(value.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, value: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend(value);
    }

    fn text(&mut self, field: u64, value: &str) {
        self.bytes(field, value.as_bytes());
    }

    fn message(&mut self, field: u64, value: &Message) {
        self.bytes(field, &value.0);
    }
}
