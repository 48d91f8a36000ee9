//! The metric sources that exist now, and who may ask them.
//!
//! Equal questions of a namespace under way share one answer, and each server is asked a bounded number of questions at
//! once: a thousand Rollouts with the same gate do not become a flood. What one namespace asks never waits behind all that
//! another one does: see [`Places`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};
use tokio::time::{Instant, timeout_at};

use crate::api::Span;
use crate::engine::{Answer, Ask};

use super::client::{PrometheusClient, SourceConfig, SourceError};
use super::places::Places;

/// A metric server that can be asked.
pub trait MetricServer: Send + Sync + fmt::Debug {
    /// The longest time for one answer, waiting included.
    fn timeout(&self) -> Span;

    /// Asks until `deadline`. Whatever goes wrong is an [`Answer::Failed`] in words.
    fn ask<'s>(&'s self, ask: &'s Ask, deadline: Instant) -> BoxFuture<'s, Answer>;
}

impl MetricServer for PrometheusClient {
    fn timeout(&self) -> Span {
        self.timeout()
    }

    fn ask<'s>(&'s self, ask: &'s Ask, deadline: Instant) -> BoxFuture<'s, Answer> {
        self.ask_until(ask, deadline).boxed()
    }
}

/// A metric server, or why it cannot be asked at all.
pub type Reached = Result<Arc<dyn MetricServer>, SourceError>;

/// How a metric server is reached.
#[derive(Clone)]
pub struct Connect(Arc<dyn Fn(SourceConfig) -> Reached + Send + Sync>);

impl Connect {
    /// Over HTTP.
    #[must_use]
    pub fn http() -> Self {
        Self::of(|config| Ok(Arc::new(PrometheusClient::new(config)?)))
    }

    /// As `connect` says.
    #[must_use]
    pub fn of(connect: impl Fn(SourceConfig) -> Reached + Send + Sync + 'static) -> Self {
        Self(Arc::new(connect))
    }
}

impl fmt::Debug for Connect {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Connect")
    }
}

/// Questions that one server is asked at the same time.
const AT_ONCE_MAX: usize = 16;
/// Those of them that one namespace may have.
const SHARE_MAX: usize = 12;
/// Questions to one server that are asked or wait to be.
const UNDER_WAY_MAX: usize = 4_096;
/// Questions that a namespace may have under way even then.
const ALWAYS: usize = 64;

type Flight = Shared<BoxFuture<'static, Answer>>;
/// Questions under way, by namespace. Nobody joins a flight of another namespace: it may be far back in that one's line.
type Flights = BTreeMap<String, BTreeMap<Ask, WeakShared<BoxFuture<'static, Answer>>>>;

/// A registry of metric servers by the name of their MetricSource.
#[derive(Debug)]
pub struct Sources {
    connect: Connect,
    known: Mutex<BTreeMap<String, Arc<Source>>>,
}

impl Default for Sources {
    fn default() -> Self {
        Self::new()
    }
}

/// One source, as long as nothing of it changes.
#[derive(Debug)]
struct Source {
    config: SourceConfig,
    namespaces: Vec<String>,
    server: Result<Arc<Server>, SourceError>,
}

#[derive(Debug)]
struct Server {
    client: Arc<dyn MetricServer>,
    places: Places,
    flights: Mutex<Flights>,
}

impl Sources {
    /// No sources; those that come are reached over HTTP.
    #[must_use]
    pub fn new() -> Self {
        Self::reached_by(Connect::http())
    }

    /// No sources; those that come are reached by `connect`.
    #[must_use]
    pub const fn reached_by(connect: Connect) -> Self {
        Self { connect, known: Mutex::new(BTreeMap::new()) }
    }

    /// Adds a source, or changes it. Connections are kept if `config` is the same as before. `namespaces` are those that
    /// may ask it; `*` stands for all.
    ///
    /// # Errors
    /// What is wrong with `config`. The source is known all the same, and says so to everyone who asks it: what was
    /// there before is not used any more.
    pub fn set(&self, name: &str, config: SourceConfig, namespaces: Vec<String>) -> Result<(), SourceError> {
        let old = locked(&self.known).get(name).cloned();
        let kept = old.filter(|old| old.config == config).map(|old| old.server.clone());
        let server = kept
            .unwrap_or_else(|| (self.connect.0)(config.clone()).map(|client| Arc::new(Server::new(client))));
        let outcome = server.as_ref().map(|_| ()).map_err(Clone::clone);
        locked(&self.known).insert(name.to_owned(), Arc::new(Source { config, namespaces, server }));
        outcome
    }

    /// Forgets a source.
    pub fn remove(&self, name: &str) {
        locked(&self.known).remove(name);
    }

    /// Asks the source for a Rollout in `namespace`. The source's timeout covers the time in its queue.
    pub async fn ask(&self, source: &str, namespace: &str, ask: &Ask) -> Answer {
        let known = locked(&self.known).get(source).cloned();
        let Some(known) = known else {
            return Answer::Failed(format!(
                "there is no MetricSource {source:?}: create it, or correct prometheus.source"
            ));
        };
        if !known.namespaces.iter().any(|allowed| allowed == "*" || allowed == namespace) {
            return Answer::Failed(format!(
                "MetricSource {source:?} is not for namespace {namespace:?}: add it to spec.namespaces there"
            ));
        }
        match &known.server {
            Ok(server) => match server.flight(namespace, ask) {
                Some(flight) => flight.await,
                None => Answer::Failed("too many questions wait for this metric server".to_owned()),
            },
            Err(error) => Answer::Failed(format!("MetricSource {source:?} cannot be used: {error}")),
        }
    }
}

impl Server {
    fn new(client: Arc<dyn MetricServer>) -> Self {
        Server { client, places: Places::new(AT_ONCE_MAX, SHARE_MAX), flights: Mutex::default() }
    }

    /// The same question of the namespace under way, or a new one; `None` if too many are under way.
    fn flight(self: &Arc<Self>, namespace: &str, ask: &Ask) -> Option<Flight> {
        let mut flights = locked(&self.flights);
        if let Some(joined) = flights.get(namespace).and_then(|its| its.get(ask)?.upgrade()) {
            return Some(joined);
        }
        if !has_room(&flights, namespace) {
            // Those that nobody waits for any more have left their names behind.
            flights.values_mut().for_each(|its| its.retain(|_, flight| flight.upgrade().is_some()));
            flights.retain(|_, its| !its.is_empty());
        }
        if !has_room(&flights, namespace) {
            return None;
        }
        let flight = Arc::clone(self).fly(namespace.to_owned(), ask.clone()).boxed().shared();
        flights.entry(namespace.to_owned()).or_default().insert(ask.clone(), flight.downgrade()?);
        Some(flight)
    }

    async fn fly(self: Arc<Self>, namespace: String, ask: Ask) -> Answer {
        let deadline = Instant::now() + self.client.timeout().as_std();
        let answer = match timeout_at(deadline, self.places.take(&namespace)).await {
            Ok(Some(_place)) => self.client.ask(&ask, deadline).await,
            _ => Answer::Failed(
                "the metric server is so busy with earlier questions that this one was not asked".to_owned(),
            ),
        };
        // Before the answer is out: nobody joins it later, when it belongs to an earlier time.
        let mut flights = locked(&self.flights);
        if let Some(its) = flights.get_mut(&namespace) {
            its.remove(&ask);
            if its.is_empty() {
                flights.remove(&namespace);
            }
        }
        drop(flights);
        answer
    }
}

/// Whether one more question of a namespace may be under way. No other namespace can fill its first places.
fn has_room(flights: &Flights, namespace: &str) -> bool {
    flights.get(namespace).map_or(0, BTreeMap::len) < ALWAYS
        || flights.values().map(BTreeMap::len).sum::<usize>() < UNDER_WAY_MAX
}

/// The lock is never held over an await, and what it guards is whole between two statements: a panic elsewhere leaves
/// nothing half done.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_question_that_is_answered_is_not_joined() {
        let config = SourceConfig {
            // Nothing listens there: the answer comes at once.
            url: "http://127.0.0.1:1".to_owned(),
            timeout: Span::seconds(10),
            max_bytes: 1024,
            ca_bundle: None,
            auth: None,
            allow_loopback: true,
        };
        let server = Arc::new(Server::new(Arc::new(PrometheusClient::new(config).unwrap())));
        let up = Ask::Number("up".to_owned());
        let first = server.flight("shop", &up).unwrap();
        assert!(matches!(first.clone().await, Answer::Failed(_)));
        assert!(first.peek().is_some() && server.flight("shop", &up).unwrap().peek().is_none());
    }
}
