//! Whether a run came to the end that its image, and what people said, ask for.

/// What somebody does with a Rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Story {
    /// A good image.
    Good,
    /// An image whose metric is bad from the first visitor on.
    Bad,
    /// An image whose metric turns bad when half of the visitors have it.
    BadAtHalf,
    /// A good image, and another one before it has reached everyone.
    Superseded,
    /// A good image that a person aborts.
    Aborted,
}

impl Story {
    /// In words, for the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Good => "good images",
            Self::Bad => "bad images",
            Self::BadAtHalf => "images that turn bad at half",
            Self::Superseded => "images superseded in the middle",
            Self::Aborted => "good images, aborted",
        }
    }

    /// What is wrong with the end of its last run. `was_told_bad`: the metric server has given a bad answer about it.
    pub fn wrong(self, outcome: &str, was_told_bad: bool) -> Option<String> {
        let wanted: &[&str] = match self {
            Self::Good | Self::Superseded => &["Completed"],
            Self::Bad => &["RolledBack"],
            // Turned bad too late for anybody to ask, it is good.
            Self::BadAtHalf if !was_told_bad => &["Completed", "RolledBack"],
            Self::BadAtHalf => &["RolledBack"],
            // A word that comes when the canary is already becoming the Deployment's own is void.
            Self::Aborted => &["RolledBack", "Completed"],
        };
        (!wanted.contains(&outcome))
            .then(|| format!("{}: ended {outcome} instead of {}", self.name(), wanted.join(" or ")))
    }
}
