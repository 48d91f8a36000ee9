//! What an action sends, and what is said when it cannot be done.

use std::future::Future;

use http::{Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use palier::api::{ActionKind, Rollout};
use palier::cli::{ActionArgs, CliError, Cluster, ExitStatus, Printer, act};
use serde_json::{Value, json};
use tower_test::mock::{self, Handle};

use crate::fixtures::rollout;

type Server = Handle<Request<Body>, Response<Body>>;

fn cluster() -> (Cluster, Server) {
    let (service, handle) = mock::pair::<Request<Body>, Response<Body>>();
    let client = Client::new(service, "shop");
    (Cluster { client, namespace: "shop".to_owned(), server: "https://10.0.0.1:6443".to_owned() }, handle)
}

fn args() -> ActionArgs {
    ActionArgs {
        rollout: "shop".to_owned(),
        reason: "p95 doubled".to_owned(),
        run: None,
        no_wait: false,
        watch: false,
    }
}

/// Answers the next request, which has to be this one, and returns its body.
async fn answer(server: &mut Server, method: &str, path: &str, status: u16, body: &str) -> Value {
    let (request, send) = server.next_request().await.expect("a request");
    assert_eq!((request.method().as_str(), request.uri().path()), (method, path));
    let sent = request.into_body().collect_bytes().await.unwrap();
    let response = Response::builder().status(StatusCode::from_u16(status).unwrap());
    send.send_response(response.body(Body::from(body.as_bytes().to_vec())).unwrap());
    serde_json::from_slice(&sent).unwrap_or(Value::Null)
}

const ROLLOUTS: &str = "/apis/palier.dev/v1alpha1/namespaces/shop/rollouts";
const ROLLOUT: &str = "/apis/palier.dev/v1alpha1/namespaces/shop/rollouts/shop";
const ACTIONS: &str = "/apis/palier.dev/v1alpha1/namespaces/shop/rolloutactions";
const REVIEWS: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

async fn answer_rollout(server: &mut Server, seen: &Rollout) {
    answer(server, "GET", ROLLOUT, 200, &serde_json::to_string(seen).unwrap()).await;
}

async fn answer_review(server: &mut Server) {
    let review = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview", "metadata": {},
        "status": {"userInfo": {"username": "ana", "groups": ["oncall", "system:authenticated"]}},
    });
    answer(server, "POST", REVIEWS, 201, &review.to_string()).await;
}

/// Takes the action that is sent and gives it a name and a uid.
async fn answer_action(server: &mut Server) -> Value {
    let stored = json!({
        "apiVersion": "palier.dev/v1alpha1", "kind": "RolloutAction",
        "metadata": {"name": "shop-abort-x7k2p", "namespace": "shop", "uid": "u-1"},
        "spec": {"rollout": "shop", "run": 7, "action": "Abort"},
    });
    answer(server, "POST", ACTIONS, 201, &stored.to_string()).await
}

/// The list that a watch starts with.
async fn answer_list(server: &mut Server, seen: &Rollout) {
    let list = json!({
        "apiVersion": "palier.dev/v1alpha1", "kind": "RolloutList",
        "metadata": {"resourceVersion": "900"}, "items": [seen],
    });
    answer(server, "GET", ROLLOUTS, 200, &list.to_string()).await;
}

fn handled(reason: &str, message: &str) -> Rollout {
    let mut seen = rollout("baking");
    let run = seen.status.as_mut().unwrap().run.as_mut().unwrap();
    run.handled_actions.push("u-1".to_owned());
    let entry = json!({"at": "2026-03-01T14:12:01Z", "reason": reason, "message": message});
    run.timeline.push(serde_json::from_value(entry).unwrap());
    seen
}

async fn both<T>(command: impl Future<Output = T>, server: impl Future<Output = ()>) -> T {
    let both = async { tokio::join!(command, server).0 };
    tokio::time::timeout(std::time::Duration::from_secs(20), both).await.expect("no end in sight")
}

#[tokio::test]
async fn an_abort_is_one_object_that_names_run_author_and_owner() {
    let (cluster, mut server) = cluster();
    let (printer, out, err) = Printer::captured();
    let args = args();
    let status = both(act(&cluster, ActionKind::Abort, &args, false, &printer), async {
        answer_rollout(&mut server, &rollout("baking")).await;
        answer_review(&mut server).await;
        let sent = answer_action(&mut server).await;
        assert_eq!(
            sent,
            json!({
                "apiVersion": "palier.dev/v1alpha1",
                "kind": "RolloutAction",
                "metadata": {
                    "generateName": "shop-abort-",
                    "namespace": "shop",
                    "ownerReferences": [
                        {"apiVersion": "palier.dev/v1alpha1", "kind": "Rollout", "name": "shop", "uid": "5d1f"},
                    ],
                },
                "spec": {
                    "rollout": "shop", "run": 7, "action": "Abort", "reason": "p95 doubled",
                    "requestedBy": {"user": "ana", "groups": ["oncall", "system:authenticated"]},
                },
            })
        );
        answer_list(&mut server, &handled("ActionTaken", "abort by ana: p95 doubled")).await;
    })
    .await;
    assert_eq!(status.unwrap(), ExitStatus::Success);
    assert_eq!(
        out.text(),
        "shop/shop, run 7: every component goes back to its stable version.\n✓ Taken: abort by ana: p95 doubled\n"
    );
    assert_eq!(err.text(), "");
}

#[tokio::test]
async fn a_refusal_is_told_with_its_reason() {
    let (cluster, mut server) = cluster();
    let (printer, out, _) = Printer::captured();
    let args = args();
    let status = both(act(&cluster, ActionKind::Promote, &args, true, &printer), async {
        answer_rollout(&mut server, &rollout("baking")).await;
        answer_review(&mut server).await;
        let sent = answer_action(&mut server).await;
        assert_eq!((&sent["spec"]["action"], &sent["spec"]["full"]), (&json!("Promote"), &json!(true)));
        answer_list(
            &mut server,
            &handled("ActionRefused", "promote in full by ana — refused: the run is being rolled back"),
        )
        .await;
    })
    .await;
    assert_eq!(status.unwrap(), ExitStatus::Refused);
    assert!(out.text().ends_with("✗ Refused: the run is being rolled back\n"), "{}", out.text());
}

#[tokio::test]
async fn an_author_that_cannot_be_known_is_left_to_the_api_server() {
    let (cluster, mut server) = cluster();
    let (printer, out, _) = Printer::captured();
    let args = ActionArgs { no_wait: true, ..args() };
    let status = both(act(&cluster, ActionKind::Pause, &args, false, &printer), async {
        answer_rollout(&mut server, &rollout("baking")).await;
        answer(&mut server, "POST", REVIEWS, 403, &refusal(403, "Forbidden", "no", Value::Null)).await;
        let sent = answer_action(&mut server).await;
        assert_eq!(sent["spec"].get("requestedBy"), None);
    })
    .await;
    assert_eq!(status.unwrap(), ExitStatus::Success);
    assert!(out.text().ends_with("Asked as RolloutAction shop-abort-x7k2p.\n"), "{}", out.text());
}

#[tokio::test(start_paused = true)]
async fn without_an_answer_it_says_so_after_ten_seconds() {
    let (cluster, mut server) = cluster();
    let (printer, _, err) = Printer::captured();
    let args = args();
    let status = both(act(&cluster, ActionKind::Abort, &args, false, &printer), async {
        answer_rollout(&mut server, &rollout("baking")).await;
        answer_review(&mut server).await;
        answer_action(&mut server).await;
        answer_list(&mut server, &rollout("baking")).await;
    })
    .await;
    assert_eq!(status.unwrap(), ExitStatus::TimedOut);
    assert!(err.text().contains("within 10 s") && err.text().contains("shop-abort-x7k2p"), "{}", err.text());
}

#[tokio::test]
async fn a_retry_is_taken_when_the_next_run_starts() {
    let (cluster, mut server) = cluster();
    let (printer, out, _) = Printer::captured();
    let args = args();
    let status = both(act(&cluster, ActionKind::Retry, &args, false, &printer), async {
        answer_rollout(&mut server, &rollout("rolled-back")).await;
        answer_review(&mut server).await;
        let sent = answer_action(&mut server).await;
        assert_eq!(sent["spec"]["run"], json!(10));
        let mut next = rollout("baking");
        next.status.as_mut().unwrap().run.as_mut().unwrap().number = 11;
        answer_list(&mut server, &next).await;
    })
    .await;
    assert_eq!(status.unwrap(), ExitStatus::Success);
    assert!(out.text().ends_with("✓ Taken: run 11 has started\n"), "{}", out.text());
}

fn refusal(code: u16, reason: &str, message: &str, details: Value) -> String {
    json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
        "code": code, "reason": reason, "message": message, "details": details,
    })
    .to_string()
}

/// What `abort` says when reading the Rollout gives this answer.
async fn error_on_read(status: u16, body: &str) -> CliError {
    let (cluster, mut server) = cluster();
    let (printer, _, _) = Printer::captured();
    let args = args();
    both(act(&cluster, ActionKind::Abort, &args, false, &printer), async {
        answer(&mut server, "GET", ROLLOUT, status, body).await;
    })
    .await
    .unwrap_err()
}

#[tokio::test]
async fn no_such_rollout() {
    let details = json!({"name": "shop", "group": "palier.dev", "kind": "rollouts"});
    let error = error_on_read(404, &refusal(404, "NotFound", "not found", details)).await;
    assert_eq!(error.to_string(), "there is no Rollout \"shop\" in namespace \"shop\"");
    assert!(error.cure().unwrap().contains("-n takes another namespace"));
}

#[tokio::test]
async fn the_kinds_are_not_installed() {
    let error = error_on_read(404, "404 page not found\n").await;
    assert_eq!(
        error.to_string(),
        "the cluster at https://10.0.0.1:6443 does not know the kinds of palier.dev/v1alpha1"
    );
    assert!(error.cure().unwrap().contains("palier crds | kubectl apply --server-side -f -"));
}

#[tokio::test]
async fn not_allowed_to_look() {
    let said = "rollouts.palier.dev \"shop\" is forbidden: User \"bo\" cannot get resource \"rollouts\"";
    let error = error_on_read(403, &refusal(403, "Forbidden", said, Value::Null)).await;
    assert_eq!(error.to_string(), format!("you may not get rollouts in namespace \"shop\": {said}"));
    let cure = error.cure().unwrap();
    assert!(
        cure.contains("verb \"get\" on rollouts.palier.dev") && cure.contains("palier-operator"),
        "{cure}"
    );
}

#[tokio::test]
async fn nobody_knows_you() {
    let error = error_on_read(401, &refusal(401, "Unauthorized", "Unauthorized", Value::Null)).await;
    assert!(error.to_string().contains("does not know you (401)"), "{error}");
}

#[tokio::test]
async fn an_object_of_another_version() {
    let error = error_on_read(200, r#"{"metadata": {"name": "shop"}, "spec": {"steps": 4}}"#).await;
    assert!(error.to_string().starts_with("cannot read the rollouts that the API server sent"), "{error}");
    assert!(error.cure().unwrap().contains("palier version"));
}

#[tokio::test]
async fn the_policy_says_who_may_abort() {
    let (cluster, mut server) = cluster();
    let (printer, out, _) = Printer::captured();
    let args = args();
    let said = "rolloutactions.palier.dev \"shop-abort-\" is forbidden: ValidatingAdmissionPolicy 'palier-action-author' with \
                binding 'palier-action-author' denied request: user \"bo\" may not abort the Rollout \"shop\"";
    let error = both(act(&cluster, ActionKind::Abort, &args, false, &printer), async {
        answer_rollout(&mut server, &rollout("baking")).await;
        answer_review(&mut server).await;
        answer(&mut server, "POST", ACTIONS, 403, &refusal(403, "Forbidden", said, Value::Null)).await;
    })
    .await
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "an admission policy of the cluster refused to abort Rollout \"shop\": user \"bo\" may not abort the Rollout \"shop\""
    );
    let cure = error.cure().unwrap();
    assert!(cure.contains("\"abort\"") && cure.contains("palier-operator"), "{cure}");
    assert_eq!(out.text(), "", "nothing was promised before it was stored");
}

#[tokio::test]
async fn not_allowed_to_act_at_all() {
    let (cluster, mut server) = cluster();
    let (printer, _, _) = Printer::captured();
    let args = args();
    let error = both(act(&cluster, ActionKind::Abort, &args, false, &printer), async {
        answer_rollout(&mut server, &rollout("baking")).await;
        answer_review(&mut server).await;
        answer(
            &mut server,
            "POST",
            ACTIONS,
            403,
            &refusal(403, "Forbidden", "User \"bo\" cannot create", Value::Null),
        )
        .await;
    })
    .await
    .unwrap_err();
    assert!(error.cure().unwrap().contains("verb \"create\" on rolloutactions.palier.dev"), "{error}");
}

/// What `kind` says about a Rollout that is in no state for it; nothing is sent but the read.
async fn nothing_to_do(kind: ActionKind, seen: Rollout, run: Option<i64>) -> String {
    let (cluster, mut server) = cluster();
    let (printer, _, _) = Printer::captured();
    let args = ActionArgs { run, ..args() };
    let error = both(act(&cluster, kind, &args, false, &printer), async {
        answer_rollout(&mut server, &seen).await;
    })
    .await
    .unwrap_err();
    drop(cluster);
    assert!(server.next_request().await.is_none(), "something was sent");
    error.to_string()
}

#[tokio::test]
async fn nothing_to_act_on() {
    for (kind, name, run, said) in [
        (ActionKind::Abort, "idle", None, "there has been no run yet; a changed Deployment starts one"),
        (ActionKind::Abort, "completed", None, "no run is on; run 7 has ended"),
        (ActionKind::Resume, "rolled-back", None, "no run is on; run 10 has ended"),
        (ActionKind::Retry, "completed", None, "run 7 was not rolled back"),
        (ActionKind::Retry, "baking", None, "run 7 is still on"),
        (ActionKind::Abort, "baking", Some(6), "the present run is 7, not 6"),
    ] {
        let found = nothing_to_do(kind, rollout(name), run).await;
        assert_eq!(found, format!("nothing was done: {said}"), "{kind:?} on {name}");
    }
}
