//! The registry: who may ask, what is shared, what is bounded.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use palier::adapters::prometheus::{Auth, Secret, SourceConfig, Sources};
use palier::engine::{Answer, Ask};

use crate::asked;
use crate::server::{Reply, Server, config, number};

fn all() -> Vec<String> {
    vec!["*".to_owned()]
}

fn reason(answer: Answer) -> String {
    match answer {
        Answer::Failed(reason) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn only_known_sources_answer_and_only_to_their_namespaces() {
    let server = Server::start(|_| Reply::Bytes(number("1"))).await;
    let sources = Sources::new();
    sources.set("default", server.config(10_000), vec!["shop".to_owned(), "bank".to_owned()]).unwrap();
    for namespace in ["shop", "bank"] {
        assert!(matches!(sources.ask("default", namespace, &asked("up")).await, Answer::Sample { .. }));
    }
    assert_eq!(
        reason(sources.ask("default", "sho", &asked("up")).await),
        r#"MetricSource "default" is not for namespace "sho": add it to spec.namespaces there"#
    );
    assert_eq!(
        reason(sources.ask("other", "shop", &asked("up")).await),
        r#"there is no MetricSource "other": create it, or correct prometheus.source"#
    );
    sources.remove("default");
    assert!(
        reason(sources.ask("default", "shop", &asked("up")).await).starts_with("there is no MetricSource")
    );
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn a_source_that_turned_bad_is_not_used_as_it_was() {
    let server = Server::start(|_| Reply::Bytes(number("1"))).await;
    let sources = Sources::new();
    sources.set("default", server.config(10_000), all()).unwrap();
    let bad = SourceConfig { url: "http://169.254.169.254".to_owned(), ..server.config(10_000) };
    let error = sources.set("default", bad, all()).unwrap_err().to_string();
    let said = reason(sources.ask("default", "shop", &asked("up")).await);
    assert!(said.contains(&error) && said.contains("169.254.169.254"), "{said}");
    assert_eq!(server.requests().len(), 0);
}

#[tokio::test]
async fn connections_live_as_long_as_the_configuration() {
    let server = Server::start(|_| Reply::Bytes(number("1"))).await;
    let sources = Sources::new();
    let changed = SourceConfig { auth: Some(Auth::Bearer(Secret::new("t"))), ..server.config(10_000) };
    for (config, namespaces) in [
        (server.config(10_000), all()),
        (server.config(10_000), all()),
        (server.config(10_000), vec!["shop".to_owned()]),
        (changed.clone(), all()),
        (changed, all()),
    ] {
        sources.set("default", config, namespaces).unwrap();
        sources.ask("default", "shop", &asked("up")).await;
    }
    let connections: Vec<usize> = server.requests().iter().map(|request| request.connection).collect();
    assert_eq!(connections, [0, 0, 0, 1, 1]);
}

#[tokio::test]
async fn equal_questions_under_way_share_one_answer() {
    let server = Server::start(|_| Reply::After(Duration::from_millis(300), number("1"))).await;
    let sources = Sources::new();
    sources.set("default", server.config(10_000), all()).unwrap();
    let up = asked("up");
    let answers = join_all((0..50).map(|_| sources.ask("default", "shop", &up))).await;
    assert!(answers.iter().all(|answer| matches!(answer, Answer::Sample { .. })));
    assert_eq!(server.requests().len(), 1);
    // What is answered is asked again.
    sources.ask("default", "shop", &asked("up")).await;
    assert_eq!(server.requests().len(), 2);
    // The namespace is checked even where the answer would be shared.
    sources.set("default", server.config(10_000), vec!["shop".to_owned()]).unwrap();
    let up = asked("up");
    let (shared, refused) =
        tokio::join!(sources.ask("default", "shop", &up), sources.ask("default", "bank", &up));
    assert!(matches!((shared, refused), (Answer::Sample { .. }, Answer::Failed(_))));
}

#[tokio::test]
async fn the_one_who_asked_first_may_leave() {
    let server = Server::start(|_| Reply::After(Duration::from_millis(300), number("1"))).await;
    let sources = Arc::new(Sources::new());
    sources.set("default", server.config(10_000), all()).unwrap();
    let ask = |sources: Arc<Sources>| async move { sources.ask("default", "shop", &asked("up")).await };
    let first = tokio::spawn(ask(sources.clone()));
    tokio::time::sleep(Duration::from_millis(50)).await;
    let second = tokio::spawn(ask(sources.clone()));
    tokio::time::sleep(Duration::from_millis(50)).await;
    first.abort();
    assert!(matches!(second.await.unwrap(), Answer::Sample { .. }));
    assert_eq!(server.requests().len(), 1);
    // All have left: the next one asks anew.
    let third = tokio::spawn(ask(sources.clone()));
    tokio::time::sleep(Duration::from_millis(50)).await;
    third.abort();
    assert!(third.await.unwrap_err().is_cancelled());
    assert!(matches!(sources.ask("default", "shop", &asked("up")).await, Answer::Sample { .. }));
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn a_server_is_asked_sixteen_questions_at_once() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (count, peak) = (now.clone(), most.clone());
    let server = Server::start(move |_| {
        let at_once = count.fetch_add(1, Ordering::SeqCst) + 1;
        peak.fetch_max(at_once, Ordering::SeqCst);
        let count = count.clone();
        tokio::spawn(async move {
            // Ends before the answer is written, so that it never counts one too many.
            tokio::time::sleep(Duration::from_millis(40)).await;
            count.fetch_sub(1, Ordering::SeqCst);
        });
        Reply::After(Duration::from_millis(60), number("1"))
    })
    .await;
    let sources = Sources::new();
    sources.set("default", server.config(20_000), all()).unwrap();
    let queries: Vec<Ask> = (0..100).map(|n| asked(&format!("up + {n}"))).collect();
    let answers = join_all(queries.iter().map(|query| sources.ask("default", "shop", query))).await;
    assert!(answers.iter().all(|answer| matches!(answer, Answer::Sample { .. })));
    assert_eq!(server.requests().len(), 100);
    let most = most.load(Ordering::SeqCst);
    assert!((2..=16).contains(&most), "{most} at once");
}

#[tokio::test]
async fn time_in_the_queue_is_part_of_the_deadline() {
    let server = Server::start(|_| Reply::Hang).await;
    let sources = Sources::new();
    sources.set("default", server.config(2_000), all()).unwrap();
    let queries: Vec<Ask> = (0..40).map(|n| asked(&format!("up + {n}"))).collect();
    let start = Instant::now();
    let answers = join_all(queries.iter().map(|query| sources.ask("default", "shop", query))).await;
    // In turn they would take three times as long.
    assert!(start.elapsed() < Duration::from_millis(2_000 * 2), "{:?}", start.elapsed());
    assert!(answers.into_iter().all(|answer| matches!(answer, Answer::Failed(_))));
}

#[tokio::test]
async fn a_slow_source_does_not_delay_another() {
    let (slow, fast) =
        (Server::start(|_| Reply::Hang).await, Server::start(|_| Reply::Bytes(number("1"))).await);
    let sources = Arc::new(Sources::new());
    sources.set("slow", slow.config(5_000), all()).unwrap();
    sources.set("fast", fast.config(5_000), all()).unwrap();
    let stuck: Vec<_> = (0..40)
        .map(|n| {
            let sources = sources.clone();
            tokio::spawn(async move { sources.ask("slow", "shop", &asked(&format!("up + {n}"))).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let start = Instant::now();
    assert!(matches!(sources.ask("fast", "shop", &asked("up")).await, Answer::Sample { .. }));
    assert!(start.elapsed() < Duration::from_secs(2));
    stuck.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn too_many_questions_are_refused() {
    let server = Server::start(|_| Reply::Hang).await;
    let sources = Sources::new();
    sources.set("default", config(&server.url, 1_500), all()).unwrap();
    let queries: Vec<Ask> = (0..4_100).map(|n| asked(&format!("up + {n}"))).collect();
    let answers = join_all(queries.iter().map(|query| sources.ask("default", "shop", query))).await;
    let refused = answers.into_iter().filter(|a| reason(a.clone()).starts_with("too many questions")).count();
    assert_eq!(refused, 4);
}
