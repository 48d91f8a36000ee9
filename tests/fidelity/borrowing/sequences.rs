//! What is played.

use serde_json::{Value, json};

use super::step::{DEPLOYMENTS, JOBS, PODS, SERVICES, Step};
use palier::apiserver::natives::given;

/// Sequences that a seed chooses, and how long they are.
const SEEDS: u64 = 8;
const LENGTH: usize = 8;

/// Steps one after the other.
pub struct Sequence {
    pub name: String,
    pub steps: Vec<Step>,
}

fn sequence(name: &str, steps: Vec<Step>) -> Sequence {
    Sequence { name: name.to_owned(), steps }
}

/// The steps of a seed.
fn by_chance(seed: u64) -> Sequence {
    let mut state = seed;
    // <https://prng.di.unimi.it/splitmix64.c>
    let mut dice = |sides: usize| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(sides).unwrap()).unwrap()
    };
    let mut steps = vec![Step::Deploy("app:v1", 4), Step::Pause(true), Step::Push("app:v2")];
    while steps.len() < LENGTH + 3 {
        let image = ["app:v1", "app:v2", "app:v3-neverready"][dice(3)];
        let hash = ["c1", "c2"][dice(2)];
        let size = u32::try_from(dice(9)).unwrap();
        steps.push(match dice(11) {
            0 | 1 => Step::Scale(size),
            2 => Step::Push(image),
            3 => Step::Pause(size % 2 == 0),
            4 | 5 => Step::Canary(hash, size),
            6 | 7 => Step::Release(hash),
            8 => Step::Resize(hash, size),
            9 => Step::DeleteSet(image),
            _ => Step::Pin(Some(image).filter(|_| size > 3)),
        });
    }
    sequence(&format!("seed {seed}"), steps)
}

fn strategy(rolling: &Value) -> Step {
    let strategy = json!({"type": "RollingUpdate", "rollingUpdate": rolling});
    Step::Merge(DEPLOYMENTS, "api", json!({"spec": {"strategy": strategy}}))
}

/// A Deployment on v1 of this size, paused on v2, with a canary of v2 that is owned by somebody else.
fn borrowed(replicas: u32, canary: u32) -> Vec<Step> {
    vec![
        Step::Deploy("app:v1", replicas),
        Step::Pause(true),
        Step::Push("app:v2"),
        Step::Canary("c1", canary),
    ]
}

fn then(mut steps: Vec<Step>, more: Vec<Step>) -> Vec<Step> {
    steps.extend(more);
    steps
}

/// All sequences.
pub fn all() -> Vec<Sequence> {
    let mut all = ordinary();
    all.extend(updates());
    all.extend(adoptions());
    all.extend(adoptions_gone_wrong());
    all.extend(sharing());
    all.extend(others());
    all.extend(deletions());
    all.extend((1..=SEEDS).map(by_chance));
    all
}

fn ordinary() -> Vec<Sequence> {
    use Step::{Deploy, Pause, Push, Scale};
    vec![
        sequence("deploy and scale", vec![Deploy("app:v1", 3), Scale(5), Scale(2), Scale(0), Scale(1)]),
        sequence(
            "roll, roll, and back",
            vec![
                Deploy("app:v1", 4),
                Push("app:v2"),
                Push("app:v3"),
                Push("app:v1"),
                Push("app:v2"),
                Scale(2),
            ],
        ),
        sequence(
            "pause, template, scale",
            vec![
                Deploy("app:v1", 3),
                Pause(true),
                Push("app:v2"),
                Scale(5),
                Scale(0),
                Scale(2),
                Pause(false),
            ],
        ),
        sequence(
            "a release that gets stuck",
            vec![Deploy("app:v1", 8), Push("app:v2-neverready"), Scale(12), Scale(6), Push("app:v3")],
        ),
        sequence(
            "stuck with numbers, paused, and back",
            vec![
                Deploy("app:v1", 5),
                strategy(&json!({"maxSurge": 1, "maxUnavailable": 2})),
                Push("app:v2-neverready"),
                Pause(true),
                Scale(9),
                Push("app:v1"),
                Pause(false),
            ],
        ),
    ]
}

fn updates() -> Vec<Sequence> {
    use Step::{Deploy, Merge, Pause, Pin, Push, Scale};
    vec![
        sequence(
            "no surge",
            vec![
                Deploy("app:v1", 3),
                strategy(&json!({"maxSurge": 0, "maxUnavailable": 1})),
                Push("app:v2"),
                Push("app:v3-neverready"),
                Push("app:v2"),
            ],
        ),
        sequence(
            "recreate",
            vec![
                Deploy("app:v1", 3),
                Merge(
                    DEPLOYMENTS,
                    "api",
                    json!({"spec": {"strategy": {"type": "Recreate", "rollingUpdate": null}}}),
                ),
                Push("app:v2"),
                Scale(2),
                Push("app:v3-neverready"),
                Push("app:v2"),
            ],
        ),
        sequence(
            "history",
            vec![
                Deploy("app:v1", 1),
                Merge(DEPLOYMENTS, "api", json!({"spec": {"revisionHistoryLimit": 1}})),
                Push("app:v2"),
                Push("app:v3"),
                Push("app:v4"),
                Pause(true),
                Merge(DEPLOYMENTS, "api", json!({"spec": {"revisionHistoryLimit": 0}})),
            ],
        ),
        sequence(
            "ready is not available yet",
            vec![
                Deploy("app:v1", 2),
                Merge(DEPLOYMENTS, "api", json!({"spec": {"minReadySeconds": 2}})),
                Push("app:v2"),
            ],
        ),
        sequence(
            "annotations go to the newest",
            vec![
                Deploy("app:v1", 2),
                Merge(DEPLOYMENTS, "api", json!({"metadata": {"annotations": {"a/b": "1"}}})),
                Push("app:v2"),
                Merge(DEPLOYMENTS, "api", json!({"metadata": {"annotations": {"a/b": "2", "c": "d"}}})),
                Pin(Some("app:v1")),
                Push("app:v1"),
            ],
        ),
    ]
}

fn adoptions() -> Vec<Sequence> {
    use Step::{Canary, DeleteSet, Deploy, Pause, Pin, Push, Release, Resize, Scale};
    vec![
        sequence(
            "a canary of somebody else is left alone",
            then(borrowed(4, 1), vec![Scale(6), Resize("c1", 3), Scale(2), Push("app:v3"), Push("app:v1")]),
        ),
        sequence(
            "adoption of a saturated canary",
            then(
                borrowed(4, 1),
                vec![
                    Pin(Some("app:v1")),
                    Resize("c1", 4),
                    Pin(Some("app:v2")),
                    Release("c1"),
                    Pin(None),
                    Pause(false),
                    Push("app:v3"),
                    Push("app:v2"),
                ],
            ),
        ),
        sequence(
            "adoption with an empty twin",
            vec![
                Deploy("app:v1", 4),
                Push("app:v2"),
                Push("app:v1"),
                Pause(true),
                Push("app:v2"),
                Canary("c1", 4),
                Release("c1"),
                Pause(false),
            ],
        ),
        sequence(
            "adoption after the empty twin was deleted",
            vec![
                Deploy("app:v1", 4),
                Push("app:v2"),
                Push("app:v1"),
                Pause(true),
                Push("app:v2"),
                Canary("c1", 4),
                DeleteSet("app:v2"),
                Release("c1"),
                Pause(false),
            ],
        ),
        sequence(
            "rollback by deleting the canary",
            then(
                borrowed(4, 2),
                vec![
                    Pin(Some("app:v1")),
                    DeleteSet("app:v2"),
                    Pin(None),
                    Push("app:v1"),
                    Pause(false),
                    Push("app:v2"),
                ],
            ),
        ),
    ]
}

fn adoptions_gone_wrong() -> Vec<Sequence> {
    use Step::{Canary, Deploy, Pause, Push, Release, Resize, Scale};
    vec![
        sequence(
            "two releases, one after the other",
            then(
                borrowed(3, 3),
                vec![
                    Release("c1"),
                    Pause(false),
                    Pause(true),
                    Push("app:v3"),
                    Canary("c2", 1),
                    Resize("c2", 3),
                    Release("c2"),
                    Pause(false),
                ],
            ),
        ),
        sequence(
            "unpaused while the canary is somebody else's",
            then(borrowed(3, 3), vec![Pause(false), Release("c1"), Scale(4)]),
        ),
        sequence(
            "adoption of a canary that is not ready",
            vec![
                Deploy("app:v1", 4),
                Pause(true),
                Push("app:v2-neverready"),
                Canary("c1", 4),
                Release("c1"),
                Scale(6),
                Pause(false),
                Push("app:v1"),
            ],
        ),
    ]
}

fn sharing() -> Vec<Sequence> {
    use Step::{Deploy, MergeSet, Pause, Push, Release, Scale};
    let desired = |count: &str| json!({"metadata": {"annotations": {"deployment.kubernetes.io/desired-replicas": count}}});
    vec![
        sequence(
            "adoption of a canary that is too small",
            then(borrowed(4, 1), vec![Release("c1"), Scale(8), Scale(3), Scale(10), Pause(false)]),
        ),
        sequence(
            "sharing in proportion while paused",
            then(borrowed(10, 5), vec![Release("c1"), Scale(20), Scale(7), Scale(1), Scale(0), Scale(5)]),
        ),
        sequence(
            "saturated only by its annotation",
            then(
                borrowed(4, 4),
                vec![
                    MergeSet("app:v2", desired("3")),
                    Scale(4),
                    MergeSet("app:v1", desired("4")),
                    Release("c1"),
                    Pause(false),
                ],
            ),
        ),
        sequence(
            "three share",
            vec![
                Deploy("app:v1", 10),
                Push("app:v2-neverready"),
                Push("app:v3-neverready"),
                Pause(true),
                Scale(15),
                Scale(30),
                Scale(9),
                Push("app:v1"),
                Pause(false),
            ],
        ),
    ]
}

fn others() -> Vec<Sequence> {
    use Step::{DeletePod, Deploy, Merge, MergeSet, Pause, Pin, Push, Relabel, Release, Scale};
    vec![
        sequence(
            "pods that go come again",
            vec![
                Deploy("app:v1", 3),
                DeletePod("app:v1"),
                Relabel("app:v1", json!({"app": "other"})),
                Relabel("app:v1", json!({"app": "api"})),
                Scale(2),
            ],
        ),
        sequence(
            "a pod without an owner is adopted",
            vec![Deploy("app:v1", 2), Relabel("app:v1", json!({"pod-template-hash": "xyz"})), Scale(3)],
        ),
        sequence(
            "the pin and the endpoints",
            then(
                borrowed(3, 2),
                vec![
                    Pin(Some("app:v1")),
                    Merge(SERVICES, "api", json!({"metadata": {"labels": {"palier.dev/rollout": "shop"}}})),
                    Pin(Some("app:v2")),
                    Merge(SERVICES, "api", json!({"metadata": {"labels": {"palier.dev/rollout": null}}})),
                    Pin(None),
                    DeletePod("app:v2"),
                ],
            ),
        ),
        sequence(
            "a retired template is another one",
            then(
                borrowed(3, 3),
                vec![
                    MergeSet(
                        "app:v2",
                        json!({"spec": {"template": {"metadata": {"annotations": {"palier.dev/retired": "true"}}}}}),
                    ),
                    Release("c1"),
                    Push("app:v1"),
                    Pause(false),
                ],
            ),
        ),
    ]
}

fn deletions() -> Vec<Sequence> {
    use Step::{Create, Delete, Deploy, Merge, Pause, Push};
    let mut held = given::job("hook", "app:v1");
    held["metadata"]["finalizers"] = json!(["palier.dev/until-seen"]);
    vec![
        sequence(
            "deletion in the background",
            then(borrowed(2, 1), vec![Delete(DEPLOYMENTS, "api", "Background")]),
        ),
        sequence(
            "deletion in the foreground",
            vec![
                Deploy("app:v1", 2),
                Push("app:v2"),
                Delete(DEPLOYMENTS, "api", "Foreground"),
                Delete(SERVICES, "api", "Background"),
            ],
        ),
        sequence(
            "orphans find their Deployment again",
            vec![
                Deploy("app:v1", 2),
                Push("app:v2"),
                Delete(DEPLOYMENTS, "api", "Orphan"),
                Create(DEPLOYMENTS, given::deployment("api", "app:v2", 3)),
                Push("app:v1"),
            ],
        ),
        sequence(
            "who owned the canary is gone",
            then(borrowed(2, 2), vec![Delete(super::step::MAPS, "borrower", "Background"), Pause(false)]),
        ),
        sequence(
            "Jobs end well, or not, or not yet",
            vec![
                Create(JOBS, given::job("well", "app:v1")),
                Create(JOBS, given::job("ill", "app:fail")),
                Create(JOBS, given::job("late", "app:takes2")),
                Create(JOBS, given::job("never", "app:hang")),
                Delete(JOBS, "never", "Background"),
                Delete(JOBS, "well", "Foreground"),
            ],
        ),
        sequence(
            "a Job that is held",
            vec![
                Create(JOBS, held),
                Delete(JOBS, "hook", "Background"),
                Merge(JOBS, "hook", json!({"metadata": {"finalizers": null}})),
            ],
        ),
        sequence(
            "a bare pod",
            vec![
                Create(
                    PODS,
                    json!({"metadata": {"name": "bare", "labels": {"app": "api"}}, "spec": {"containers": [{"name": "app", "image": "app:v1"}]}}),
                ),
                Deploy("app:v1", 2),
                Delete(PODS, "bare", "Background"),
            ],
        ),
    ]
}
