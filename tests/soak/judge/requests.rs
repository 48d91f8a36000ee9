//! Whether the controllers ask the API server for no more than their work needs.

/// What they asked for.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Requests without leader election and watches.
    pub requests: usize,
    /// Runs that ended, whatever their end.
    pub runs: usize,
    /// The most requests that one Rollout caused within one minute.
    pub peak: usize,
    /// Which Rollout that was, and when.
    pub peak_of: String,
    /// Writes when everything was at rest.
    pub at_rest: usize,
}

/// Requests of one run on a quiet day; see docs/performance.md.
pub const QUIET: f64 = 33.0;
/// A fault every ten seconds hits every run once or twice. A write that fails comes again, once or twice, and after it what is
/// there is read anew; a new leader claims every run under way with one write. Twice the requests of a quiet day are room for that.
/// Whoever tries again without a pause, or writes what is written, needs many times more.
const PER_RUN_MAX: f64 = 2.0 * QUIET;
/// Three runs fit into a minute, each with its share of faults.
const PEAK_MAX: usize = 300;

impl Asked {
    /// Requests of one run; 0 when there was none.
    pub fn per_run(&self) -> f64 {
        if self.runs == 0 { 0.0 } else { self.requests as f64 / self.runs as f64 }
    }

    /// What is too much.
    pub fn wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        if self.per_run() > PER_RUN_MAX {
            wrong.push(format!("{:.1} requests for each run: {PER_RUN_MAX} are enough", self.per_run()));
        }
        if self.peak > PEAK_MAX {
            wrong.push(format!(
                "{} requests within a minute for {}: {PEAK_MAX} are enough",
                self.peak, self.peak_of
            ));
        }
        if self.at_rest > 0 {
            wrong.push(format!("{} writes when everything was at rest", self.at_rest));
        }
        wrong
    }
}
