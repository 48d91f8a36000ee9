//! Watches in rough weather, and front ends that lag.

use std::sync::atomic::{AtomicU64, Ordering};

use futures::StreamExt;
use futures::stream::BoxStream;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ListParams, PostParams, WatchEvent, WatchParams};
use serde_json::json;

use super::*;
use crate::apiserver::front::Sight;

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

async fn make(maps: &Api<ConfigMap>, name: &str) {
    let map = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
    maps.create(&PostParams::default(), &map).await.unwrap();
}

type Events = BoxStream<'static, kube::Result<WatchEvent<ConfigMap>>>;

async fn watched(connection: &Connection, version: &str) -> Events {
    maps(connection).watch(&WatchParams::default(), version).await.unwrap().boxed()
}

/// What a watch tells within a time, in a word each.
async fn told(events: &mut Events, time: Duration) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        match tokio::time::timeout(time, events.next()).await {
            Err(_) => return all,
            Ok(None) => {
                all.push("end".to_owned());
                return all;
            }
            Ok(Some(Ok(WatchEvent::Added(map)))) => all.push(map.metadata.name.unwrap()),
            Ok(Some(Ok(WatchEvent::Error(status)))) => all.push(status.code.to_string()),
            Ok(Some(Ok(_))) => all.push("other".to_owned()),
            Ok(Some(Err(_))) => all.push("broken".to_owned()),
        }
    }
}

const SHORT: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn streams_break_fall_silent_and_repeat() {
    let cases = [
        (Stream::Pass, vec!["a", "b", "c"]),
        (Stream::Cut { event: 1, within: false }, vec!["a", "broken", "end"]),
        (Stream::Cut { event: 1, within: true }, vec!["a", "broken", "end"]),
        (Stream::Silent { event: 1 }, vec!["a"]),
        (Stream::Twice { event: 1 }, vec!["a", "b", "b", "c"]),
        (Stream::Lose { event: 1 }, vec!["a", "end"]),
        (Stream::Late(SHORT * 2), vec![]),
    ];
    for (stream, wanted) in cases {
        let server = server();
        let connection = server.client("alice");
        connection.set_weather(Some(Box::new(move |sighted| {
            if sighted.act == Act::Watch { stream.into() } else { Fate::default() }
        })));
        let mut events = watched(&connection, "1").await;
        for name in ["a", "b", "c"] {
            make(&maps(&connection), name).await;
        }
        assert_eq!(told(&mut events, SHORT).await, wanted, "{stream:?}");
        if let Stream::Lose { .. } = stream {
            connection.set_weather(None);
            assert_eq!(told(&mut watched(&connection, "2").await, SHORT).await, ["410", "end"]);
            assert_eq!(told(&mut watched(&connection, "2").await, SHORT).await, ["b", "c"]);
        }
        if let Stream::Late(_) = stream {
            assert_eq!(told(&mut events, SHORT * 3).await, ["a", "b", "c"]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_front_end_lags_and_freezes() {
    let server = server();
    let front = Front::new(Sight::Late(Duration::from_secs(20)));
    let caller = Caller::new("alice", server.now());
    let (behind, live) = (server.connect(caller, front.clone(), None), server.client("bob"));
    let mut events = watched(&behind, "1").await;
    make(&maps(&live), "a").await;
    let any = ListParams::default().match_any();
    let count = async |params: &ListParams| maps(&behind).list(params).await.unwrap().items.len();
    assert_eq!((count(&any).await, count(&ListParams::default()).await), (0, 1));
    assert!(told(&mut events, SHORT).await.is_empty());
    assert_eq!(told(&mut events, SHORT * 2).await, ["a"]);
    assert_eq!(count(&any).await, 1);
    front.set(Sight::Frozen(server.read(Store::revision)));
    make(&maps(&live), "b").await;
    tokio::time::sleep(SHORT * 10).await;
    assert_eq!(count(&any).await, 1);
    front.set(Sight::Live);
    assert!(told(&mut events, SHORT).await.contains(&"b".to_owned()));
    assert_eq!(count(&any).await, 2);
}

#[tokio::test(start_paused = true)]
async fn what_a_front_end_has_not_seen_it_waits_for_in_vain() {
    let server = server();
    let frozen = server.connect(Caller::new("a", server.now()), Front::new(Sight::Frozen(1)), None);
    make(&maps(&server.client("bob")), "a").await;
    let params = ListParams::default().at("2").matching(kube::api::VersionMatch::NotOlderThan);
    let Err(kube::Error::Api(status)) = maps(&frozen).list(&params).await else { panic!("answered") };
    assert_eq!((status.code, status.reason.as_str()), (504, "Timeout"));
}

#[tokio::test(start_paused = true)]
async fn only_watches_of_the_kind_are_woken() {
    let server = server();
    let mut changes = server.changes(Kind::Pod);
    make(&maps(&server.client("bob")), "a").await;
    assert!(!changes.has_changed().unwrap());
    let pod = json!({"metadata": {"name": "a"}});
    server
        .write(|store| store.create(&Caller::new("a", Timestamp::UNIX_EPOCH), Kind::Pod, "shop", pod))
        .unwrap();
    assert!(changes.has_changed().unwrap());
    changes.mark_unchanged();
}

#[tokio::test(start_paused = true)]
async fn the_weather_sees_every_request_once_and_in_order() {
    let server = server();
    let connection = server.client("alice");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (writer, highest) = (seen.clone(), AtomicU64::new(0));
    connection.set_weather(Some(Box::new(move |sighted| {
        assert_eq!(highest.fetch_add(1, Ordering::Relaxed) + 1, sighted.number);
        writer.lock().unwrap().push((sighted.act, sighted.write));
        Fate::default()
    })));
    make(&maps(&connection), "a").await;
    maps(&connection).get("a").await.unwrap();
    make(&maps(&connection), "b").await;
    let wanted = [(Act::Create, Some(1)), (Act::Get, None), (Act::Create, Some(2))];
    assert_eq!(*seen.lock().unwrap(), wanted);
    assert_eq!(connection.counts().requests[&(Act::Create, Kind::ConfigMap)], 2);
}
