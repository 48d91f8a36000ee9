//! What the controllers asked of the API server, read on from its audit log, and kept in short.

use std::collections::BTreeMap;

use anyhow::Result;
use jiff::Timestamp;

use crate::crews::{SHAKEN, STEADY};
use crate::install::{HOME, RELEASE};
use crate::judge::steps::Write;
use crate::lab::Lab;
use crate::lab::audit::{Entry, Mark};
use crate::share::share;

/// Requests of one crew.
#[derive(Clone, Debug, Default)]
pub struct Requests {
    /// Without leader election and watches.
    pub all: usize,
    /// Of these Events.
    pub events: usize,
    /// Watches that were begun.
    pub watches: usize,
    /// Of all the writes that were refused, by status.
    pub refused: BTreeMap<u16, usize>,
    /// All by verb and resource.
    pub by_kind: BTreeMap<String, usize>,
}

/// See the module.
pub struct Ledger {
    mark: Mark,
    user: String,
    crews: BTreeMap<String, Requests>,
    /// The writes of each route, in the order in which they were done.
    routes: BTreeMap<String, Vec<Write>>,
    /// Of each Rollout the present minute and the requests in it.
    minutes: BTreeMap<String, (i64, usize)>,
    peak: (usize, String),
    writes: usize,
}

impl Ledger {
    /// From now on.
    pub fn new(lab: &Lab) -> Self {
        Self {
            mark: lab.audit().mark(),
            user: format!("system:serviceaccount:{HOME}:{RELEASE}"),
            crews: BTreeMap::new(),
            routes: BTreeMap::new(),
            minutes: BTreeMap::new(),
            peak: (0, String::new()),
            writes: 0,
        }
    }

    /// Reads what was written down since the last time.
    pub fn read_on(&mut self, lab: &Lab) -> Result<()> {
        for entry in lab.audit().read_on(&mut self.mark)?.0 {
            if entry.user == self.user && !entry.is_lease() && [STEADY, SHAKEN].contains(&&*entry.namespace) {
                self.enter(&entry);
            }
        }
        Ok(())
    }

    fn enter(&mut self, entry: &Entry) {
        let crew = self.crews.entry(entry.namespace.clone()).or_default();
        if entry.verb == "watch" {
            crew.watches += 1;
            return;
        }
        crew.all += 1;
        crew.events += usize::from(entry.resource == "events");
        *crew.by_kind.entry(format!("{} {}", entry.verb, entry.resource)).or_default() += 1;
        if entry.is_mutation() && entry.code >= 400 {
            *crew.refused.entry(entry.code).or_default() += 1;
        }
        self.writes += usize::from(entry.is_mutation() && entry.resource != "events");
        self.count_minute(entry);
        if (&*entry.verb, &*entry.resource) == ("patch", "httproutes")
            && entry.may_be_done()
            && let Some(share) = share(&entry.body)
        {
            let write = Write { at: entry.at, share, is_sure: entry.code < 300 };
            self.routes.entry(entry.name.clone()).or_default().push(write);
        }
    }

    /// Objects of a Rollout begin with its name; where the server chose the name, nobody knows whose it is.
    fn count_minute(&mut self, entry: &Entry) {
        let name = entry.name.split('-').next().unwrap_or_default();
        if name.is_empty() {
            return;
        }
        let minute = entry.at.as_second() / 60;
        let present = self.minutes.entry(name.to_owned()).or_default();
        *present = if present.0 == minute { (minute, present.1 + 1) } else { (minute, 1) };
        if present.1 > self.peak.0 {
            let at = Timestamp::from_second(minute * 60).unwrap_or_default();
            self.peak = (present.1, format!("{name} at {at}"));
        }
    }

    /// Requests of a crew.
    pub fn of(&self, namespace: &str) -> Requests {
        self.crews.get(namespace).cloned().unwrap_or_default()
    }

    /// The writes of each route.
    pub fn routes(&self) -> &BTreeMap<String, Vec<Write>> {
        &self.routes
    }

    /// The most requests for one Rollout within a minute of the clock, and which that was.
    pub fn peak(&self) -> (usize, String) {
        self.peak.clone()
    }

    /// All writes so far, without Events.
    pub fn writes(&self) -> usize {
        self.writes
    }
}
