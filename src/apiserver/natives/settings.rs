//! How a cluster behaves: its pods, its gateway, its nodes, its controllers.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::Span;

use super::Native;

/// How a cluster behaves. All of it may be changed at any time.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is random comes from here.
    pub seed: u64,
    /// How long a pod takes from its node to being ready.
    pub pod_start: Span,
    /// How long a pod takes to end.
    pub pod_end: Span,
    /// What becomes of the pods of an image, where its tag does not say it.
    pub images: BTreeMap<String, Image>,
    /// What becomes of a Job, by its name; others do what their image says.
    pub jobs: BTreeMap<String, Fate>,
    /// The gateway.
    pub gateway: Gateway,
    /// Names of the nodes; the pods are spread over them.
    pub nodes: Vec<String>,
    /// Nodes that are gone.
    pub lost_nodes: BTreeSet<String>,
    /// The most pods that a node takes.
    pub pods_per_node: usize,
    /// The most pods that a namespace may have; as many as there is room for if nothing is said.
    pub quota: Option<usize>,
    /// How late a controller may act on what it sees: each time anything between nothing and this.
    pub lags: BTreeMap<Native, Span>,
    /// Whether controllers that have something to do at the same time take turns by chance.
    pub shuffles: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            seed: 0,
            pod_start: Span::ZERO,
            pod_end: Span::ZERO,
            images: BTreeMap::new(),
            jobs: BTreeMap::new(),
            gateway: Gateway::default(),
            nodes: ["node-0", "node-1", "node-2"].map(str::to_owned).to_vec(),
            lost_nodes: BTreeSet::new(),
            pods_per_node: 110,
            quota: None,
            lags: BTreeMap::new(),
            shuffles: false,
        }
    }
}

/// What becomes of the pods of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// They run and never become ready.
    pub never_ready: bool,
    /// The image cannot be pulled.
    pub no_pull: bool,
    /// They become ready this much later than others.
    pub late: Span,
    /// They crash after they were ready for this long, each time.
    pub crashes_after: Option<Span>,
    /// They crash for want of memory.
    pub out_of_memory: bool,
    /// How the pod of a Job ends.
    pub fate: Fate,
}

/// How a Job's pods end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// They succeed after this time.
    Succeeds(Span),
    /// They fail after this time.
    Fails(Span),
    /// They never end.
    Hangs,
}

impl Default for Fate {
    fn default() -> Self {
        Self::Succeeds(Span::ZERO)
    }
}

impl Image {
    /// What the words of an image's tag ask for: `v1`, `v2-neverready`, `v3-late5`, `v4-crash30`, `v5-oom30`, `v6-nopull`, and for
    /// Jobs `fail`, `takes5`, `hang`. Other words are names.
    #[must_use]
    pub fn of_tag(image: &str) -> Self {
        let mut asked = Self::default();
        let tag = image.rsplit_once(':').map_or(image, |(_, tag)| tag);
        for word in tag.split('-') {
            let name = word.trim_end_matches(|letter: char| letter.is_ascii_digit());
            let after = Span::seconds(word[name.len()..].parse().unwrap_or(0));
            match name {
                "neverready" => asked.never_ready = true,
                "nopull" => asked.no_pull = true,
                "late" => asked.late = after,
                "crash" => asked.crashes_after = Some(after),
                "oom" => (asked.crashes_after, asked.out_of_memory) = (Some(after), true),
                "fail" => asked.fate = Fate::Fails(after),
                "takes" => asked.fate = Fate::Succeeds(after),
                "hang" => asked.fate = Fate::Hangs,
                _ => {}
            }
        }
        asked
    }
}

/// How the gateway behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// Whether it looks at routes at all.
    pub answers: bool,
    /// Its words while it refuses routes that name the Service of a canary.
    pub refuses: Option<String>,
    /// How long it takes to say something of a route that changed.
    pub accepts_after: Span,
    /// How long it takes from then to send requests accordingly.
    pub acts_after: Span,
}

impl Default for Gateway {
    fn default() -> Self {
        Self { answers: true, refuses: None, accepts_after: Span::ZERO, acts_after: Span::ZERO }
    }
}

impl Settings {
    /// What becomes of the pods of an image.
    #[must_use]
    pub fn image(&self, image: &str) -> Image {
        self.images.get(image).cloned().unwrap_or_else(|| Image::of_tag(image))
    }
}
