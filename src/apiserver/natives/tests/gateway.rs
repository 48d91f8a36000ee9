//! Routes.

use serde_json::{Value, json};

use super::super::fields::condition;
use super::super::{Gateway, Settings, given};
use super::{NS, Play};
use crate::api::Span;
use crate::apiserver::Kind;

/// What the gateway says of the present generation: accepted, resolved.
fn said(play: &Play) -> Option<(bool, bool)> {
    let route = play.get(Kind::HttpRoute, "api");
    let parent = route["status"]["parents"].get(0)?.clone();
    let of = |kind: &str| {
        let word = condition(&parent, kind)?;
        (word["observedGeneration"] == route["metadata"]["generation"]).then(|| word["status"] == "True")
    };
    Some((of("Accepted")?, of("ResolvedRefs")?))
}

fn split(play: &mut Play, stable: u32, canary: u32) {
    let backends = json!([{"name": "api", "port": 80, "weight": stable}, {"name": "api-canary", "port": 80, "weight": canary}]);
    play.edit(Kind::HttpRoute, "api", |it| it["spec"]["rules"][0]["backendRefs"] = backends);
}

fn nobody(play: &Play) -> f64 {
    let shares = play.nature.shares(&play.store, (Kind::HttpRoute, NS, "api"), 0);
    let total: f64 = shares.values().sum();
    assert!((total - 1.0).abs() < 1e-9, "{shares:?}");
    shares.get(&None).copied().unwrap_or(0.0)
}

fn canary_service() -> Value {
    let mut service = given::service("api");
    service["metadata"]["name"] = json!("api-canary");
    service
}

#[test]
fn it_accepts_late_and_acts_later() {
    let gateway =
        Gateway { accepts_after: Span::seconds(2), acts_after: Span::seconds(3), ..Gateway::default() };
    let mut play = Play::new(Settings { gateway, ..Settings::default() });
    play.create(Kind::Service, canary_service());
    play.workload("api", "app:v1", 2);
    play.wait(1);
    assert_eq!(said(&play), None);
    play.wait(1);
    assert_eq!((said(&play), nobody(&play)), (Some((true, true)), 1.0));
    play.wait(3);
    assert_eq!(nobody(&play), 0.0);
    split(&mut play, 50, 50);
    assert_eq!(said(&play), None, "the former word is not about this generation");
    play.wait(4);
    let in_effect = |play: &Play| play.nature.in_effect(Kind::HttpRoute, NS, "api").unwrap()[0].len();
    assert_eq!((said(&play), in_effect(&play)), (Some((true, true)), 1));
    play.wait(1);
    assert_eq!(in_effect(&play), 2);
}

#[test]
fn a_backend_that_is_not_there_is_named() {
    let mut play = Play::new(Settings::default());
    play.workload("api", "app:v1", 2);
    split(&mut play, 75, 25);
    assert_eq!((said(&play), nobody(&play)), (Some((true, false)), 0.25));
    play.create(Kind::Service, canary_service());
    assert_eq!((said(&play), nobody(&play)), (Some((true, true)), 0.0));
    play.delete(Kind::Service, "api-canary", None);
    assert_eq!(said(&play), Some((true, false)));
}

#[test]
fn it_refuses_in_its_own_words_or_says_nothing() {
    let mut play = Play::new(Settings::default());
    play.workload("api", "app:v1", 2);
    play.create(Kind::Service, canary_service());
    play.nature.settings.gateway.refuses = Some("no weights here".to_owned());
    split(&mut play, 50, 50);
    assert_eq!(said(&play), Some((false, true)));
    let route = play.get(Kind::HttpRoute, "api");
    assert_eq!(condition(&route["status"]["parents"][0], "Accepted").unwrap()["message"], "no weights here");
    assert_eq!(play.nature.in_effect(Kind::HttpRoute, NS, "api").unwrap()[0].len(), 1, "as before");
    play.nature.settings.gateway = Gateway { answers: false, ..Gateway::default() };
    split(&mut play, 60, 40);
    assert_eq!(said(&play), None);
    play.nature.settings.gateway.answers = true;
    play.settle();
    assert_eq!(said(&play), Some((true, true)));
}
