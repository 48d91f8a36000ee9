//! Keeps a store as the API server has it.

use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use kube::api::Api;
use kube::runtime::watcher::{Config, Error, Event, watcher};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout};

use super::call::{CallError, Cluster, Path};
use super::row::{Arrival, Row, View};
use super::store::{Change, Fed, Store};
use crate::engine::flaw::{self, Flaw};

/// Objects per page of a list. An answer is in memory as a whole, and what it has taken is not all given back.
const PAGE: u32 = 50;
/// The longest pause after an error. Whoever waits longer learns late that the API server is there again.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A failure after so long without one is the first again: a watch of what never changes tells of nothing when all is well.
const FORGOTTEN: Duration = Duration::from_secs(60);
/// The pause after which a kind that is not served is asked for again.
const NOT_SERVED_PAUSE: Duration = Duration::from_secs(60);

/// The longest wait for one page of a list. The watcher itself waits for ever: a connection that is open and silent would leave a store
/// as it was for good.
const LONGEST_PAGE: Duration = Duration::from_secs(60);

/// What is watched of a kind.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// One namespace; `None` for all of them.
    pub namespace: Option<String>,
    /// A label selector; empty for everything.
    pub labels: &'static str,
}

/// Failures one after the other.
#[derive(Debug, Default)]
struct Failures {
    in_a_row: u32,
    last: Option<Instant>,
}

impl Failures {
    /// Every attempt begins with the first event of a list, the one that fails too; and of a list in pages the first may come and the
    /// others not. All else shows that the API server answers.
    fn hear<K>(&mut self, event: &Event<K>) {
        if !matches!(event, Event::Init | Event::InitApply(_)) {
            self.in_a_row = 0;
        }
    }

    /// One more, and the pause after it.
    async fn add(&mut self) {
        if self.last.is_some_and(|last| last.elapsed() > FORGOTTEN) {
            self.in_a_row = 0;
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        tokio::time::sleep(super::backoff::pause(self.in_a_row, LONGEST_PAUSE)).await;
        self.last = Some(Instant::now());
    }
}

/// Keeps `store` as the API server has it, for ever; calls `on_change` for each change of it and `on_error` with words
/// for each thing that went wrong.
pub async fn keep<V: View>(
    cluster: Cluster,
    scope: Scope,
    store: Arc<Store<V>>,
    mut on_change: impl FnMut(Change),
    mut on_error: impl FnMut(String),
) {
    let api: Api<Arrival<V>> = match &scope.namespace {
        Some(namespace) => Api::namespaced(cluster.client().clone(), namespace),
        None => Api::all(cluster.client().clone()),
    };
    let config = Config::default().labels(scope.labels).page_size(PAGE);
    let mut failures = Failures::default();
    loop {
        let mut events = std::pin::pin!(watcher(api.clone(), config.clone()));
        let mut is_listing = true;
        loop {
            let Ok(event) = next(&mut events, is_listing).await else {
                on_error(format!("the list of {} did not come: listing again", V::PLURAL));
                break;
            };
            let Some(event) = event else { break };
            let fed = match event {
                Ok(event) => {
                    failures.hear(&event);
                    is_listing = match &event {
                        Event::Init => true,
                        Event::InitDone => false,
                        _ => is_listing,
                    };
                    store.feed(event)
                }
                Err(error) if is_not_served(&error) => {
                    for (namespace, name) in store.keys() {
                        on_change(Change { namespace, name, ..Change::default() });
                    }
                    store.set_absent();
                    tokio::time::sleep(NOT_SERVED_PAUSE).await;
                    continue;
                }
                Err(error) => {
                    is_listing |= is_expired(&error);
                    // A watch that has grown too old is ordinary: the next poll lists again.
                    if !is_expired(&error) {
                        on_error(format!("the watch of {} failed: {error}", V::PLURAL));
                        failures.add().await;
                    }
                    continue;
                }
            };
            match fed {
                Fed::Same => {}
                Fed::Changed(change) => on_change(change),
                Fed::Unreadable(words) => on_error(words),
                Fed::Listed { gone, doubtful } => {
                    gone.into_iter().for_each(&mut on_change);
                    for (namespace, name) in doubtful {
                        if let Some(change) = look_again(&cluster, &store, &namespace, &name).await {
                            on_change(change);
                        }
                    }
                }
                Fed::Lost => {
                    on_error(format!("a {} came with a version that is no number: listing again", V::KIND));
                    break;
                }
            }
        }
        failures.add().await;
    }
}

/// The next event; while a list is under way it must come in time.
async fn next<T>(
    events: &mut (impl Stream<Item = T> + Unpin),
    is_listing: bool,
) -> Result<Option<T>, Elapsed> {
    let has_deadline = is_listing && !flaw::is(Flaw::ListWithoutDeadline);
    if has_deadline { timeout(LONGEST_PAGE, events.next()).await } else { Ok(events.next().await) }
}

async fn look_again<V: View>(
    cluster: &Cluster,
    store: &Store<V>,
    namespace: &str,
    name: &str,
) -> Option<Change> {
    match cluster.get::<Row<V>>(&Path::of::<V>(namespace, name)).await {
        Ok(row) => store.put(row),
        Err(CallError::NotFound(_)) => store.forget(namespace, name, None),
        // It stays as it was written; a write on it carries its version, so that no harm comes of it.
        Err(_) => None,
    }
}

fn is_not_served(error: &Error) -> bool {
    match error {
        Error::InitialListFailed(kube::Error::Api(status))
        | Error::WatchStartFailed(kube::Error::Api(status)) => status.code == 404,
        _ => false,
    }
}

fn is_expired(error: &Error) -> bool {
    match error {
        Error::WatchError(status) => status.code == 410,
        Error::WatchStartFailed(kube::Error::Api(status)) => status.code == 410,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::kube::scripted;
    use crate::adapters::kube::views::ServiceView;
    use serde_json::json;

    /// Keeps a store for a while of paused time; gives what went wrong meanwhile.
    async fn kept(cluster: Cluster, lasts: Duration) -> Vec<String> {
        let mut words = Vec::new();
        let store = Arc::new(Store::<ServiceView>::default());
        let keeping = keep(cluster, Scope::default(), store, |_| {}, |word| words.push(word));
        assert!(timeout(lasts, keeping).await.is_err(), "it goes on for ever");
        words
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_fails_is_asked_less_and_less_often() {
        let (cluster, script) = scripted::cluster(Duration::from_secs(1));
        (0..1000).for_each(|_| script.refuse(500, "InternalError"));
        let words = kept(cluster, Duration::from_secs(60)).await;
        // 50 ms doubled up to 5 s, of each pause a half to the whole: 6 + 54 s / 2.5 s at most
        let asked = script.lines().len();
        assert!((12..=30).contains(&asked), "{asked} lists within a minute");
        assert_eq!(words.len(), asked);
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_that_fails_on_its_second_page_is_no_success() {
        let (cluster, script) = scripted::cluster(Duration::from_secs(1));
        let meta = json!({"name": "api", "namespace": "shop", "uid": "u", "resourceVersion": "1"});
        for _ in 0..500 {
            script.say(200, json!({"metadata": {"resourceVersion": "1", "continue": "more"}, "items": [{"metadata": meta}]}));
            script.refuse(500, "InternalError");
        }
        kept(cluster, Duration::from_secs(60)).await;
        let asked = script.lines().len();
        assert!((24..=60).contains(&asked), "{asked} pages within a minute");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_far_apart_are_no_row() {
        let mut failures = Failures::default();
        for _ in 0..20 {
            let begun = Instant::now();
            failures.add().await;
            assert!(begun.elapsed() <= Duration::from_millis(51), "{:?}", begun.elapsed());
            tokio::time::sleep(FORGOTTEN + Duration::from_secs(1)).await;
        }
        // and close together they are
        let begun = Instant::now();
        for _ in 0..20 {
            failures.add().await;
        }
        assert!(begun.elapsed() > 10 * LONGEST_PAUSE / 2, "{:?}", begun.elapsed());
    }
}
