//! Which requests something is done to, and what.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use http::Method;
use tokio::sync::watch;

/// Requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    /// The first try of each write: of the writes to one place every second one, so that what is tried again passes. Leases and
    /// Events do not count as writes.
    EachWrite,
    /// Writes of which the path contains this, such as `/httproutes/`; the first one only.
    FirstWrite(&'static str),
    /// Everything: reads, writes and Leases; watches that are open stay open.
    Everything,
}

/// What is done to a request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// It arrives late.
    Late(Duration),
    /// It never arrives, and the connection breaks.
    Dropped,
    /// It is carried out; the connection breaks before the reply comes.
    Lost,
    /// It is delivered twice; the caller hears of the second time.
    Twice,
    /// It is refused with this status and never arrives; 429 comes with a `Retry-After` of a second.
    Refused(u16),
    /// It waits until it is released.
    Held(Arc<Hold>),
}

impl Fault {
    /// A word for counts.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Late(_) => "late",
            Self::Dropped => "dropped",
            Self::Lost => "reply lost",
            Self::Twice => "delivered twice",
            Self::Refused(401) => "refused with 401",
            Self::Refused(409) => "refused with 409",
            Self::Refused(429) => "refused with 429",
            Self::Refused(503) => "refused with 503",
            Self::Refused(_) => "refused with 500",
            Self::Held(_) => "held",
        }
    }
}

/// A request that is held.
#[derive(Debug, Default)]
pub struct Hold {
    arrived: watch::Sender<bool>,
    released: watch::Sender<bool>,
    answer: watch::Sender<Option<u16>>,
}

impl Hold {
    /// Waits until the request is there.
    pub async fn arrived(&self, within: Duration) -> Result<()> {
        let mut seen = self.arrived.subscribe();
        let waited = tokio::time::timeout(within, seen.wait_for(|is_there| *is_there)).await;
        waited.context("the request to be held never came")?.map(drop).context("nobody holds it")
    }

    /// Lets it go on; gives the API server's status.
    pub async fn release(&self, within: Duration) -> Result<u16> {
        let mut answer = self.answer.subscribe();
        self.released.send_replace(true);
        let waited = tokio::time::timeout(within, answer.wait_for(Option::is_some)).await;
        let code = *waited.context("no answer to the held request")?.context("nobody waits for it")?;
        code.context("no answer")
    }

    /// The proxy's side: waits for the release.
    pub async fn wait(&self) {
        self.arrived.send_replace(true);
        let _ = self.released.subscribe().wait_for(|is_released| *is_released).await;
    }

    /// The proxy's side: what came of it.
    pub fn answered(&self, code: u16) {
        self.answer.send_replace(Some(code));
    }
}

/// What is done to what.
#[derive(Debug, Default)]
pub struct Rules {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    at: Where,
    fault: Fault,
    /// Places of which the last write was hit.
    hit: BTreeMap<String, bool>,
    is_used: bool,
}

impl Rules {
    /// Adds a rule.
    pub fn add(&mut self, at: Where, fault: Fault) {
        self.rules.push(Rule { at, fault, hit: BTreeMap::new(), is_used: false });
    }

    /// Forgets all rules.
    pub fn clear(&mut self) {
        self.rules.clear();
    }

    /// What is done to a request.
    pub fn judge(&mut self, method: &Method, path: &str) -> Option<Fault> {
        let is_write = *method != Method::GET && !path.contains("/leases") && !path.contains("/events");
        self.rules.iter_mut().find_map(|rule| rule.takes(method, path, is_write).then(|| rule.fault.clone()))
    }
}

impl Rule {
    fn takes(&mut self, method: &Method, path: &str, is_write: bool) -> bool {
        match self.at {
            Where::Everything => true,
            Where::EachWrite if is_write => {
                let was_hit = self.hit.entry(format!("{method} {path}")).or_default();
                *was_hit = !*was_hit;
                *was_hit
            }
            Where::FirstWrite(part) if is_write && !self.is_used && path.contains(part) => {
                self.is_used = true;
                true
            }
            Where::EachWrite | Where::FirstWrite(_) => false,
        }
    }
}
