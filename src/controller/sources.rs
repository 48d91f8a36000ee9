//! Keeps the registry of metric servers as the MetricSources and their Secrets say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::adapters::kube::secrets;
use crate::adapters::prometheus::{SourceConfig, configured, secrets_of};
use crate::api::{MetricSourceSpec, Span};

use super::context::Context;
use super::desk::lock;
use super::options::PrometheusFlag;
use super::queue::{Key, Urgency};

/// Secrets are read again after this time: tokens are rotated.
const REFRESH: Duration = Duration::from_secs(300);
/// How soon something that could not be read is read again.
const RETRY: Duration = Duration::from_secs(10);
/// Name of the source that a flag gives.
const DEFAULT: &str = "default";
/// The longest answer that is read from the server of the flag, in bytes.
const FLAG_MAX_BYTES: usize = 1 << 20;
/// The longest wait for an answer of the server of the flag.
const FLAG_TIMEOUT: Span = Span::seconds(10);

/// Takes the source that a flag gives, before anything is asked.
pub fn take_flag(context: &Context, flag: Option<&PrometheusFlag>) {
    let Some(flag) = flag else { return };
    let config = SourceConfig {
        url: flag.url.to_string(),
        timeout: FLAG_TIMEOUT,
        max_bytes: FLAG_MAX_BYTES,
        ca_bundle: None,
        auth: None,
        allow_loopback: flag.allow_loopback,
    };
    let everywhere = vec!["*".to_owned()];
    if let Err(error) = context.sources.set(DEFAULT, config, everywhere.clone()) {
        tracing::error!(%error, "the metric server of the flag cannot be used");
    }
    lock(&context.allowed).insert(DEFAULT.to_owned(), everywhere);
}

/// Follows the MetricSources.
pub struct Follower {
    context: Arc<Context>,
    /// Where Palier runs, and where its Secrets are.
    namespace: String,
    /// Whether a flag gives the source `default`, which then wins over the object.
    has_flag: bool,
    known: BTreeMap<String, MetricSourceSpec>,
}

impl Follower {
    /// A follower that knows nothing yet.
    #[must_use]
    pub const fn new(context: Arc<Context>, namespace: String, has_flag: bool) -> Self {
        Self { context, namespace, has_flag, known: BTreeMap::new() }
    }

    /// Follows for ever.
    pub async fn follow(mut self) {
        let mut is_complete = self.catch_up().await;
        loop {
            let pause = if is_complete { REFRESH } else { RETRY };
            // Without sources there is nothing to refresh.
            let has_any = !self.known.is_empty();
            tokio::select! {
                biased;
                () = self.context.source_changed.notified() => {}
                () = tokio::time::sleep(pause), if has_any => {}
            }
            is_complete = self.catch_up().await;
        }
    }

    /// Brings the registry to what the MetricSources and their Secrets say now; whether all of it could be read.
    pub async fn catch_up(&mut self) -> bool {
        let Self { context, known, .. } = self;
        let mut seen = BTreeSet::new();
        let (mut is_complete, mut has_changed) = (true, false);
        for (_, name) in context.stores.sources.keys() {
            let Some(source) = context.stores.sources.get("", &name) else { continue };
            if self.has_flag && name == DEFAULT {
                continue;
            }
            is_complete &= take(context, &self.namespace, &name, &source.spec).await;
            has_changed |= known.insert(name.clone(), source.spec.clone()).as_ref() != Some(&source.spec);
            seen.insert(name);
        }
        for gone in known.keys().filter(|name| !seen.contains(*name)) {
            context.sources.remove(gone);
            lock(&context.allowed).remove(gone);
            has_changed = true;
        }
        known.retain(|name, _| seen.contains(name));
        if has_changed {
            wake_all(context);
        }
        is_complete
    }
}

/// Registers one source with what its Secrets hold; whether all of it could be read.
async fn take(context: &Context, namespace: &str, name: &str, spec: &MetricSourceSpec) -> bool {
    lock(&context.allowed).insert(name.to_owned(), spec.namespaces.clone());
    let config = match configure(context, namespace, spec).await {
        Ok(config) => config,
        Err(why) => {
            tracing::warn!(source = name, "the MetricSource cannot be used: {why}");
            // Asking without its credentials or authorities would be something else than what was asked for.
            context.sources.remove(name);
            return false;
        }
    };
    if let Err(error) = context.sources.set(name, config, spec.namespaces.clone()) {
        tracing::warn!(source = name, %error, "the MetricSource cannot be used");
    }
    true
}

async fn configure(
    context: &Context,
    namespace: &str,
    spec: &MetricSourceSpec,
) -> Result<SourceConfig, String> {
    let mut values = BTreeMap::new();
    for (name, key) in secrets_of(&spec.prometheus) {
        let value = secrets::read(&context.cluster, namespace, &name, &key).await;
        let value = value.map_err(|error| error.to_string())?;
        let value = value.ok_or_else(|| format!("the Secret {namespace}/{name} has no key {key}"))?;
        values.insert((name, key), value);
    }
    configured(&spec.prometheus, &values)
}

/// A Rollout may be waiting for a source.
fn wake_all(context: &Context) {
    for (namespace, name) in context.stores.rollouts.keys() {
        context.queue.push(&Key::new(&namespace, &name), Urgency::Ordinary);
    }
}
