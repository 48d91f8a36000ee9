//! Pods and endpoints.

use jiff::SignedDuration;
use serde_json::json;

use super::super::fields::{is_ready, name, number, text};
use super::super::{Settings, given, ready_behind};
use super::{NS, Play};
use crate::api::Span;
use crate::apiserver::{Key, Kind};

fn waiting(pod: &serde_json::Value) -> &str {
    text(pod, "/status/containerStatuses/0/state/waiting/reason")
}

#[test]
fn pods_take_their_time() {
    let settings = Settings { pod_start: Span::seconds(3), pod_end: Span::seconds(5), ..Settings::default() };
    let mut play = Play::new(settings);
    play.workload("api", "app:v1", 2);
    play.wait(2);
    assert_eq!(ready_behind(&play.store, NS, "api").len(), 0);
    play.wait(1);
    assert_eq!(ready_behind(&play.store, NS, "api").len(), 2);
    play.scale("api", 1);
    assert_eq!((play.all(Kind::Pod).len(), ready_behind(&play.store, NS, "api").len()), (2, 1));
    let slice = play.all(Kind::EndpointSlice)[0].clone();
    let ending =
        slice["endpoints"].as_array().unwrap().iter().find(|it| it["conditions"]["terminating"] == true);
    assert_eq!(ending.unwrap()["conditions"], json!({"ready": false, "serving": true, "terminating": true}));
    play.wait(5);
    assert_eq!(play.all(Kind::Pod).len(), 1);
}

#[test]
fn what_crashes_comes_back_later_each_time() {
    let mut play = Play::new(Settings::default());
    play.workload("api", "app:v1-oom30", 1);
    let pod = |play: &Play| play.pods("app:v1-oom30")[0].clone();
    assert!(is_ready(&pod(&play)));
    play.wait(30);
    let crashed = pod(&play);
    assert_eq!((is_ready(&crashed), waiting(&crashed)), (false, "CrashLoopBackOff"));
    assert_eq!(text(&crashed, "/status/containerStatuses/0/lastState/terminated/reason"), "OOMKilled");
    play.wait(10);
    assert!(is_ready(&pod(&play)));
    play.wait(30 + 19);
    assert!(!is_ready(&pod(&play)));
    play.wait(1);
    assert!(is_ready(&pod(&play)));
    assert_eq!(number(&pod(&play), "/status/containerStatuses/0/restartCount"), Some(2));
}

#[test]
fn tags_say_what_becomes_of_pods() {
    let mut play = Play::new(Settings::default());
    play.workload("never", "app:v1-neverready", 1);
    play.workload("late", "app:v1-late7", 1);
    play.workload("no", "app:v1-nopull", 1);
    play.wait(6);
    let pod = |play: &Play, image: &str| play.pods(image)[0].clone();
    assert_eq!(waiting(&pod(&play, "app:v1-nopull")), "ImagePullBackOff");
    assert!(!is_ready(&pod(&play, "app:v1-late7")));
    play.wait(1);
    assert!(is_ready(&pod(&play, "app:v1-late7")));
    play.wait(10_000);
    let never = pod(&play, "app:v1-neverready");
    assert_eq!((text(&never, "/status/phase"), is_ready(&never)), ("Running", false));
}

#[test]
fn a_lost_node_takes_its_pods_with_it() {
    let mut play = Play::new(Settings { pods_per_node: 2, ..Settings::default() });
    play.workload("api", "app:v1", 6);
    assert_eq!(play.behind("api").len(), 6);
    play.nature.lose_node(&mut play.store, play.at, "node-1", false).unwrap();
    play.settle();
    assert_eq!((play.behind("api").len(), play.all(Kind::Pod).len()), (4, 6));
    play.nature.lose_node(&mut play.store, play.at, "node-1", true).unwrap();
    play.wait(1);
    let unplaced =
        |play: &Play| play.pods("app:v1").iter().filter(|it| text(it, "/spec/nodeName").is_empty()).count();
    assert_eq!((play.all(Kind::Pod).len(), unplaced(&play)), (6, 2), "there is no room for two");
    play.nature.return_node("node-1");
    play.wait(1);
    assert_eq!((play.behind("api").len(), unplaced(&play)), (6, 0));
}

#[test]
fn room_that_becomes_free_is_used() {
    let settings = Settings { nodes: vec!["one".to_owned()], pods_per_node: 3, ..Settings::default() };
    let mut play = Play::new(settings);
    play.workload("api", "app:v1", 2);
    play.workload("web", "app:w1", 2);
    assert_eq!(play.behind("web").len(), 1);
    play.scale("api", 1);
    assert_eq!(play.behind("web").len(), 2);
}

#[test]
fn crashes_and_evictions_are_survived() {
    let mut play = Play::new(Settings::default());
    play.workload("api", "app:v1", 3);
    assert_eq!(play.nature.crash(&play.store, play.at, "app:v1"), 3);
    play.settle();
    assert_eq!(play.behind("api").len(), 0);
    play.wait(10);
    assert_eq!(play.behind("api").len(), 3);
    let pod = Key::new(Kind::Pod, NS, name(&play.pods("app:v1")[0]));
    play.nature.evict(&mut play.store, play.at, &pod).unwrap();
    play.wait(1);
    assert_eq!(play.behind("api").len(), 3);
    play.nature.resize(&mut play.store, play.at, &Key::new(Kind::Deployment, NS, "api"), 5).unwrap();
    play.settle();
    assert_eq!(play.behind("api").len(), 5);
}

#[test]
fn a_clock_that_goes_back_delays_nothing() {
    let mut play = Play::new(Settings { pod_start: Span::seconds(10), ..Settings::default() });
    play.workload("api", "app:v1", 1);
    play.wait(5);
    play.at -= SignedDuration::from_hours(1);
    play.wait(4);
    assert_eq!(play.behind("api").len(), 0);
    play.wait(1);
    assert_eq!(play.behind("api").len(), 1);
}

#[test]
fn a_slice_has_the_labels_of_its_service() {
    let mut play = Play::new(Settings::default());
    play.workload("api", "app:v1-neverready", 1);
    play.edit(Kind::Service, "api", |it| it["metadata"]["labels"]["palier.dev/rollout"] = json!("shop"));
    let slice = play.all(Kind::EndpointSlice)[0].clone();
    let labels = &slice["metadata"]["labels"];
    assert_eq!(
        (&labels["palier.dev/rollout"], &labels["kubernetes.io/service-name"]),
        (&json!("shop"), &json!("api"))
    );
    assert_eq!(slice["ports"], json!([{"name": "http", "port": 8080, "protocol": "TCP"}]));
    assert_eq!(play.behind("api").len(), 0);
    play.edit(Kind::Service, "api", |it| it["spec"]["publishNotReadyAddresses"] = json!(true));
    assert_eq!(play.behind("api").len(), 1);
    play.delete(Kind::Service, "api", None);
    assert_eq!(play.all(Kind::EndpointSlice).len(), 0);
}

#[test]
fn a_service_keeps_its_address() {
    let mut play = Play::new(Settings::default());
    play.create(Kind::Service, given::service("a"));
    play.create(Kind::Service, given::service("b"));
    let address =
        |play: &Play, name: &str| text(&play.get(Kind::Service, name), "/spec/clusterIP").to_owned();
    assert!(address(&play, "a").starts_with("198.19."));
    assert_ne!(address(&play, "a"), address(&play, "b"));
    let before = address(&play, "a");
    play.edit(Kind::Service, "a", |it| it["spec"] = given::service("a")["spec"].clone());
    assert_eq!(address(&play, "a"), before);
}
