//! Namespaces that ask too much, and servers that answer too much: nobody else notices.

use std::sync::Arc;
use std::time::Duration;

use palier::adapters::prometheus::{PrometheusClient, Sources};
use palier::engine::Answer;
use tokio::task::JoinSet;

use crate::asked;
use crate::server::{Reply, Request, Server, number};

/// Gates of the namespace that asks too much.
const FLOOD: usize = 5_000;
/// The largest answer that a client may be made to take before it gives up: what it may read, and what lies in buffers of the
/// system on the way.
const TAKEN_MAX: usize = 32 << 20;

fn is_flood(request: &Request) -> bool {
    request.param("query").is_some_and(|query| query.starts_with("flood"))
}

/// Five thousand questions of one namespace, under way until dropped.
async fn flood(sources: &Arc<Sources>, server: &Server) -> JoinSet<Answer> {
    let mut crowd = JoinSet::new();
    for number in 0..FLOOD {
        let sources = sources.clone();
        let question = asked(&format!("flood + {number}"));
        crowd.spawn(async move { sources.ask("default", "flood", &question).await });
    }
    // Those that are asked at all have arrived.
    while server.requests().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    crowd
}

fn sources(server: &Server, timeout_millis: i64) -> Arc<Sources> {
    let sources = Arc::new(Sources::new());
    sources.set("default", server.config(timeout_millis), vec!["*".to_owned()]).unwrap();
    sources
}

#[tokio::test]
async fn five_thousand_gates_delay_no_other_namespace() {
    let server = Server::start(|request| {
        let wait = Duration::from_millis(if is_flood(request) { 200 } else { 0 });
        Reply::After(wait, number("1"))
    })
    .await;
    let sources = sources(&server, 30_000);
    let crowd = flood(&sources, &server).await;
    for round in 0..5 {
        let answer = sources.ask("default", "shop", &asked("up")).await;
        assert!(matches!(answer, Answer::Sample { .. }), "{answer:?}");
        let asked = server.requests();
        let of_the_flood = asked.iter().filter(|request| is_flood(request)).count();
        println!("answer {} came after {of_the_flood} of {FLOOD}", round + 1);
        assert!(of_the_flood < FLOOD / 10, "{of_the_flood} of the flood came first");
    }
    drop(crowd);
}

#[tokio::test]
async fn questions_without_an_answer_hold_no_other_namespace_up() {
    let server =
        Server::start(|request| if is_flood(request) { Reply::Hang } else { Reply::Bytes(number("1")) })
            .await;
    let sources = sources(&server, 30_000);
    let crowd = flood(&sources, &server).await;
    // Not one of the flood is ever answered: places that it cannot take are all there is.
    let answer = sources.ask("default", "shop", &asked("up")).await;
    assert!(matches!(answer, Answer::Sample { .. }), "{answer:?}");
    assert!(server.requests().iter().filter(|request| is_flood(request)).count() <= 12);
    drop(crowd);
}

#[tokio::test]
async fn a_full_line_has_room_for_others() {
    let server = Server::start(|_| Reply::Hang).await;
    let sources = sources(&server, 3_000);
    let mut crowd = flood(&sources, &server).await;
    let mut others = JoinSet::new();
    for number in 0..64 {
        let sources = sources.clone();
        others.spawn(async move { sources.ask("default", "shop", &asked(&format!("up + {number}"))).await });
    }
    let refusals = async |set: &mut JoinSet<Answer>| {
        let mut refused = 0;
        while let Some(answer) = set.join_next().await {
            let said = format!("{:?}", answer.unwrap());
            refused += usize::from(said.contains("too many questions"));
        }
        refused
    };
    assert_eq!(refusals(&mut others).await, 0);
    assert_eq!(refusals(&mut crowd).await, FLOOD - 4_096);
}

/// The same question of another namespace is another question: the first one may wait far back in its line.
#[tokio::test]
async fn nobody_waits_in_the_line_of_another_namespace() {
    let server =
        Server::start(|request| if is_flood(request) { Reply::Hang } else { Reply::Bytes(number("1")) })
            .await;
    let sources = sources(&server, 20_000);
    let mut crowd = flood(&sources, &server).await;
    let behind = sources.clone();
    crowd.spawn(async move { behind.ask("default", "flood", &asked("up")).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let answer = sources.ask("default", "shop", &asked("up")).await;
    assert!(matches!(answer, Answer::Sample { .. }), "{answer:?}");
    drop(crowd);
}

#[tokio::test]
async fn a_gigabyte_is_not_taken() {
    let gigabyte = 1usize << 30;
    for (head, words) in [
        (format!("HTTP/1.1 200 X\r\nContent-Length: {gigabyte}\r\n\r\n"), "larger than"),
        ("HTTP/1.1 200 X\r\nConnection: close\r\n\r\n".to_owned(), "larger than"),
        (format!("HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n{gigabyte:x}\r\n"), "larger than"),
        // Headers, the size of a chunk and what comes after it without an end.
        ("HTTP/1.1 200 X\r\nA: b".to_owned(), "the connection broke"),
        ("HTTP/1.1 200 ".to_owned(), "the connection broke"),
        ("HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n1;".to_owned(), "broke off"),
        ("HTTP/1.1 500 X\r\nConnection: close\r\n\r\n".to_owned(), "HTTP 500"),
    ] {
        let said = head.clone();
        let server = Server::start(move |_| Reply::Flood(said.clone().into_bytes(), gigabyte)).await;
        let client = PrometheusClient::new(server.config(20_000)).unwrap();
        let Answer::Failed(reason) = client.ask(&asked("up")).await else { panic!("{head}") };
        assert!(reason.contains(words), "{head:?}: {reason}");
        assert!(server.flooded() < TAKEN_MAX, "{head:?}: {} bytes were taken", server.flooded());
    }
}

/// A server that answers byte by byte takes one place, until its deadline: the next question is answered meanwhile.
#[tokio::test]
async fn slow_bytes_hold_nobody_up() {
    let server = Server::start(|request| {
        if is_flood(request) {
            Reply::Drip(
                b"HTTP/1.1 200 X\r\nContent-Length: 99999\r\n\r\n{".to_vec(),
                Duration::from_millis(50),
            )
        } else {
            Reply::Bytes(number("1"))
        }
    })
    .await;
    let sources = sources(&server, 30_000);
    let crowd = flood(&sources, &server).await;
    let answer = sources.ask("default", "shop", &asked("up")).await;
    assert!(matches!(answer, Answer::Sample { .. }), "{answer:?}");
    drop(crowd);
}
