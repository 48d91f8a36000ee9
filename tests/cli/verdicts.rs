//! When a watched run has ended, and how.

use palier::api::{RolloutState, RolloutStatus};
use palier::cli::{ExitStatus, Goal, verdict};

use crate::fixtures::rollout;

const ANY: Goal = Goal { run: 0, back: false };

#[test]
fn a_run_ends_well_badly_or_not_yet() {
    for (name, expected) in [
        ("baking", None),
        ("held", None),
        ("paused", None),
        ("rolling-back", None),
        ("two-components", None),
        ("completed", Some(ExitStatus::Success)),
        ("idle", Some(ExitStatus::Success)),
        ("rolled-back", Some(ExitStatus::Refused)),
    ] {
        assert_eq!(verdict(&rollout(name), ANY), expected, "{name}");
    }
}

#[test]
fn an_abort_wants_to_go_back() {
    let back = Goal { back: true, ..ANY };
    assert_eq!(verdict(&rollout("rolled-back"), back), Some(ExitStatus::Success));
    assert_eq!(verdict(&rollout("completed"), back), Some(ExitStatus::Refused));
}

#[test]
fn the_end_of_an_older_run_does_not_count() {
    assert_eq!(verdict(&rollout("completed"), Goal { run: 8, ..ANY }), None);
    assert_eq!(verdict(&rollout("completed"), Goal { run: 7, ..ANY }), Some(ExitStatus::Success));
    assert_eq!(verdict(&rollout("idle"), Goal { run: 1, ..ANY }), None, "no run yet");
}

#[test]
fn what_the_controller_has_not_read_is_waited_for() {
    let mut changed = rollout("completed");
    changed.metadata.generation = Some(4);
    assert_eq!(verdict(&changed, ANY), None);
    changed.status = None;
    assert_eq!(verdict(&changed, ANY), None);
}

#[test]
fn stalled_without_a_run_is_an_end() {
    let mut stalled = rollout("stalled");
    assert_eq!(verdict(&stalled, ANY), None, "its new spec is not read yet");
    stalled.metadata.generation = Some(2);
    assert_eq!(verdict(&stalled, ANY), Some(ExitStatus::Refused));
    let on = rollout("baking").status.unwrap();
    stalled.status = Some(RolloutStatus { state: RolloutState::Stalled, ..on });
    assert_eq!(verdict(&stalled, ANY), None, "its run can go on once the obstacle is gone");
}
