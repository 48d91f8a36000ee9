use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde_json::json;

use super::*;
use crate::adapters::kube::lease::{Claim, Standing};
use crate::adapters::kube::scripted::recorded;
use crate::controller::stage::{EPOCH, Stage, key, put, rest, rollout};
use crate::engine::world::{Answer, Answered, Look};
use crate::engine::{Inquiry, Write};

/// Stores the word of the plan once, then labels the Deployment once, then rests.
fn intent_then_write(world: &World, _: Timestamp) -> Plan {
    let mut plan = rest(world);
    let deployment = world.components["api"].deployment.found().unwrap();
    if deployment.rollout_label.is_none() {
        plan.persist = world.rollout.status.message.is_empty();
        plan.status.message = "labelling".to_owned();
        plan.writes.push(Write::LabelDeployment {
            deployment: deployment.at.clone(),
            rollout: Some("shop".to_owned()),
        });
    }
    plan
}

fn unlabelled() -> serde_json::Value {
    let mut deployment = recorded("deployment");
    deployment["metadata"]["labels"] = json!({});
    deployment
}

fn relabelled(version: &str) -> serde_json::Value {
    let mut deployment = recorded("deployment");
    deployment["metadata"]["resourceVersion"] = version.into();
    deployment
}

/// Lets the controller see the Deployment without our label.
fn show_deployment(stage: &Stage) {
    let row = serde_json::from_value::<crate::adapters::kube::row::Row<_>>(unlabelled()).unwrap();
    let view: crate::adapters::kube::views::DeploymentView = row.view.unwrap();
    let desk = stage.context.desks.of(&key());
    let mut desk = lock(&desk);
    desk.uid = "rollout-uid".to_owned();
    desk.looks.entry("api".to_owned()).or_default().deployment.set("shop-api", Look::Found(view.seen));
}

fn answer(stage: &Stage) {
    let desk = stage.context.desks.of(&key());
    let mut desk = lock(&desk);
    desk.uid = "rollout-uid".to_owned();
    desk.inbox.push(Answered {
        component: "api".to_owned(),
        gate: "errors".to_owned(),
        key: "k".to_owned(),
        at: Timestamp::UNIX_EPOCH,
        answer: Answer::Empty,
    });
}

#[tokio::test]
async fn the_intent_is_stored_before_anything_is_done_about_it() {
    let stage = Stage::with(intent_then_write);
    show_deployment(&stage);
    stage.script.say(200, rollout("11", json!({"message": "labelling"})));
    stage.script.say(200, relabelled("20000"));
    assert_eq!(reconcile(&stage.context, &key()).await, Ended::Settled(None));
    assert_eq!(
        stage.script.lines(),
        [
            "PATCH /apis/palier.dev/v1alpha1/namespaces/shop/rollouts/shop/status?fieldManager=palier",
            "PATCH /apis/apps/v1/namespaces/shop/deployments/shop-api?fieldManager=palier",
        ]
    );
    assert!(
        stage.context.stores.deployments.get("shop", "shop-api").is_some(),
        "our own write is read at once"
    );
}

#[tokio::test]
async fn without_a_stored_intent_nothing_is_done() {
    let stage = Stage::with(intent_then_write);
    show_deployment(&stage);
    answer(&stage);
    stage.script.refuse(409, "Conflict");
    stage.script.say(200, rollout("12", json!({"message": "by somebody else"})));
    assert_eq!(reconcile(&stage.context, &key()).await, Ended::Failed);
    let lines = stage.script.lines();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1], "GET /apis/palier.dev/v1alpha1/namespaces/shop/rollouts/shop");
    let message = stage.context.stores.rollouts.with("shop", "shop", |view| view.seen.status.message.clone());
    assert_eq!(message.as_deref(), Some("by somebody else"));
    assert_eq!(
        lock(&stage.context.desks.of(&key())).inbox.len(),
        1,
        "the answer waits for the next decision"
    );
}

#[tokio::test]
async fn a_lost_answer_is_no_failure_of_the_write() {
    let stage = Stage::with(intent_then_write);
    show_deployment(&stage);
    stage.script.say(200, rollout("11", json!({"message": "labelling"})));
    // No answer to the patch: it times out, and then is seen to be done.
    let script = stage.script.clone();
    let context = stage.context.clone();
    let work = tokio::spawn(async move { reconcile(&context, &key()).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    script.say(200, relabelled("20000"));
    assert_eq!(work.await.unwrap(), Ended::Failed);
    assert_eq!(script.lines().last().unwrap(), "GET /apis/apps/v1/namespaces/shop/deployments/shop-api");
    assert_eq!(reconcile(&stage.context, &key()).await, Ended::Settled(None));
    assert!(script.lines().is_empty(), "nothing is done twice");
}

fn condition(at: Timestamp) -> Condition {
    Condition {
        type_: "Ready".to_owned(),
        status: "True".to_owned(),
        reason: "Test".to_owned(),
        message: String::new(),
        observed_generation: None,
        last_transition_time: Time(at),
    }
}

/// What the API server holds once it has stored the word on so many answers.
fn stored_answers(version: &str, answers: i64) -> serde_json::Value {
    // Times of conditions are kept to the second.
    let condition = condition(Timestamp::from_second(1_700_000_000).unwrap());
    rollout(version, json!({"epoch": answers, "conditions": [condition]}))
}

/// Stores how many answers it was given, whenever there are some, and when.
fn store_answers(world: &World, now: Timestamp) -> Plan {
    let mut plan = count_answers(world, now);
    if !world.answers.is_empty() {
        plan.status.conditions = vec![condition(Timestamp::from_millisecond(1_700_000_000_123).unwrap())];
    }
    plan.persist = !world.answers.is_empty();
    plan
}

#[tokio::test]
async fn a_status_that_is_stored_in_spite_of_an_error_is_not_decided_again() {
    let stage = Stage::with(store_answers);
    answer(&stage);
    answer(&stage);
    // Delivered twice: stored, and refused.
    stage.script.refuse(409, "Conflict");
    stage.script.say(200, stored_answers("11", 2));
    assert_eq!(reconcile(&stage.context, &key()).await, Ended::Settled(None));
    assert_eq!(stage.script.lines().len(), 2, "one write and one look");
    assert!(lock(&stage.context.desks.of(&key())).inbox.is_empty());
}

#[tokio::test]
async fn a_status_that_a_server_in_trouble_stored_is_not_decided_again() {
    let stage = Stage::with(store_answers);
    answer(&stage);
    answer(&stage);
    stage.script.refuse(504, "Timeout");
    assert_eq!(reconcile(&stage.context, &key()).await, Ended::Failed);
    // A third answer comes before the next try, which finds out.
    let mut third = lock(&stage.context.desks.of(&key())).inbox[0].clone();
    third.at = Timestamp::from_second(9).unwrap();
    lock(&stage.context.desks.of(&key())).inbox.push(third);
    stage.script.refuse(409, "Conflict");
    stage.script.say(200, stored_answers("11", 2));
    assert_eq!(reconcile(&stage.context, &key()).await, Ended::Failed);
    stage.script.say(200, stored_answers("12", 3));
    assert_eq!(reconcile(&stage.context, &key()).await, Ended::Settled(None));
    let sent = stage.script.asked();
    assert_eq!(sent.last().unwrap().body[2]["value"]["epoch"], 3, "two answers and the third: {sent:?}");
}

#[tokio::test]
async fn answers_of_a_status_that_turns_up_later_are_not_judged_twice() {
    let stage = Stage::with(store_answers);
    answer(&stage);
    stage.script.refuse(409, "Conflict");
    // Nobody can say what became of it.
    stage.script.refuse(503, "ServiceUnavailable");
    assert_eq!(reconcile(&stage.context, &key()).await, Ended::Failed);
    assert_eq!(lock(&stage.context.desks.of(&key())).inbox.len(), 1);
    // A watch brings it, and another answer has come meanwhile.
    put(&stage.context.stores.rollouts, stored_answers("11", 1));
    let late = Answered {
        at: Timestamp::from_second(9).unwrap(),
        ..lock(&stage.context.desks.of(&key())).inbox[0].clone()
    };
    lock(&stage.context.desks.of(&key())).inbox.push(late.clone());
    let seen = observe(&stage.context, &key(), EPOCH).unwrap();
    assert_eq!(seen.world.answers, [late]);
}

#[tokio::test]
async fn who_does_not_lead_writes_nothing() {
    let stage = Stage::with(intent_then_write);
    show_deployment(&stage);
    for standing in [
        Standing::Waiting,
        Standing::Lost,
        // Shorter than a write may take.
        Standing::Leading(Claim::lasting(EPOCH, Duration::from_millis(100), Timestamp::now())),
    ] {
        stage.standing.send_replace(standing);
        assert_eq!(reconcile(&stage.context, &key()).await, Ended::Failed);
    }
    assert!(stage.script.lines().is_empty());
}

/// Counts the answers it is given.
fn count_answers(world: &World, _: Timestamp) -> Plan {
    let mut plan = rest(world);
    plan.status.epoch = world.rollout.status.epoch + i64::try_from(world.answers.len()).unwrap();
    plan
}

#[tokio::test]
async fn an_answer_is_given_to_one_decision_and_a_status_in_memory_lasts_until_another_is_stored() {
    let stage = Stage::with(count_answers);
    answer(&stage);
    answer(&stage);
    for _ in 0..3 {
        assert_eq!(reconcile(&stage.context, &key()).await, Ended::Settled(None));
    }
    let kept = || lock(&stage.context.desks.of(&key())).working.as_ref().map(|working| working.status.epoch);
    assert_eq!(kept(), Some(2));
    put(&stage.context.stores.rollouts, rollout("11", json!({"epoch": 40})));
    assert_eq!(reconcile(&stage.context, &key()).await, Ended::Settled(None));
    assert_eq!(kept(), None);
    assert!(stage.script.lines().is_empty());
}

/// Writes without storing anything, and says in memory that it did.
fn write_only(world: &World, _: Timestamp) -> Plan {
    let mut plan = rest(world);
    plan.status.message = "done".to_owned();
    let deployment = world.components["api"].deployment.found().unwrap();
    if deployment.rollout_label.is_none() {
        plan.writes.push(Write::PauseDeployment { deployment: deployment.at.clone() });
    }
    plan
}

#[tokio::test]
async fn a_write_that_failed_is_not_believed() {
    let stage = Stage::with(write_only);
    show_deployment(&stage);
    stage.script.refuse(403, "Forbidden");
    assert_eq!(reconcile(&stage.context, &key()).await, Ended::Failed);
    let desk = stage.context.desks.of(&key());
    assert!(lock(&desk).working.is_none());
    assert!(lock(&desk).refusal.contains("the verb 'patch' on deployments.apps in shop"));
}

/// Asks for the Deployment until it is seen.
fn ask_for_deployment(world: &World, _: Timestamp) -> Plan {
    let mut plan = rest(world);
    if world.components["api"].deployment == Look::Unknown {
        plan.look.push(Inquiry::Deployment("api".to_owned()));
    }
    plan
}

#[tokio::test]
async fn what_is_not_watched_is_looked_at_once() {
    for (status, answer) in
        [(200, unlabelled()), (404, json!({"kind": "Status", "code": 404, "reason": "NotFound"}))]
    {
        let stage = Stage::with(ask_for_deployment);
        stage.script.say(status, answer);
        for _ in 0..3 {
            assert_eq!(reconcile(&stage.context, &key()).await, Ended::Settled(None));
        }
        assert_eq!(stage.script.lines(), ["GET /apis/apps/v1/namespaces/shop/deployments/shop-api"]);
    }
}

/// Never comes to rest.
fn restless(world: &World, _: Timestamp) -> Plan {
    Plan { look: vec![Inquiry::ForeignPod("api".to_owned())], ..rest(world) }
}

#[tokio::test]
async fn two_sides_that_disagree_do_not_spin() {
    let stage = Stage::with(restless);
    assert_eq!(reconcile(&stage.context, &key()).await, Ended::Failed);
}

#[tokio::test]
async fn a_rollout_that_is_gone_leaves_nothing() {
    let stage = Stage::with(|world, _| rest(world));
    assert_eq!(reconcile(&stage.context, &key()).await, Ended::Settled(None));
    stage.context.stores.rollouts.forget("shop", "shop", Some("rollout-uid"));
    assert_eq!(reconcile(&stage.context, &key()).await, Ended::Gone);
    assert!(stage.context.desks.find(&key()).is_none());
}

#[tokio::test]
async fn another_rollout_of_that_name_starts_with_a_clear_desk() {
    let stage = Stage::with(count_answers);
    answer(&stage);
    stage.context.stores.rollouts.forget("shop", "shop", Some("rollout-uid"));
    let mut other = rollout("20", json!(null));
    other["metadata"]["uid"] = "another".into();
    put(&stage.context.stores.rollouts, other);
    assert_eq!(reconcile(&stage.context, &key()).await, Ended::Settled(None));
    assert!(lock(&stage.context.desks.of(&key())).working.is_none(), "the answer was for the former one");
}

/// Looks at the ConfigMap, then sets a key of it, unless the API server refuses one of both.
fn look_then_set(world: &World, _: Timestamp) -> Plan {
    let mut plan = rest(world);
    if world.refusals.contains_key("flags") {
        return plan;
    }
    match world.config_maps.get("flags") {
        None | Some(Look::Unknown) => plan.look.push(Inquiry::ConfigMap("flags".to_owned())),
        Some(Look::Found(seen)) if seen.data["A"] != "off" => plan.writes.push(Write::SetConfigMap {
            config_map: seen.at.clone(),
            is_empty: false,
            changes: vec![("A".to_owned(), Some("off".to_owned()))],
        }),
        Some(_) => {}
    }
    plan
}

fn flags(version: &str, text: &str) -> serde_json::Value {
    let metadata = json!({"name": "flags", "namespace": "shop", "uid": "u", "resourceVersion": version});
    json!({"metadata": metadata, "data": {"A": text}})
}

#[tokio::test]
async fn a_config_map_is_read_once_and_its_write_is_known_at_once() {
    let stage = Stage::with(look_then_set);
    stage.script.say(200, flags("7", "on"));
    stage.script.say(200, flags("8", "off"));
    assert_eq!(reconcile(&stage.context, &key()).await, Ended::Settled(None));
    let object = "/api/v1/namespaces/shop/configmaps/flags";
    assert_eq!(
        stage.script.lines(),
        [format!("GET {object}"), format!("PATCH {object}?fieldManager=palier")]
    );
    assert_eq!(reconcile(&stage.context, &key()).await, Ended::Settled(None));
    assert!(stage.script.lines().is_empty());
}

#[tokio::test]
async fn a_refused_config_map_is_an_answer_and_stops_nothing() {
    for answers in [vec![403], vec![200, 403], vec![200, 422]] {
        let stage = Stage::with(look_then_set);
        for code in &answers {
            match code {
                200 => stage.script.say(200, flags("7", "on")),
                _ => stage.script.refuse(*code, "Forbidden"),
            }
        }
        assert_eq!(reconcile(&stage.context, &key()).await, Ended::Settled(None), "{answers:?}");
        assert_eq!(stage.script.lines().len(), answers.len());
        let words = lock(&stage.context.desks.of(&key())).refusals()["flags"].clone();
        let is_cured = words.starts_with("add flags to the chart's value degradedModes.configMaps: ");
        assert_eq!(is_cured, answers.contains(&403), "{words}");
    }
}
