use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{
    Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions, WatchEvent, WatchParams,
};
use kube::runtime::watcher;
use serde_json::json;

use super::*;

fn server() -> ApiServer {
    let start = tokio::time::Instant::now();
    let clock = move || {
        Timestamp::from_second(1_800_000_000).unwrap()
            + jiff::SignedDuration::try_from(start.elapsed()).unwrap()
    };
    ApiServer::new(Store::new(Vec::new()), Arc::new(clock))
}

fn maps(connection: &Connection) -> Api<ConfigMap> {
    Api::namespaced(connection.client.clone(), "shop")
}

fn map(name: &str, text: &str) -> ConfigMap {
    let map = json!({"metadata": {"name": name, "labels": {"app": "shop"}}, "data": {"text": text}});
    serde_json::from_value(map).unwrap()
}

fn code<T>(answer: kube::Result<T>) -> (u16, String) {
    match answer {
        Ok(_) => (200, String::new()),
        Err(kube::Error::Api(status)) => (status.code, status.reason),
        Err(error) => (0, error.to_string()),
    }
}

async fn within<T>(time: Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(time, work).await.ok()
}

#[tokio::test(start_paused = true)]
async fn objects_live_and_die() {
    let connection = server().client("alice");
    let maps = maps(&connection);
    let made = maps.create(&PostParams::default(), &map("a", "1")).await.unwrap();
    assert_eq!(
        code(maps.create(&PostParams::default(), &map("a", "1")).await),
        (409, "AlreadyExists".to_owned())
    );
    let patch =
        json!({"metadata": {"resourceVersion": made.metadata.resource_version}, "data": {"text": "2"}});
    let patched = maps.patch("a", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    assert_eq!(patched.data.unwrap()["text"], "2");
    let again = maps.patch("a", &PatchParams::default(), &Patch::Merge(&patch)).await;
    assert_eq!(code(again), (409, "Conflict".to_owned()));
    let stale = Preconditions { uid: Some("other".to_owned()), resource_version: None };
    let params = DeleteParams { preconditions: Some(stale), ..DeleteParams::default() };
    assert_eq!(code(maps.delete("a", &params).await).0, 409);
    maps.delete("a", &DeleteParams::default()).await.unwrap();
    assert_eq!(code(maps.get("a").await), (404, "NotFound".to_owned()));
    assert_eq!(connection.counts().writes, 6);
}

#[tokio::test(start_paused = true)]
async fn lists_come_in_pages_of_one_state() {
    let connection = server().client("alice");
    let maps = maps(&connection);
    for name in ["a", "b", "c"] {
        maps.create(&PostParams::default(), &map(name, "1")).await.unwrap();
    }
    let first = maps.list(&ListParams::default().limit(2)).await.unwrap();
    maps.delete("c", &DeleteParams::default()).await.unwrap();
    let token = first.metadata.continue_.clone().unwrap();
    let second = maps.list(&ListParams::default().limit(2).continue_token(&token)).await.unwrap();
    assert_eq!((first.items.len(), second.items.len()), (2, 1));
    assert_eq!(first.metadata.resource_version, second.metadata.resource_version);
    assert_eq!(first.metadata.remaining_item_count, Some(1));
    connection.line.server.write(|store| store.compact(store.revision()));
    let old = maps.list(&ListParams::default().limit(2).continue_token(&token)).await;
    assert_eq!(code(old), (410, "Expired".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_watch_tells_what_starts_and_stops_to_match() {
    let connection = server().client("alice");
    let maps = maps(&connection);
    let params = WatchParams::default().labels("app=shop").timeout(100);
    let mut events = maps.watch(&params, "1").await.unwrap().boxed();
    maps.create(&PostParams::default(), &map("a", "1")).await.unwrap();
    let label = |value: &str| json!({"metadata": {"labels": {"app": value}}});
    for value in ["other", "shop"] {
        maps.patch("a", &PatchParams::default(), &Patch::Merge(label(value))).await.unwrap();
    }
    maps.delete("a", &DeleteParams::default()).await.unwrap();
    let mut told = Vec::new();
    while let Some(event) = events.next().await {
        told.push(match event.unwrap() {
            WatchEvent::Added(_) => "added",
            WatchEvent::Modified(_) => "modified",
            WatchEvent::Deleted(_) => "deleted",
            WatchEvent::Bookmark(_) => "bookmark",
            WatchEvent::Error(_) => "error",
        });
    }
    assert_eq!(told, ["added", "deleted", "added", "deleted", "bookmark", "bookmark"]);
}

#[tokio::test(start_paused = true)]
async fn the_watcher_of_kube_follows() {
    let connection = server().client("alice");
    let maps = maps(&connection);
    maps.create(&PostParams::default(), &map("a", "1")).await.unwrap();
    for strategy in [watcher::Config::default(), watcher::Config::default().streaming_lists()] {
        let mut events = watcher(maps.clone(), strategy).boxed();
        let mut next = async || match events.next().await.unwrap().unwrap() {
            watcher::Event::Init => "init",
            watcher::Event::InitApply(_) => "init apply",
            watcher::Event::InitDone => "init done",
            watcher::Event::Apply(_) => "apply",
            watcher::Event::Delete(_) => "delete",
        };
        let mut told = vec![next().await, next().await, next().await];
        maps.create(&PostParams::default(), &map("b", "1")).await.unwrap();
        told.push(next().await);
        maps.delete("b", &DeleteParams::default()).await.unwrap();
        told.push(next().await);
        assert_eq!(told, ["init", "init apply", "init done", "apply", "delete"]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_old_version_is_answered_with_an_error_event() {
    let server = server();
    let connection = server.client("alice");
    let maps = maps(&connection);
    for name in ["a", "b"] {
        maps.create(&PostParams::default(), &map(name, "1")).await.unwrap();
    }
    server.write(|store| store.compact(3));
    let mut events = maps.watch(&WatchParams::default(), "2").await.unwrap().boxed();
    let Some(Ok(WatchEvent::Error(status))) = events.next().await else { panic!("no error") };
    assert_eq!((status.code, status.reason.as_str()), (410, "Expired"));
    assert!(events.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_unknown_kind_is_not_there() {
    let connection = server().client("alice");
    let request = Request::get("/apis/nobody.dev/v1/things").body(Vec::new()).unwrap();
    assert_eq!(code(connection.client.request::<serde_json::Value>(request).await).0, 404);
    let deployments: Api<Deployment> = Api::all(connection.client.clone());
    assert!(deployments.list(&ListParams::default()).await.unwrap().items.is_empty());
}

fn weather(at_write: u64, deed: Deed) -> Option<Weather> {
    Some(Box::new(
        move |sighted| {
            if sighted.write == Some(at_write) { deed.clone().into() } else { Fate::default() }
        },
    ))
}

#[tokio::test(start_paused = true)]
async fn weather_befalls_one_write() {
    let refusal = || Refusal::new(429, "TooManyRequests", "later").retry_after(7);
    let is_done = [
        (Deed::Refuse(refusal()), (429, false)),
        (Deed::Drop, (0, false)),
        (Deed::LoseAnswer, (0, true)),
        (Deed::Twice, (409, true)),
    ];
    for (deed, (wanted, done)) in is_done {
        let server = server();
        let connection = server.client("alice");
        connection.set_weather(weather(2, deed.clone()));
        let maps = maps(&connection);
        maps.create(&PostParams::default(), &map("a", "1")).await.unwrap();
        let (found, _) = code(maps.create(&PostParams::default(), &map("b", "1")).await);
        assert_eq!((found, maps.get("b").await.is_ok()), (wanted, done), "{deed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_killed_hear_nothing_any_more() {
    for (deed, done) in [(Deed::KillBefore, false), (Deed::KillAfter, true)] {
        let server = server();
        let connection = server.client("alice");
        connection.set_weather(weather(1, deed));
        let (mut killed, maps) = (connection.killed(), maps(&connection));
        let mut events = maps.watch(&WatchParams::default(), "1").await.unwrap().boxed();
        let write =
            within(Duration::from_secs(60), maps.create(&PostParams::default(), &map("a", "1"))).await;
        assert!(write.is_none());
        assert!(*killed.borrow_and_update());
        assert!(within(Duration::from_secs(60), maps.list(&ListParams::default())).await.is_none());
        assert!(within(Duration::from_secs(500), events.next()).await.is_none());
        assert_eq!(server.read(|store| store.get(Kind::ConfigMap, "shop", "a").is_some()), done);
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_request_arrives_though_nobody_waits() {
    let server = server();
    let connection = server.client("alice");
    connection
        .set_weather(Some(Box::new(|_| Fate { request_delay: Duration::from_secs(30), ..Fate::default() })));
    let maps = maps(&connection);
    let gone = within(Duration::from_secs(5), maps.create(&PostParams::default(), &map("a", "1"))).await;
    assert!(gone.is_none());
    assert!(server.read(|store| store.get(Kind::ConfigMap, "shop", "a").is_none()));
    tokio::time::sleep(Duration::from_secs(26)).await;
    assert!(server.read(|store| store.get(Kind::ConfigMap, "shop", "a").is_some()));
}
