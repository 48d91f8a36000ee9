use serde_json::{Value, json};

use super::*;
use crate::adapters::kube::scripted::{Script, cluster};

const SECOND: Duration = Duration::from_secs(1);

fn candidate(duration: Duration) -> (Candidate, Script) {
    let (cluster, script) = cluster(Duration::from_millis(100));
    let terms = Terms {
        namespace: "palier".to_owned(),
        name: "palier".to_owned(),
        identity: "me".to_owned(),
        duration,
        renew_deadline: duration / 2,
        retry_period: duration / 8,
    };
    (Candidate::new(cluster, terms), script)
}

fn lease(holder: &str, transitions: i32, version: &str) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "palier", "namespace": "palier", "resourceVersion": version},
        "spec": {"holderIdentity": holder, "leaseTransitions": transitions, "leaseDurationSeconds": 1},
    })
}

fn epoch_of((standing, _): (Standing, Duration)) -> Option<i64> {
    match standing {
        Standing::Leading(claim) => Some(claim.epoch),
        Standing::Waiting | Standing::Lost => None,
    }
}

#[tokio::test]
async fn a_free_lease_is_taken_and_each_term_is_a_later_one() {
    let (mut candidate, script) = candidate(SECOND * 15);
    script.say(200, lease("", 7, "10"));
    script.say(200, lease("me", 8, "11"));
    assert_eq!(epoch_of(candidate.step().await), Some(8));
    let asked = script.asked();
    assert_eq!(
        asked[1].line,
        "PUT /apis/coordination.k8s.io/v1/namespaces/palier/leases/palier?fieldManager=palier"
    );
    assert_eq!(asked[1].body["metadata"]["resourceVersion"], "10");
    assert_eq!(asked[1].body["spec"]["holderIdentity"], "me");
    assert_eq!(asked[1].body["spec"]["leaseTransitions"], 8);
    assert_eq!(asked[1].body["spec"]["leaseDurationSeconds"], 15);
}

#[tokio::test]
async fn a_lease_that_was_never_there_starts_later_than_any_former_term() {
    let (mut candidate, script) = candidate(SECOND * 15);
    script.refuse(404, "NotFound");
    script.say(201, lease("me", 3_600_000, "1"));
    assert!(epoch_of(candidate.step().await).is_some());
    let asked = script.asked();
    assert_eq!(
        asked[1].line,
        "POST /apis/coordination.k8s.io/v1/namespaces/palier/leases?fieldManager=palier"
    );
    assert!(asked[1].body["spec"]["leaseTransitions"].as_i64().unwrap() > 3_600_000);
}

#[tokio::test]
async fn of_two_candidates_the_second_waits() {
    let (mut candidate, script) = candidate(SECOND * 15);
    script.say(200, lease("", 7, "10"));
    script.refuse(409, "Conflict");
    assert_eq!(candidate.step().await.0, Standing::Waiting);
}

#[tokio::test]
async fn a_held_lease_is_taken_only_when_it_did_not_change_for_its_duration() {
    let (mut candidate, script) = candidate(SECOND * 15);
    script.say(200, lease("other", 7, "10"));
    let (standing, pause) = candidate.step().await;
    assert_eq!(standing, Standing::Waiting);
    assert!(pause <= SECOND, "the holder asked for one second: {pause:?}");
    tokio::time::sleep(Duration::from_millis(600)).await;
    script.say(200, lease("other", 7, "11"));
    assert_eq!(candidate.step().await.0, Standing::Waiting);
    tokio::time::sleep(Duration::from_millis(600)).await;
    script.say(200, lease("other", 7, "11"));
    assert_eq!(candidate.step().await.0, Standing::Waiting, "renewed 0.6 s ago");
    tokio::time::sleep(Duration::from_millis(500)).await;
    script.say(200, lease("other", 7, "11"));
    script.say(200, lease("me", 8, "12"));
    assert_eq!(epoch_of(candidate.step().await), Some(8));
}

async fn leader(duration: Duration) -> (Candidate, Script) {
    let (mut candidate, script) = candidate(duration);
    script.say(200, lease("", 7, "10"));
    script.say(200, lease("me", 8, "11"));
    assert_eq!(epoch_of(candidate.step().await), Some(8));
    script.asked();
    (candidate, script)
}

#[tokio::test]
async fn a_claim_is_renewed_with_the_version_that_was_written() {
    let (mut candidate, script) = leader(SECOND * 15).await;
    script.say(200, lease("me", 8, "12"));
    let (standing, _) = candidate.step().await;
    let Standing::Leading(claim) = standing else { panic!("{standing:?}") };
    assert!(claim.covers(SECOND * 14, Timestamp::now()) && !claim.covers(SECOND * 16, Timestamp::now()));
    assert_eq!(script.asked()[0].body["metadata"]["resourceVersion"], "11");
}

#[tokio::test]
async fn who_finds_another_holder_has_lost() {
    let (mut candidate, script) = leader(SECOND * 15).await;
    script.refuse(409, "Conflict");
    script.say(200, lease("other", 9, "20"));
    assert_eq!(candidate.step().await.0, Standing::Lost);
}

#[tokio::test]
async fn a_renewal_whose_answer_was_lost_is_no_loss() {
    let (mut candidate, script) = leader(SECOND * 15).await;
    let (standing, _) = candidate.step().await;
    assert!(matches!(standing, Standing::Leading(_)), "no answer yet: {standing:?}");
    script.refuse(409, "Conflict");
    script.say(200, lease("me", 8, "12"));
    script.say(200, lease("me", 8, "13"));
    assert_eq!(epoch_of(candidate.step().await), Some(8));
}

#[tokio::test]
async fn a_leader_without_answers_gives_up_at_the_renew_deadline_and_its_claim_runs_out() {
    let (mut candidate, _script) = leader(Duration::from_millis(800)).await;
    let started = Instant::now();
    let mut last = None;
    loop {
        let (standing, pause) = candidate.step().await;
        match standing {
            Standing::Leading(claim) => last = Some(claim),
            Standing::Lost => break,
            Standing::Waiting => panic!("a leader does not wait"),
        }
        tokio::time::sleep(pause).await;
    }
    let took = started.elapsed();
    assert!((Duration::from_millis(350)..Duration::from_millis(790)).contains(&took), "{took:?}");
    let claim = last.unwrap();
    assert!(
        !claim.covers(Duration::from_millis(600), Timestamp::now()),
        "an unanswered renewal must not lengthen the claim"
    );
}

#[tokio::test]
async fn a_released_lease_is_free_at_once() {
    let (mut candidate, script) = leader(SECOND * 15).await;
    script.say(200, lease("", 8, "12"));
    candidate.release().await;
    let asked = script.asked();
    assert_eq!(asked[0].body["spec"]["holderIdentity"], "");
    assert_eq!(asked[0].body["spec"]["leaseDurationSeconds"], 1);
    assert_eq!(asked[0].body["spec"]["leaseTransitions"], 8);
    assert_eq!(asked[0].body["metadata"]["resourceVersion"], "11");
}

#[tokio::test]
async fn the_end_releases_and_tells() {
    let (candidate, script) = candidate(SECOND * 15);
    script.say(200, lease("", 7, "10"));
    script.say(200, lease("me", 8, "11"));
    script.say(200, lease("", 8, "12"));
    let (sender, mut receiver) = watch::channel(Standing::Waiting);
    let stop = CancellationToken::new();
    let campaign = tokio::spawn(candidate.campaign(sender, stop.clone()));
    receiver.wait_for(|standing| matches!(standing, Standing::Leading(_))).await.unwrap();
    stop.cancel();
    campaign.await.unwrap();
    assert_eq!(*receiver.borrow(), Standing::Lost);
    assert_eq!(script.lines().len(), 3);
}
