use serde_json::json;

use super::*;
use crate::adapters::kube::scripted::recorded;
use crate::adapters::kube::writes::Effect;
use crate::controller::stage::{EPOCH, Stage, key, put, rest, rollout};

fn stage() -> Stage {
    Stage::with(|world, _| rest(world))
}

fn shop_with_traffic() -> serde_json::Value {
    let mut object = rollout("11", json!(null));
    object["spec"]["components"][0]["traffic"] =
        json!({"service": "shop-api", "gatewayAPI": {"httpRoutes": [{"name": "shop"}]}});
    object
}

fn api(stage: &Stage) -> ComponentSeen {
    observe(&stage.context, &key(), EPOCH).unwrap().world.components.remove("api").unwrap()
}

#[tokio::test]
async fn what_was_not_looked_at_is_unknown_and_a_route_that_is_not_there_is_missing() {
    let stage = stage();
    put(&stage.context.stores.rollouts, shop_with_traffic());
    let seen = api(&stage);
    assert_eq!(seen.deployment, Look::Unknown);
    assert_eq!((&seen.service, &seen.canary_service), (&Look::Unknown, &Look::Unknown));
    assert!(!seen.replica_sets_complete);
    assert_eq!(seen.routes, [(RouteKind::Http, "shop".to_owned(), Look::Missing)]);
    put(&stage.context.stores.http_routes, recorded("httproute"));
    assert!(matches!(&api(&stage).routes[0].2, Look::Found(route) if route.backends.len() == 1));
}

#[tokio::test]
async fn endpoints_are_unknown_until_a_slice_carries_the_label_and_each_pod_counts_once() {
    let stage = stage();
    put(&stage.context.stores.rollouts, shop_with_traffic());
    let mut service = recorded("service");
    service["metadata"]["labels"] = json!({"palier.dev/rollout": "shop"});
    put(&stage.context.stores.services, service);
    let ready = || api(&stage).service.found().unwrap().ready.clone();
    assert_eq!(ready(), Look::Unknown);
    for (name, family) in [("one", "IPv4"), ("two", "IPv6")] {
        let mut slice = recorded("endpointslice");
        slice["metadata"]["name"] = name.into();
        slice["metadata"]["labels"]["palier.dev/rollout"] = "shop".into();
        slice["addressType"] = family.into();
        put(&stage.context.stores.slices, slice);
    }
    let pods = BTreeMap::from([("shop-api-77485686c8".to_owned(), 4)]);
    assert_eq!(ready(), Look::Found(pods));
}

#[tokio::test]
async fn the_older_of_two_rollouts_has_the_deployment() {
    let stage = stage();
    let learn = |name: &str| {
        let view = stage.context.stores.rollouts.get("shop", name);
        stage.context.names.learn(&Key::new("shop", name), view.as_deref())
    };
    learn("shop");
    let mut other = rollout("12", json!(null));
    other["metadata"]["name"] = "mall".into();
    other["metadata"]["uid"] = "another".into();
    other["metadata"]["creationTimestamp"] = "2026-11-22T14:00:00Z".into();
    put(&stage.context.stores.rollouts, other);
    assert_eq!(learn("mall"), BTreeSet::from([key()]), "the other one has to look again");
    assert_eq!(api(&stage).claimed_by.as_deref(), Some("mall"));
    let mall = observe(&stage.context, &Key::new("shop", "mall"), EPOCH).unwrap().world;
    assert_eq!(mall.components["api"].claimed_by, None);
    stage.context.stores.rollouts.forget("shop", "mall", Some("another"));
    assert_eq!(learn("mall"), BTreeSet::from([key()]));
    assert_eq!(api(&stage).claimed_by, None);
}

#[tokio::test]
async fn actions_come_oldest_first_and_sources_as_the_namespace_may_use_them() {
    let stage = stage();
    let run = json!({"number": 1, "intent": "Release", "startedAt": "2026-11-22T15:00:00Z"});
    put(&stage.context.stores.rollouts, rollout("11", json!({"run": run})));
    for (name, at, run) in [
        ("b", "2026-11-22T15:00:02Z", 1),
        ("c", "2026-11-22T15:00:01Z", 1),
        ("a", "2026-11-22T15:00:02Z", 1),
        ("void", "2026-11-22T15:00:00Z", 7),
        ("of-an-earlier-rollout", "2020-11-22T15:00:00Z", 1),
    ] {
        let action = json!({
            "metadata": {"name": name, "namespace": "shop", "uid": name, "resourceVersion": "1", "creationTimestamp": at},
            "spec": {"rollout": "shop", "run": run, "action": "Pause"},
        });
        put(&stage.context.stores.actions, action);
    }
    let allow = |namespaces: &[&str]| namespaces.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
    lock(&stage.context.allowed).insert("ours".to_owned(), allow(&["mall", "shop"]));
    lock(&stage.context.allowed).insert("theirs".to_owned(), allow(&["mall"]));
    lock(&stage.context.allowed).insert("all".to_owned(), allow(&["*"]));
    let world = observe(&stage.context, &key(), EPOCH).unwrap().world;
    assert_eq!(world.actions.iter().map(|action| action.uid.as_str()).collect::<Vec<_>>(), ["c", "a", "b"]);
    assert_eq!(world.metric_sources.iter().map(String::as_str).collect::<Vec<_>>(), ["all", "ours"]);
    assert_eq!(world.epoch, EPOCH);
}

#[tokio::test]
async fn the_watched_state_of_a_replica_set_comes_before_the_listed_one() {
    let stage = stage();
    let listed: crate::adapters::kube::views::ReplicaSetView =
        serde_json::from_value::<crate::adapters::kube::row::Row<_>>(recorded("replicaset"))
            .unwrap()
            .view
            .unwrap();
    let mut deployment = recorded("deployment");
    (deployment["metadata"]["namespace"], deployment["metadata"]["name"]) =
        ("shop".into(), "shop-api".into());
    put(&stage.context.stores.deployments, deployment);
    let deployment = api(&stage).deployment.found().cloned().unwrap();
    let keep = |deployment: &crate::engine::world::DeploymentSeen| {
        let desk = stage.context.desks.of(&key());
        let mut desk = lock(&desk);
        desk.uid = "rollout-uid".to_owned();
        let looks = desk.looks.entry("api".to_owned()).or_default();
        looks.replica_sets.set_list(deployment, vec![listed.seen.clone()]);
    };
    // A list from before the last change of the Deployment is none.
    keep(&crate::engine::world::DeploymentSeen {
        generation: deployment.generation - 1,
        ..deployment.clone()
    });
    assert!(!api(&stage).replica_sets_complete);
    keep(&deployment);
    let mut watched = recorded("replicaset");
    watched["metadata"]["labels"]["palier.dev/rollout"] = "shop".into();
    watched["metadata"]["labels"]["palier.dev/component"] = "api".into();
    watched["spec"]["replicas"] = 9.into();
    put(&stage.context.stores.replica_sets, watched);
    let seen = api(&stage);
    assert!(seen.replica_sets_complete);
    assert_eq!(
        seen.replica_sets.iter().map(|set| (set.replicas, set.is_labelled)).collect::<Vec<_>>(),
        [(9, true)]
    );
}

#[tokio::test]
async fn jobs_are_seen_and_refusals_of_the_present_run() {
    let job = json!({"metadata": {
        "name": "shop-1-backup", "namespace": "shop", "uid": "job", "resourceVersion": "5",
        "labels": {"palier.dev/rollout": "shop", "palier.dev/run": "1"},
    }});
    let hook = json!({"point": "BeforeRun", "name": "backup", "state": "Running", "attempt": 1, "job": "shop-1-backup"});
    let run = json!({"number": 1, "intent": "Release", "startedAt": "2026-11-22T15:00:00Z", "hooks": [hook]});
    let stage = stage();
    put(&stage.context.stores.rollouts, rollout("11", json!({"run": run})));
    put(&stage.context.stores.jobs, job);
    let refuse = |name: &str| {
        let (name, why) = (name.to_owned(), "quota".to_owned());
        crate::controller::act::keep(&stage.context, &key(), &Effect::JobRefused { name, why });
    };
    let hooks = || observe(&stage.context, &key(), EPOCH).unwrap().world.hooks;
    hooks();
    refuse("shop-1-backup");
    refuse("of-another-run");
    let seen = hooks();
    assert!(seen.enabled && seen.jobs["shop-1-backup"].run == 1);
    assert_eq!(seen.refused.keys().collect::<Vec<_>>(), ["shop-1-backup"]);
}

#[tokio::test]
async fn templates_are_seen_by_those_that_name_them_and_wake_them() {
    let mut stage = stage();
    let mut object = rollout("11", json!(null));
    object["spec"]["gatesFrom"] = json!([{"name": "http"}, {"kind": "ClusterGateTemplate", "name": "http"}]);
    put(&stage.context.stores.rollouts, object);
    let look = |stage: &Stage, kind: TemplateKind| {
        let mut seen = observe(&stage.context, &key(), EPOCH).unwrap().world.gate_templates.seen;
        seen.remove(&(kind, "http".to_owned())).unwrap()
    };
    assert_eq!(look(&stage, TemplateKind::GateTemplate), Look::Missing);
    let template = |namespace: &str, description: &str| {
        json!({
            "metadata": {"name": "http", "namespace": namespace, "uid": format!("uid-{description}"), "resourceVersion": "5"},
            "spec": {"description": description, "gates": [{"name": "up", "prometheus": {"query": "up"}}]},
        })
    };
    put(&stage.context.stores.gate_templates, template("mall", "theirs"));
    assert_eq!(look(&stage, TemplateKind::GateTemplate), Look::Missing, "that of another namespace");
    put(&stage.context.stores.gate_templates, template("shop", "ours"));
    put(&stage.context.stores.cluster_gate_templates, template("", "everybody's"));
    let description = |kind| look(&stage, kind).found().unwrap().description.clone();
    assert_eq!(description(TemplateKind::GateTemplate), "ours");
    assert_eq!(description(TemplateKind::ClusterGateTemplate), "everybody's");

    let view = stage.context.stores.rollouts.get("shop", "shop");
    let others = stage.context.names.learn(&key(), view.as_deref());
    assert!(others.is_empty(), "{others:?}");
    let naming = |namespace: &str, kind| {
        stage.context.names.naming(namespace, Named::GateTemplate(kind, "http".to_owned()))
    };
    assert_eq!(naming("shop", TemplateKind::GateTemplate), BTreeSet::from([key()]));
    assert_eq!(naming("mall", TemplateKind::GateTemplate), BTreeSet::new());
    let everywhere = Named::GateTemplate(TemplateKind::ClusterGateTemplate, "http".to_owned());
    assert_eq!(stage.context.names.naming_anywhere(&everywhere), BTreeSet::from([key()]));

    // In namespaced mode nobody knows what the cluster has.
    Arc::get_mut(&mut stage.context).unwrap().is_namespaced = true;
    stage.context.stores.cluster_gate_templates.set_absent();
    assert_eq!(look(&stage, TemplateKind::ClusterGateTemplate), Look::Unknown);
}
