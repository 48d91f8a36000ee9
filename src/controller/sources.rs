//! Keeps the registry of metric servers as the MetricSources and their Secrets say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::adapters::kube::secrets;
use crate::adapters::prometheus::{Auth, Secret, SourceConfig};
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
    let server = &spec.prometheus;
    let read = async |name: &str, key: &str| {
        let value = secrets::read(&context.cluster, namespace, name, key).await;
        let value = value.map_err(|error| error.to_string())?;
        value.ok_or_else(|| format!("the Secret {namespace}/{name} has no key {key}"))
    };
    let text = |name: &str, value: Vec<u8>| {
        String::from_utf8(value).map_err(|_| format!("a value of the Secret {namespace}/{name} is no text"))
    };
    let ca_bundle = match &server.ca_bundle_ref {
        Some(at) => Some(read(&at.name, &at.key).await?),
        None => None,
    };
    let auth = match (&server.bearer_token_ref, &server.basic_auth_ref) {
        (Some(at), _) => Some(Auth::Bearer(Secret::new(&text(&at.name, read(&at.name, &at.key).await?)?))),
        (None, Some(at)) => {
            let username = text(&at.name, read(&at.name, "username").await?)?;
            let password = text(&at.name, read(&at.name, "password").await?)?;
            Some(Auth::Basic { username: username.trim_end().to_owned(), password: Secret::new(&password) })
        }
        (None, None) => None,
    };
    Ok(SourceConfig::of(server, ca_bundle, auth))
}

/// A Rollout may be waiting for a source.
fn wake_all(context: &Context) {
    for (namespace, name) in context.stores.rollouts.keys() {
        context.queue.push(&Key::new(&namespace, &name), Urgency::Ordinary);
    }
}
