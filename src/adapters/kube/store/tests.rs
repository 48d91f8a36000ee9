use serde_json::{Value, json};

use super::*;
use crate::adapters::kube::views::ServiceView;

/// The same as a watch tells it.
fn told(name: &str, uid: &str, version: &str, label: Option<&str>) -> Arrival<ServiceView> {
    serde_json::from_value(object(name, uid, version, label)).unwrap()
}

fn service(name: &str, uid: &str, version: &str, label: Option<&str>) -> Row<ServiceView> {
    serde_json::from_value(object(name, uid, version, label)).unwrap()
}

fn object(name: &str, uid: &str, version: &str, label: Option<&str>) -> Value {
    let labels: Value = label.map_or(json!({}), |label| json!({"palier.dev/rollout": label}));
    json!({
        "metadata": {"name": name, "namespace": "shop", "uid": uid, "resourceVersion": version, "labels": labels},
        "spec": {"selector": {"app": "shop", "version": version}},
    })
}

fn version(store: &Store<ServiceView>, name: &str) -> Option<String> {
    store.with("shop", name, |view| view.seen.at.resource_version.clone())
}

#[test]
fn an_older_event_does_not_undo_our_own_write() {
    let store = Store::default();
    store.feed(Event::Apply(told("api", "u", "10", Some("shop"))));
    assert!(store.put(service("api", "u", "12", Some("shop"))).is_some());
    assert_eq!(store.feed(Event::Apply(told("api", "u", "11", Some("shop")))), Fed::Same);
    assert_eq!(store.feed(Event::Apply(told("api", "u", "12", Some("shop")))), Fed::Same);
    assert_eq!(version(&store, "api").as_deref(), Some("12"));
}

#[test]
fn a_late_answer_does_not_bring_back_what_is_gone() {
    let store = Store::default();
    store.feed(Event::Apply(told("api", "u", "10", Some("shop"))));
    store.feed(Event::Delete(told("api", "u", "20", Some("shop"))));
    assert!(store.put(service("api", "u", "15", Some("shop"))).is_none());
    assert_eq!(version(&store, "api"), None);
    // Another object of that name is another object.
    assert!(store.put(service("api", "v", "21", Some("shop"))).is_some());
}

#[test]
fn what_the_server_deleted_at_our_word_stays_gone_whatever_events_come() {
    let store = Store::default();
    store.feed(Event::Apply(told("api", "u", "10", Some("shop"))));
    assert!(store.forget("shop", "api", Some("other")).is_none());
    assert!(store.forget("shop", "api", Some("u")).is_some());
    assert_eq!(store.feed(Event::Apply(told("api", "u", "99", Some("shop")))), Fed::Same);
    assert_eq!(version(&store, "api"), None);
}

#[test]
fn an_object_that_lost_the_label_leaves_and_may_come_back() {
    let store = Store::default();
    store.feed(Event::Apply(told("api", "u", "10", Some("shop"))));
    let change = store.put(service("api", "u", "11", None)).unwrap();
    assert!(change.rollouts.contains("shop"));
    assert_eq!(version(&store, "api"), None);
    assert_eq!(store.feed(Event::Apply(told("api", "u", "10", Some("shop")))), Fed::Same);
    // The watch tells the same with a deletion; the label is back by then.
    store.put(service("api", "u", "12", Some("shop")));
    assert_eq!(store.feed(Event::Delete(told("api", "u", "11", Some("shop")))), Fed::Same);
    assert_eq!(version(&store, "api").as_deref(), Some("12"));
}

#[test]
fn a_list_drops_what_is_gone_and_doubts_what_was_written_meanwhile() {
    let store = Store::default();
    store.feed(Event::Apply(told("old", "a", "1", Some("shop"))));
    store.feed(Event::Apply(told("kept", "b", "2", Some("shop"))));
    store.feed(Event::Init);
    store.feed(Event::InitApply(told("kept", "b", "2", Some("shop"))));
    store.put(service("new", "c", "9", Some("shop")));
    let Fed::Listed { gone, doubtful } = store.feed(Event::InitDone) else { panic!("not listed") };
    assert_eq!(gone.iter().map(|change| change.name.as_str()).collect::<Vec<_>>(), ["old"]);
    assert_eq!(doubtful, [("shop".to_owned(), "new".to_owned())]);
    assert_eq!(store.len(), 2);
    assert!(store.is_synced());
}

#[test]
fn a_list_does_not_undo_our_own_write() {
    let store = Store::default();
    store.feed(Event::Init);
    store.put(service("api", "u", "12", Some("shop")));
    store.feed(Event::InitApply(told("api", "u", "10", Some("shop"))));
    store.feed(Event::InitDone);
    assert_eq!(version(&store, "api").as_deref(), Some("12"));
}

#[test]
fn versions_that_are_no_numbers_are_never_newer() {
    let store = Store::default();
    assert_eq!(store.feed(Event::Apply(told("api", "u", "x", Some("shop")))), Fed::Lost);
    store.feed(Event::Apply(told("api", "u", "10", Some("shop"))));
    assert_eq!(store.feed(Event::Apply(told("api", "u", "x", Some("shop")))), Fed::Lost);
    assert_eq!(version(&store, "api"), None, "nothing may be concluded from the stored state either");
}

#[test]
fn members_follow_the_label() {
    let store = Store::default();
    store.feed(Event::Apply(told("api", "u", "10", Some("shop"))));
    let Fed::Changed(change) = store.feed(Event::Apply(told("api", "u", "11", Some("mall")))) else {
        panic!("not changed")
    };
    assert_eq!(change.rollouts.into_iter().collect::<Vec<_>>(), ["mall", "shop"]);
    assert!(store.of_rollout("shop", "shop").is_empty());
    assert_eq!(store.of_rollout("shop", "mall").len(), 1);
}

#[test]
fn a_bad_object_is_reported_and_not_kept() {
    let store: Store<crate::adapters::kube::views::DeploymentView> = Store::default();
    let row = serde_json::from_value(json!({
        "metadata": {"name": "api", "namespace": "shop", "uid": "u", "resourceVersion": "1"}, "spec": {},
    }));
    let Fed::Unreadable(words) = store.feed(Event::Apply(row.unwrap())) else { panic!("taken") };
    assert!(words.contains("Deployment shop/api") && words.contains("spec.template"), "{words}");
    assert!(store.is_empty());
}

#[test]
fn tombstones_are_bounded() {
    let store: Store<ServiceView> = Store::default();
    for uid in 0..TOMBSTONES + 10 {
        store.feed(Event::Delete(told("api", &uid.to_string(), "5", Some("shop"))));
    }
    assert_eq!(store.lock().tombstones.len(), TOMBSTONES);
}
