//! What a pod counts, as an application's Prometheus client does.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::pods::Pod;
use super::protobuf;

const CODES: [u16; 3] = [200, 500, 503];
/// Upper bounds in milliseconds; a last bucket has none.
const BOUNDS: [u64; 11] = [5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000];

/// Requests of one pod, by code and by duration.
#[derive(Default)]
pub struct Tally {
    codes: [AtomicU64; CODES.len()],
    buckets: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
    /// By the index of the bucket of a native histogram; those of next to no time by none.
    fine: Mutex<BTreeMap<Option<i32>, u64>>,
}

impl Tally {
    /// Counts an answered request.
    pub fn count(&self, code: u16, took: Duration) {
        if let Some(index) = CODES.iter().position(|known| *known == code) {
            self.codes[index].fetch_add(1, Ordering::Relaxed);
        }
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().position(|bound| micros <= bound * 1000).unwrap_or(BOUNDS.len());
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(micros, Ordering::Relaxed);
        *self.fine().entry(protobuf::index_of(took.as_secs_f64())).or_default() += 1;
    }

    fn fine(&self) -> MutexGuard<'_, BTreeMap<Option<i32>, u64>> {
        self.fine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seconds(&self) -> f64 {
        self.micros.load(Ordering::Relaxed) as f64 / 1e6
    }

    /// Requests answered so far.
    pub fn total(&self) -> u64 {
        self.codes.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

/// The counters of all pods in Prometheus' text format. A pod that had no request has no series, as in real applications.
pub fn render<'a>(pods: impl Iterator<Item = &'a Pod> + Clone) -> String {
    let mut text = String::from("# TYPE http_requests_total counter\n");
    for pod in pods.clone() {
        for (code, count) in CODES.iter().zip(&pod.tally.codes) {
            let count = count.load(Ordering::Relaxed);
            if count > 0 {
                let _ = writeln!(text, "http_requests_total{{{},code=\"{code}\"}} {count}", labels(pod));
            }
        }
    }
    text.push_str(&classic("http_request_duration_seconds", pods));
    text
}

/// The durations of all pods as classic histograms of this name.
pub fn classic<'a>(name: &str, pods: impl Iterator<Item = &'a Pod>) -> String {
    let mut text = format!("# TYPE {name} histogram\n");
    for pod in pods.filter(|pod| pod.tally.total() > 0) {
        histogram(&mut text, name, pod);
    }
    text
}

/// The durations of all pods as native histograms of this name.
pub fn native<'a>(name: &str, pods: impl Iterator<Item = &'a Pod>) -> Vec<u8> {
    let of = |pod: &'a Pod| {
        let mut buckets = pod.tally.fine().clone();
        let zeros = buckets.remove(&None).unwrap_or_default();
        protobuf::Histogram {
            labels: [("namespace", pod.namespace.as_str()), ("pod", pod.name.as_str())],
            buckets: buckets.into_iter().filter_map(|(index, count)| Some((index?, count))).collect(),
            zeros,
            sum: pod.tally.seconds(),
        }
    };
    let all: Vec<_> = pods.filter(|pod| pod.tally.total() > 0).map(of).collect();
    protobuf::family(name, &all)
}

fn histogram(text: &mut String, name: &str, pod: &Pod) {
    let labels = labels(pod);
    let bounds = BOUNDS.iter().map(|bound| (*bound as f64 / 1000.0).to_string()).chain(["+Inf".to_owned()]);
    let mut count = 0;
    for (bound, bucket) in bounds.zip(&pod.tally.buckets) {
        count += bucket.load(Ordering::Relaxed);
        let _ = writeln!(text, "{name}_bucket{{{labels},le=\"{bound}\"}} {count}");
    }
    let seconds = pod.tally.seconds();
    let _ = writeln!(text, "{name}_sum{{{labels}}} {seconds}\n{name}_count{{{labels}}} {count}");
}

fn labels(pod: &Pod) -> String {
    format!("namespace=\"{}\",pod=\"{}\"", pod.namespace, pod.name)
}
