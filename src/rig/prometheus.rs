//! The metric server of a rig. It says of each version what its image tag promises, in whatever mood it is, and keeps a ledger of
//! every answer that it gave.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::adapters::prometheus::{Connect, MetricServer};
use crate::api::Span;
use crate::engine::{Answer, Ask};

use super::time::RigTime;

/// How the metric server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mood {
    /// It answers.
    Well,
    /// It answers late, by this much.
    Late(Duration),
    /// It refuses.
    Down,
    /// It never answers.
    Hangs,
    /// It knows nothing of what is asked.
    Empty,
    /// It says `NaN`.
    NotANumber,
    /// It says `+Inf`.
    Infinite,
    /// It has several series.
    Many,
    /// It says a matrix.
    Matrix,
    /// It warns that the answer is partial.
    Warns,
    /// Its last sample is this old.
    Old(Duration),
}

impl Mood {
    /// All in which no evidence comes, and one that is late.
    pub const BAD: [Self; 10] = [
        Self::Late(Duration::from_secs(3)),
        Self::Down,
        Self::Hangs,
        Self::Empty,
        Self::NotANumber,
        Self::Infinite,
        Self::Many,
        Self::Matrix,
        Self::Warns,
        Self::Old(Duration::from_secs(3_600)),
    ];
}

/// What an answer proves of the version that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The gate is satisfied.
    Pass,
    /// It is not.
    Fail,
    /// Neither.
    Nothing,
}

/// An answer that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// When it left the server.
    pub at: Timestamp,
    /// Who asked.
    pub to: String,
    /// Labels of the selector of the question.
    pub about: BTreeMap<String, String>,
    /// What it proves.
    pub proof: Proof,
}

#[derive(Debug)]
struct Book {
    mood: Mood,
    /// The share of bad answers by ReplicaSet and gate; of all gates where none is named.
    bad: BTreeMap<(String, String), f64>,
    given: Vec<Given>,
}

/// The metric server.
#[derive(Clone, Debug)]
pub struct Prometheus {
    book: Arc<Mutex<Book>>,
    time: RigTime,
}

/// The query of a gate that this server understands, with a limit of [`LIMIT`]; `gate` tells gates apart.
#[must_use]
pub fn query(gate: &str) -> String {
    format!(
        "bad_share{{namespace=\"$namespace\",component=\"$component\",set=\"$canary_set\",gate=\"{gate}\"}}"
    )
}

/// The `threshold.max` that goes with [`query`].
pub const LIMIT: f64 = 0.05;

impl Prometheus {
    /// A server that is well.
    #[must_use]
    pub fn new(time: RigTime) -> Self {
        let book = Book { mood: Mood::Well, bad: BTreeMap::new(), given: Vec::new() };
        Self { book: Arc::new(Mutex::new(book)), time }
    }

    /// Puts it into a mood.
    pub fn set_mood(&self, mood: Mood) {
        self.lock().mood = mood;
    }

    /// How it is.
    #[must_use]
    pub fn mood(&self) -> Mood {
        self.lock().mood
    }

    /// From now on this share of the answers of a ReplicaSet's pods is bad.
    pub fn set_bad(&self, set: &str, share: f64) {
        self.lock().bad.insert((set.to_owned(), String::new()), share);
    }

    /// The same, for one gate alone.
    pub fn set_bad_for(&self, set: &str, gate: &str, share: f64) {
        self.lock().bad.insert((set.to_owned(), gate.to_owned()), share);
    }

    /// What was answered so far, oldest first.
    #[must_use]
    pub fn given(&self) -> Vec<Given> {
        self.lock().given.clone()
    }

    /// The way to this server for one process, which hears nothing more once it is `killed`.
    #[must_use]
    pub fn connect(&self, process: &str, killed: watch::Receiver<bool>) -> Connect {
        let (server, process) = (self.clone(), process.to_owned());
        Connect::of(move |config| {
            let (server, process, killed) = (server.clone(), process.clone(), killed.clone());
            Ok(Arc::new(Visitor { server, process, killed, timeout: config.timeout }))
        })
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, process: &str, ask: &Ask, deadline: Instant) -> Answer {
        let mood = self.mood();
        match mood {
            Mood::Late(by) => sleep(by).await,
            Mood::Hangs => sleep_until(deadline).await,
            // No answer takes no time: a network lies between.
            _ => sleep(Duration::from_millis(2)).await,
        }
        if Instant::now() >= deadline {
            return Answer::Failed("no answer in time".to_owned());
        }
        let about = labels_of(ask.queries().first().map_or("", String::as_str));
        let now = self.time.now();
        let mut book = self.lock();
        let label = |name: &str| about.get(name).cloned().unwrap_or_default();
        let keys = [(label("set"), String::new()), (label("set"), label("gate"))];
        let share = keys.iter().filter_map(|key| book.bad.get(key)).copied().fold(0.0, f64::max);
        let answer = said(mood, share, now);
        let proof = match &answer {
            Answer::Sample { value, sampled_at } if value.is_finite() && *sampled_at == now => {
                if share <= LIMIT { Proof::Pass } else { Proof::Fail }
            }
            _ => Proof::Nothing,
        };
        book.given.push(Given { at: now, to: process.to_owned(), about, proof });
        answer
    }
}

fn said(mood: Mood, share: f64, now: Timestamp) -> Answer {
    let sample = |value: f64| Answer::Sample { value, sampled_at: now };
    match mood {
        Mood::Well | Mood::Late(_) => sample(share),
        Mood::Down | Mood::Hangs => Answer::Failed("the server refuses (503)".to_owned()),
        Mood::Empty => Answer::Empty,
        Mood::NotANumber => sample(f64::NAN),
        Mood::Infinite => sample(f64::INFINITY),
        Mood::Many => Answer::ManySeries(2),
        Mood::Matrix => Answer::WrongType("matrix".to_owned()),
        Mood::Warns => Answer::Warnings("a store could not be asked".to_owned()),
        Mood::Old(by) => {
            let age = SignedDuration::try_from(by).unwrap_or(SignedDuration::ZERO);
            Answer::Sample { value: 0.0, sampled_at: now.saturating_sub(age).unwrap_or(now) }
        }
    }
}

/// The labels of the one selector of a query.
fn labels_of(query: &str) -> BTreeMap<String, String> {
    let inside =
        query.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}')).map_or("", |(labels, _)| labels);
    let pairs = inside.split(',').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.trim().to_owned(), value.trim().trim_matches('"').to_owned())).collect()
}

#[derive(Debug)]
struct Visitor {
    server: Prometheus,
    process: String,
    killed: watch::Receiver<bool>,
    timeout: Span,
}

impl MetricServer for Visitor {
    fn timeout(&self) -> Span {
        self.timeout
    }

    fn ask<'s>(&'s self, ask: &'s Ask, deadline: Instant) -> BoxFuture<'s, Answer> {
        async move {
            let answer = self.server.answer(&self.process, ask, deadline).await;
            if *self.killed.borrow() {
                return std::future::pending().await;
            }
            answer
        }
        .boxed()
    }
}
