//! Whether what a process uses stays as it is: the median of the first third of its life after the warm-up, beside that of the last.

/// What a process used at a time of its life: seconds since its start, and the value.
pub type Sample = (f64, f64);

/// A third of fewer samples than this says nothing.
const LEAST: usize = 5;

/// Two medians of one series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trend {
    /// Of the first third after the warm-up.
    pub first: f64,
    /// Of the last third.
    pub last: f64,
}

impl Trend {
    /// Compares the thirds of a series whose samples are in the order of time; `None` when there are too few of them.
    pub fn of(samples: &[Sample], warm_up: f64) -> Option<Self> {
        let warm: Vec<f64> = samples.iter().filter(|one| one.0 >= warm_up).map(|one| one.1).collect();
        let third = warm.len() / 3;
        (third >= LEAST)
            .then(|| Self { first: median(&warm[..third]), last: median(&warm[warm.len() - third..]) })
    }

    /// By how much the last is more than the first, in per cent; negative when it is less.
    pub fn growth(&self) -> f64 {
        if self.first == 0.0 { 0.0 } else { 100.0 * (self.last - self.first) / self.first }
    }

    /// What is wrong when it grows: by more than `percent` of the first, and by more than `least` in its own unit. Less is no leak.
    pub fn wrong(&self, what: &str, percent: f64, least: f64) -> Option<String> {
        let has_grown = self.growth() > percent && self.last - self.first > least;
        has_grown.then(|| {
            format!(
                "{what} grew by {:.1} %, from {:.1} to {:.1}; at most {percent} % is flat",
                self.growth(),
                self.first,
                self.last
            )
        })
    }
}

/// The value in the middle; 0 of none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}
