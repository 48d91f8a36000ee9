//! A connection: a client for a user, what the weather does to its requests, and how many there were.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use http::{Request, Response};
use tokio::sync::{oneshot, watch};

use super::answer::Answer;
use super::front::Front;
use super::kinds::Kind;
use super::reads::{self, Age};
use super::refusal::Refusal;
use super::request::{Act, Asked, Unserved};
use super::server::ApiServer;
use super::store::{Caller, Store};
use super::watch::Watch;
use super::weather::{Deed, Fate, Sighted, Stream, Weather};
use super::writes;

/// How long a front end waits until it sees a version that is asked for.
const CATCHES_UP: Duration = Duration::from_secs(3);

/// A connection of one client.
#[derive(Clone)]
pub struct Connection {
    /// The client.
    pub client: kube::Client,
    line: Arc<Line>,
}

/// What a connection was used for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests by what they asked for.
    pub requests: BTreeMap<(Act, Kind), u64>,
    /// Requests that may change something.
    pub writes: u64,
    /// Events that its watches were sent.
    pub events: u64,
}

struct Line {
    server: ApiServer,
    caller: Caller,
    front: Front,
    weather: Mutex<Option<Weather>>,
    counts: Mutex<Counts>,
    /// Kinds of which a watch lost an event: the next watch has to list again.
    torn: Mutex<BTreeSet<Kind>>,
    dead: watch::Sender<bool>,
}

/// The connection broke.
#[derive(Debug, thiserror::Error)]
#[error("the connection was reset")]
struct Broken;

type Head = http::request::Parts;

impl Connection {
    pub(super) fn new(server: ApiServer, caller: Caller, front: Front, weather: Option<Weather>) -> Self {
        let line = Arc::new(Line {
            server,
            caller,
            front,
            weather: Mutex::new(weather),
            counts: Mutex::default(),
            torn: Mutex::default(),
            dead: watch::Sender::new(false),
        });
        let serving = line.clone();
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let (head, body) = request.into_parts();
            let sighted = serving.clone().sight(&head);
            let line = serving.clone();
            async move {
                let body = body.collect_bytes().await.map_err(|_| Broken)?;
                line.carry(head, body, sighted).await
            }
        });
        Self { client: kube::Client::new(service, "default"), line }
    }

    /// What it was used for so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        held(&self.line.counts).clone()
    }

    /// The user.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.line.caller.user
    }

    /// Its front end.
    #[must_use]
    pub fn front(&self) -> &Front {
        &self.line.front
    }

    /// Changes the weather; `None` for fair weather.
    pub fn set_weather(&self, weather: Option<Weather>) {
        *held(&self.line.weather) = weather;
    }

    /// Cuts it off: from now on no answer and no event arrives. What was sent already is done.
    pub fn kill(&self) {
        self.line.dead.send_replace(true);
    }

    /// Becomes true when it is killed.
    #[must_use]
    pub fn killed(&self) -> watch::Receiver<bool> {
        self.line.dead.subscribe()
    }
}

/// A request with what becomes of it.
struct Coming {
    asked: Result<Asked, Unserved>,
    fate: Fate,
}

impl Line {
    /// Reads the head of a request, counts it and asks the weather about it.
    fn sight(self: Arc<Self>, head: &Head) -> Coming {
        let asked = Asked::of(&head.method, head.uri.path(), head.uri.query().unwrap_or_default());
        let Ok(it) = &asked else { return Coming { asked, fate: Fate::default() } };
        let mut counts = held(&self.counts);
        *counts.requests.entry((it.act, it.kind)).or_default() += 1;
        counts.writes += u64::from(it.act.is_write());
        let sighted = Sighted {
            user: self.caller.user.clone(),
            act: it.act,
            key: it.key(),
            part: it.part,
            number: counts.requests.values().sum(),
            write: it.act.is_write().then_some(counts.writes),
        };
        drop(counts);
        let fate = match &mut *held(&self.weather) {
            Some(weather) if !self.is_dead() => weather(&sighted),
            _ => Fate::default(),
        };
        Coming { asked, fate }
    }

    async fn carry(
        self: Arc<Self>,
        head: Head,
        body: Bytes,
        coming: Coming,
    ) -> Result<Response<Body>, Broken> {
        let Coming { asked, fate } = coming;
        if self.is_dead() {
            return never().await;
        }
        if fate.deed == Deed::KillBefore {
            self.dead.send_replace(true);
        }
        let answer = if fate.request_delay.is_zero() {
            self.clone().arrive(head, body, asked, &fate).await
        } else {
            // It is on its way, whatever becomes of the client.
            let (tell, told) = oneshot::channel();
            let (line, fate) = (self.clone(), fate.clone());
            tokio::spawn(async move {
                tokio::time::sleep(fate.request_delay).await;
                // The client may have gone.
                drop(tell.send(line.arrive(head, body, asked, &fate).await));
            });
            told.await.unwrap_or(Err(Broken))
        };
        if !fate.answer_delay.is_zero() {
            tokio::time::sleep(fate.answer_delay).await;
        }
        if self.is_dead() {
            return never().await;
        }
        answer
    }

    async fn arrive(
        self: Arc<Self>,
        head: Head,
        body: Bytes,
        asked: Result<Asked, Unserved>,
        fate: &Fate,
    ) -> Result<Response<Body>, Broken> {
        let asked = match asked {
            Ok(asked) => asked,
            Err(unserved) => return Ok(Answer::from(unserved).into_response()),
        };
        match &fate.deed {
            Deed::Refuse(refusal) => return Ok(Answer::from(refusal.clone()).into_response()),
            Deed::Drop => return Err(Broken),
            Deed::KillBefore => return never().await,
            _ => {}
        }
        if asked.act == Act::Watch {
            return Ok(self.watch(&asked, fate.stream));
        }
        let media = head.headers.get("content-type").and_then(|it| it.to_str().ok()).unwrap_or_default();
        if fate.deed == Deed::Twice {
            self.serve(&asked, media, &body).await;
        }
        let answer = self.serve(&asked, media, &body).await;
        match fate.deed {
            Deed::LoseAnswer => Err(Broken),
            Deed::Silence => never().await,
            Deed::KillAfter => {
                self.dead.send_replace(true);
                never().await
            }
            _ => Ok(answer.into_response()),
        }
    }

    async fn serve(&self, asked: &Asked, media: &str, body: &[u8]) -> Answer {
        if !asked.act.is_write() {
            return self.read(asked).await.unwrap_or_else(Answer::from);
        }
        let caller = Caller { at: self.server.now(), ..self.caller.clone() };
        let perform = |store: &mut Store| writes::perform(store, &caller, asked, media, body);
        let is_dry = asked.word("dryRun") == "All";
        let done = self.server.write(|store| if is_dry { store.try_out(perform) } else { perform(store) });
        done.unwrap_or_else(Answer::from)
    }

    async fn read(&self, asked: &Asked) -> Result<Answer, Refusal> {
        let age = Age::of(asked)?;
        let until = tokio::time::Instant::now() + CATCHES_UP;
        loop {
            let now = self.server.now();
            let (answer, sees) = self.server.read(|store| {
                let sees = self.front.sees(store, now);
                (read_at(store, asked, age, sees), sees)
            });
            if let Some(answer) = answer {
                return answer;
            }
            if tokio::time::Instant::now() >= until {
                return Err(too_large(age, sees));
            }
            tokio::time::sleep(CATCHES_UP / 30).await;
        }
    }

    fn watch(self: Arc<Self>, asked: &Asked, stream: Stream) -> Response<Body> {
        let is_torn = held(&self.torn).remove(&asked.kind);
        let watch = match Watch::begin(&self.server, &self.front, asked, is_torn) {
            Ok(watch) => watch,
            Err(refusal) => return Answer::from(refusal).into_response(),
        };
        let flow = Flow { line: self, kind: asked.kind, watch, stream, event: 0, again: None, breaks: false };
        let lines = futures::stream::unfold(flow, |mut flow| async move {
            let line = flow.next().await?;
            Some((line, flow))
        });
        let answer = Answer::text(200, Bytes::new()).into_response();
        answer.map(|_| Body::from_stream(lines))
    }

    fn is_dead(&self) -> bool {
        *self.dead.borrow()
    }
}

/// The lines of a watch on their way.
struct Flow {
    line: Arc<Line>,
    kind: Kind,
    watch: Watch,
    stream: Stream,
    event: u64,
    again: Option<Bytes>,
    breaks: bool,
}

impl Flow {
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        if let Some(line) = self.again.take() {
            return Some(Ok(line));
        }
        if self.breaks {
            self.breaks = false;
            self.stream = Stream::Cut { event: 0, within: false };
            return Some(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if matches!(self.stream, Stream::Cut { event, within: false } if event < self.event) {
            return None;
        }
        let mut dead = self.line.dead.subscribe();
        let was_there = self.watch.has_more();
        let line = tokio::select! {
            biased;
            () = async { drop(dead.wait_for(|is_dead| *is_dead).await) } => never().await,
            line = self.watch.next() => line?,
        };
        let event = self.event;
        self.event += 1;
        held(&self.line.counts).events += 1;
        match self.stream {
            Stream::Cut { event: at, within } if at == event => {
                self.breaks = within;
                let half = line.slice(..line.len() / 2);
                Some(if within { Ok(half) } else { Err(io::ErrorKind::ConnectionReset.into()) })
            }
            Stream::Silent { event: at } if event >= at => never().await,
            Stream::Late(by) => {
                // Those that come together are late together.
                if !was_there {
                    tokio::time::sleep(by).await;
                }
                if self.line.is_dead() { never().await } else { Some(Ok(line)) }
            }
            Stream::Twice { event: at } if at == event => {
                self.again = Some(line.clone());
                Some(Ok(line))
            }
            Stream::Lose { event: at } if at == event => {
                held(&self.line.torn).insert(self.kind);
                self.stream = Stream::Cut { event: 0, within: false };
                None
            }
            _ => Some(Ok(line)),
        }
    }
}

/// What a read finds, if the front end sees enough to answer it.
fn read_at(store: &Store, asked: &Asked, age: Age, sees: u64) -> Option<Result<Answer, Refusal>> {
    let revision = match age {
        Age::Latest => store.revision(),
        Age::Any => sees,
        Age::NotBefore(wanted) if sees < wanted => return None,
        Age::NotBefore(_) => sees,
        Age::Exactly(wanted) if store.revision() < wanted => return None,
        Age::Exactly(wanted) => wanted,
    };
    Some(match asked.act {
        Act::Get => reads::get(store, asked, revision).map(|object| Answer::json(200, &object)),
        _ => reads::list(store, asked, revision),
    })
}

fn too_large(age: Age, sees: u64) -> Refusal {
    let wanted = match age {
        Age::Exactly(wanted) | Age::NotBefore(wanted) => wanted,
        Age::Latest | Age::Any => 0,
    };
    let why = format!("Timeout: Too large resource version: {wanted}, current: {sees}");
    let mut refusal = Refusal::new(504, "Timeout", why).retry_after(1);
    refusal.details = serde_json::json!({
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
    });
    refusal
}

fn held<T: ?Sized>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for ever.
async fn never<T>() -> T {
    std::future::pending().await
}

#[cfg(test)]
mod rough;
#[cfg(test)]
mod tests;
