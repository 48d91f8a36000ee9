//! Degraded modes: entered, left, entered again, given up; and people who edit the same ConfigMap meanwhile.

use palier::api::{ActionKind, DegradedState, DegradedStatus, Outcome, RolloutState, Stage, SwitchState};
use palier::engine::{Reason, Write};
use palier::sim::{Cluster, Drive, Stop};

use crate::fixtures::{action, at};
use crate::monitors::weight_of;
use crate::switches::{DEGRADED, FILE, Play, cluster, play, spec};

/// A run of both components whose gate `slow` fails in the first phase: the mode is on at 40 s.
fn degraded(then: &str) -> Play {
    let (mut drive, values) = play(cluster(then));
    drive.cluster.push_image("shop-api", "app:v2");
    drive.cluster.push_image("shop-web", "web:v2");
    drive.run(at(20), |_, _| {});
    values.borrow_mut().insert("slow".into(), 1.0);
    drive.run(at(40), |_, _| {});
    assert_eq!(drive.working.state, RolloutState::DegradedMode, "{:#?}", drive.working);
    assert_eq!(mode(&drive.working.run, "no-search").state, DegradedState::On);
    (drive, values)
}

fn mode<'r>(run: &'r Option<palier::api::RunStatus>, name: &str) -> &'r DegradedStatus {
    let all = &run.as_ref().expect("a run").degraded;
    all.iter().find(|it| it.mode == name).unwrap_or_else(|| panic!("no mode {name} in {all:#?}"))
}

fn is_set(cluster: &Cluster) {
    assert_eq!(cluster.config("flags", "flags.json"), Some(DEGRADED));
    assert_eq!(cluster.config("flags", "SEARCH"), Some("off"));
}

fn is_as_found(cluster: &Cluster) {
    assert_eq!(cluster.config("flags", "flags.json"), Some(FILE));
    assert_eq!(cluster.config("flags", "SEARCH"), Some("on"));
    assert_eq!(cluster.config("flags", "other"), Some("kept"));
    assert_eq!(cluster.config("flags", "CHAT"), None);
}

fn told(drive: &Drive<impl Sized>, reason: Reason) -> usize {
    drive.happened.iter().filter(|(_, it)| it.reason == reason).count()
}

#[test]
fn the_mode_comes_on_holds_the_run_and_is_left_when_the_gate_passes() {
    let (mut drive, values) = degraded("PartialRollback");
    is_set(&drive.cluster);
    drive.run(at(900), |cluster, _| {
        assert!(weight_of(cluster, "shop-api").0 <= 10);
        assert!(weight_of(cluster, "shop-web").0 <= 10);
        assert_eq!(cluster.config("flags", "other"), Some("kept"));
    });
    is_set(&drive.cluster);
    assert_eq!(told(&drive, Reason::DegradedModeEntered), 1);
    values.borrow_mut().clear();
    drive.run(at(955), |_, _| {});
    is_set(&drive.cluster);
    drive.run(at(990), |_, _| {});
    is_as_found(&drive.cluster);
    assert_eq!(told(&drive, Reason::DegradedModeLeft), 1);
    assert_eq!(drive.run(at(3_000), |_, _| {}), Stop::AtRest);
    assert_eq!(drive.working.state, RolloutState::Completed);
    assert!(drive.world().config_maps.len() <= 1);
}

#[test]
fn a_gate_that_fails_again_before_the_time_is_over_keeps_the_mode_on() {
    let (mut drive, values) = degraded("PartialRollback");
    for round in 0..6 {
        let from = 40 + round * 80;
        values.borrow_mut().clear();
        drive.run(at(from + 50), |_, _| {});
        values.borrow_mut().insert("slow".into(), 1.0);
        drive.run(at(from + 80), |cluster, _| is_set(cluster));
    }
    assert_eq!(told(&drive, Reason::DegradedModeEntered), 1);
}

#[test]
fn the_mode_is_entered_again_with_what_is_found_then() {
    let (mut drive, values) = degraded("PartialRollback");
    values.borrow_mut().clear();
    drive.run(at(140), |_, _| {});
    is_as_found(&drive.cluster);
    drive.cluster.edit_config_map("flags", |data| drop(data.insert("SEARCH".into(), "beta".into())));
    values.borrow_mut().insert("slow".into(), 1.0);
    drive.run(at(170), |_, _| {});
    is_set(&drive.cluster);
    assert_eq!(mode(&drive.working.run, "no-search").switches[1].found.as_deref(), Some("beta"));
    assert_eq!(told(&drive, Reason::DegradedModeEntered), 2);
    values.borrow_mut().clear();
    drive.run(at(300), |_, _| {});
    assert_eq!(drive.cluster.config("flags", "SEARCH"), Some("beta"));
    assert_eq!(drive.cluster.config("flags", "flags.json"), Some(FILE));
}

#[test]
fn a_mode_that_is_on_for_too_long_is_given_up_in_part_or_in_full() {
    for (then, outcome) in
        [("PartialRollback", Outcome::PartiallyCompleted), ("FullRollback", Outcome::RolledBack)]
    {
        let (mut drive, _values) = degraded(then);
        let mut is_back_at = None;
        drive.run(at(3_000), |cluster, _| {
            if cluster.now > at(600) && weight_of(cluster, "shop-api").0 > 0 {
                is_set(cluster);
            } else if cluster.now > at(600) {
                is_back_at.get_or_insert(cluster.now);
            }
        });
        let back = is_back_at.expect("it goes back");
        assert!(back > at(1_200) && back < at(1_260), "{then}: {back}");
        is_as_found(&drive.cluster);
        assert_eq!(drive.cluster.runs["shop-1"], Some(outcome));
        let run = drive.working.run.as_ref().unwrap();
        assert!(run.reason.contains("degraded mode no-search was on for 20m"), "{}", run.reason);
        assert_eq!(mode(&drive.working.run, "no-search").state, DegradedState::Left);
    }
}

#[test]
fn a_key_that_was_not_there_is_taken_out_again() {
    let (mut drive, values) = play(cluster("PartialRollback"));
    drive.cluster.push_image("shop-api", "app:v2");
    drive.run(at(20), |_, _| {});
    values.borrow_mut().insert("busy".into(), 1.0);
    drive.run(at(40), |_, _| {});
    assert_eq!(drive.cluster.config("flags", "CHAT"), Some("off"));
    values.borrow_mut().clear();
    drive.run(at(140), |_, _| {});
    is_as_found(&drive.cluster);
}

#[test]
fn two_modes_at_once_are_entered_and_left_each_for_itself() {
    let (mut drive, values) = degraded("PartialRollback");
    values.borrow_mut().insert("busy".into(), 1.0);
    drive.run(at(60), |_, _| {});
    is_set(&drive.cluster);
    assert_eq!(drive.cluster.config("flags", "CHAT"), Some("off"));
    values.borrow_mut().remove("slow");
    drive.run(at(180), |_, _| {});
    assert_eq!(mode(&drive.working.run, "no-search").state, DegradedState::Left);
    assert_eq!(drive.cluster.config("flags", "SEARCH"), Some("on"));
    assert_eq!(drive.cluster.config("flags", "CHAT"), Some("off"));
    assert_eq!(drive.working.state, RolloutState::DegradedMode);
    values.borrow_mut().clear();
    drive.run(at(300), |_, _| {});
    is_as_found(&drive.cluster);
}

#[test]
fn two_modes_of_one_moment_are_one_write() {
    let (mut drive, values) = play(cluster("PartialRollback"));
    drive.cluster.push_image("shop-api", "app:v2");
    drive.run(at(20), |_, _| {});
    values.borrow_mut().insert("slow".into(), 1.0);
    values.borrow_mut().insert("busy".into(), 1.0);
    let mut writes = Vec::new();
    drive.run(at(60), |_, plan| {
        for write in plan.writes.iter().filter(|write| matches!(write, Write::SetConfigMap { .. })) {
            if writes.last() != Some(write) {
                writes.push(write.clone());
            }
        }
    });
    assert_eq!(writes.len(), 1, "{writes:#?}");
    let Write::SetConfigMap { changes, .. } = &writes[0] else { panic!("{writes:#?}") };
    assert_eq!(
        changes.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(),
        ["CHAT", "SEARCH", "flags.json"]
    );
}

#[test]
fn what_a_person_makes_of_a_switch_stays_and_what_they_change_beside_it_too() {
    let (mut drive, values) = degraded("PartialRollback");
    drive.cluster.edit_config_map("flags", |data| {
        data.insert("SEARCH".into(), "by hand".into());
        data.insert("new".into(), "theirs".into());
        let file = data["flags.json"]
            .replace("\"chat\": {\"state\": \"ENABLED\"}", "\"chat\": {\"state\": \"BETA\"}");
        data.insert("flags.json".into(), file);
    });
    drive.run(at(400), |_, _| {});
    assert_eq!(told(&drive, Reason::ForeignChange), 1);
    let states: Vec<_> = mode(&drive.working.run, "no-search").switches.iter().map(|it| it.state).collect();
    assert_eq!(states, [SwitchState::Set, SwitchState::Foreign]);
    values.borrow_mut().clear();
    drive.run(at(600), |_, _| {});
    assert_eq!(drive.cluster.config("flags", "SEARCH"), Some("by hand"));
    assert_eq!(drive.cluster.config("flags", "new"), Some("theirs"));
    let file = FILE.replace("\"chat\": {\"state\": \"ENABLED\"}", "\"chat\": {\"state\": \"BETA\"}");
    assert_eq!(drive.cluster.config("flags", "flags.json"), Some(file.as_str()));
    let left = drive.happened.iter().find(|(_, it)| it.reason == Reason::DegradedModeLeft).unwrap();
    assert!(left.1.message.contains("somebody else has changed flags/SEARCH"), "{}", left.1.message);
}

#[test]
fn a_person_who_sets_the_switch_back_is_not_fought() {
    let (mut drive, _values) = degraded("PartialRollback");
    drive.cluster.edit_config_map("flags", |data| {
        data.insert("SEARCH".into(), "on".into());
        data.insert("flags.json".into(), FILE.into());
    });
    drive.run(at(1_100), |cluster, _| is_as_found(cluster));
    assert_eq!(told(&drive, Reason::ForeignChange), 2);
    assert_eq!(drive.working.state, RolloutState::DegradedMode, "the gate still fails");
    drive.run(at(3_000), |cluster, _| is_as_found(cluster));
    assert_eq!(drive.cluster.runs["shop-1"], Some(Outcome::PartiallyCompleted));
}

#[test]
fn a_file_that_a_person_breaks_is_left_alone() {
    let (mut drive, values) = degraded("PartialRollback");
    drive.cluster.edit_config_map("flags", |data| drop(data.insert("flags.json".into(), "{oops".into())));
    values.borrow_mut().clear();
    drive.run(at(600), |_, _| {});
    assert_eq!(drive.cluster.config("flags", "flags.json"), Some("{oops"));
    assert_eq!(drive.cluster.config("flags", "SEARCH"), Some("on"));
    assert_eq!(mode(&drive.working.run, "no-search").state, DegradedState::Left);
}

#[test]
fn a_config_map_that_goes_or_comes_anew_is_none_of_ours() {
    for comes_anew in [false, true] {
        let (mut drive, values) = degraded("PartialRollback");
        drive.cluster.config_maps.remove("flags");
        if comes_anew {
            drive.cluster.add_config_map("flags", &[("flags.json", DEGRADED), ("SEARCH", "off")]);
        }
        drive.run(at(300), |_, _| {});
        assert_eq!(told(&drive, Reason::ForeignChange), 2);
        values.borrow_mut().clear();
        drive.run(at(600), |_, _| {});
        assert_eq!(mode(&drive.working.run, "no-search").state, DegradedState::Left);
        assert_eq!(drive.cluster.config("flags", "SEARCH"), comes_anew.then_some("off"));
    }
}

#[test]
fn somebody_who_was_quicker_than_the_first_write_gets_theirs_back() {
    let (mut drive, values) = play(cluster("PartialRollback"));
    drive.cluster.push_image("shop-api", "app:v2");
    drive.run(at(20), |_, _| {});
    values.borrow_mut().insert("slow".into(), 1.0);
    let mut has_raced = false;
    for _ in 0..200 {
        let plan = drive.plan();
        if plan.writes.iter().any(|write| matches!(write, Write::SetConfigMap { .. })) && !has_raced {
            has_raced = true;
            drive.cluster.store_status(&drive.working.clone(), plan.status.clone()).unwrap();
            drive.cluster.edit_config_map("flags", |data| drop(data.insert("SEARCH".into(), "beta".into())));
            assert!(plan.writes.iter().any(|write| drive.cluster.apply(write).is_err()));
            drive.crash();
        }
        let plan = drive.turn(&mut |_, _| true);
        if !plan.persist && plan.writes.is_empty() && plan.look.is_empty() {
            let next = drive.next(&plan).unwrap();
            if next > at(60) {
                break;
            }
            drive.cluster.now = next.max(drive.cluster.now);
        }
    }
    assert!(has_raced);
    is_set(&drive.cluster);
    values.borrow_mut().clear();
    drive.run(at(300), |_, _| {});
    assert_eq!(drive.cluster.config("flags", "SEARCH"), Some("beta"));
}

#[test]
fn every_way_out_of_the_run_sets_the_switches_back_after_the_traffic() {
    type Way = fn(&mut Cluster);
    let ways: [(&str, Way); 5] = [
        ("abort", |cluster| cluster.act(action(ActionKind::Abort, 1))),
        ("supersede", |cluster| cluster.push_image("shop-api", "app:v3")),
        ("withdraw", |cluster| cluster.push_image("shop-web", "web:v1")),
        ("delete", |cluster| cluster.deleting = true),
        ("delete and promote", |cluster| {
            cluster.spec.on_delete = palier::api::OnDelete::Promote;
            cluster.deleting = true;
        }),
    ];
    for (name, leave) in ways {
        let (mut drive, _values) = degraded("PartialRollback");
        leave(&mut drive.cluster);
        drive.turn(&mut |_, _| true);
        let is_going_back = name != "delete and promote";
        assert!(!is_going_back || weight_of(&drive.cluster, "shop-api").0 == 0, "{name}: traffic waits");
        let mut is_over = false;
        drive.run(at(400), |cluster, _| {
            let run = cluster.status.run.as_ref().expect("a run");
            if !is_over && (run.number > 1 || run.ended_at.is_some()) {
                is_over = true;
                is_as_found(cluster);
            }
        });
        assert!(is_over, "{name}");
        drive.run(at(3_000), |_, _| {});
        if name != "supersede" {
            is_as_found(&drive.cluster);
        }
        if name.starts_with("delete") {
            assert!(!drive.cluster.has_finalizer, "{name}: {:#?}", drive.working);
        }
    }
}

#[test]
fn a_promotion_by_a_person_leaves_the_mode() {
    for full in [false, true] {
        let (mut drive, _values) = degraded("PartialRollback");
        let mut word = action(ActionKind::Promote, 1);
        word.full = full;
        drive.cluster.act(word);
        drive.run(at(41), |_, _| {});
        assert_eq!(told(&drive, Reason::DegradedModeLeft), 1);
        // The gate is judged anew, and fails anew: only a promotion in full is for good.
        assert_eq!(told(&drive, Reason::DegradedModeEntered), if full { 1 } else { 2 });
        if !full {
            assert_eq!(weight_of(&drive.cluster, "shop-api").0, 50);
        }
        if full {
            drive.run(at(1_000), |cluster, _| is_as_found(cluster));
            assert_eq!(drive.working.state, RolloutState::Completed);
        }
    }
}

#[test]
fn a_crash_after_any_write_loses_no_value() {
    let end = |crash_after: usize| {
        let (mut drive, values) = play(cluster("PartialRollback"));
        drive.cluster.push_image("shop-api", "app:v2");
        drive.run(at(20), |_, _| {});
        values.borrow_mut().insert("slow".into(), 1.0);
        let mut writes = 0;
        for _ in 0..2_000 {
            if drive.cluster.now > at(80) {
                values.borrow_mut().clear();
            }
            let plan = drive.turn(&mut |cluster, _| {
                writes += 1;
                let run = cluster.status.run.as_ref().unwrap();
                let found = run.degraded.iter().flat_map(|it| &it.switches).find(|it| it.key == "SEARCH");
                if cluster.config("flags", "SEARCH") == Some("off") {
                    assert_eq!(
                        found.and_then(|it| it.found.as_deref()),
                        Some("on"),
                        "changed before it was stored"
                    );
                }
                writes != crash_after
            });
            let is_busy = plan.persist || !plan.writes.is_empty() || drive.plan() != plan;
            match drive.next(&plan) {
                _ if is_busy => {}
                None => break,
                Some(next) => drive.cluster.now = next.max(drive.cluster.now),
            }
        }
        is_as_found(&drive.cluster);
        assert_eq!(drive.working.state, RolloutState::Completed, "crash after {crash_after}");
        assert!(told(&drive, Reason::DegradedModeEntered) >= 1);
        assert!(!drive.happened.iter().any(|(_, it)| it.message.contains("is left as it is")));
        writes
    };
    let writes = end(usize::MAX);
    for crash_after in 1..=writes {
        end(crash_after);
    }
}

#[test]
fn a_switch_that_cannot_be_set_is_said_and_given_up_after_the_progress_deadline() {
    let (mut drive, values) = play(cluster("FullRollback"));
    drive.cluster.refused_writes.insert("flags".into(), "no right to patch".into());
    drive.cluster.push_image("shop-api", "app:v2");
    drive.run(at(20), |_, _| {});
    values.borrow_mut().insert("slow".into(), 1.0);
    let writes = drive.cluster.write_count;
    drive.run(at(500), |cluster, _| is_as_found(cluster));
    assert_eq!(drive.working.state, RolloutState::DegradedMode);
    assert_eq!(drive.working.message, "degraded mode no-search is being entered: no right to patch");
    // Its gates are asked every ten seconds; the API server, which refuses, every thirty.
    assert!(drive.cluster.write_count - writes < 40, "{} writes", drive.cluster.write_count - writes);
    drive.run(at(900), |cluster, _| is_as_found(cluster));
    assert_eq!(drive.cluster.runs["shop-1"], Some(Outcome::RolledBack));
    let reason = &drive.working.run.as_ref().unwrap().reason;
    assert_eq!(reason, "degraded mode no-search cannot be entered: no right to patch");
    assert_eq!(mode(&drive.working.run, "no-search").state, DegradedState::Left);
}

#[test]
fn a_switch_that_cannot_be_set_back_is_handed_to_a_person_at_the_end() {
    let (mut drive, _values) = degraded("PartialRollback");
    drive.cluster.refused_writes.insert("flags".into(), "no right to patch".into());
    drive.cluster.act(action(ActionKind::Abort, 1));
    drive.run(at(100), |_, _| {});
    assert_eq!(weight_of(&drive.cluster, "shop-api").0, 0);
    assert_eq!(drive.working.state, RolloutState::RollingBack);
    assert!(
        drive.working.message.contains("no-search is being left: no right to patch"),
        "{}",
        drive.working.message
    );
    drive.run(at(1_000), |_, _| {});
    assert_eq!(drive.working.state, RolloutState::RolledBack);
    is_set(&drive.cluster);
    let left = drive.happened.iter().find(|(_, it)| it.reason == Reason::DegradedModeLeft).unwrap();
    assert!(left.1.message.contains("could not set back flags/"), "{}", left.1.message);
}

#[test]
fn a_right_that_comes_back_in_time_sets_the_switches_back() {
    let (mut drive, _values) = degraded("PartialRollback");
    drive.cluster.refused_writes.insert("flags".into(), "no right to patch".into());
    drive.cluster.act(action(ActionKind::Abort, 1));
    drive.run(at(100), |_, _| {});
    is_set(&drive.cluster);
    drive.cluster.refused_writes.clear();
    drive.run(at(200), |_, _| {});
    is_as_found(&drive.cluster);
    assert_eq!(drive.working.state, RolloutState::RolledBack);
}

#[test]
fn a_config_map_that_cannot_be_looked_at_keeps_no_gate_from_being_asked() {
    let (mut drive, values) = play(cluster("PartialRollback"));
    drive.cluster.push_image("shop-api", "app:v2");
    drive.run(at(20), |_, _| {});
    drive.cluster.refused_reads.insert("flags".into(), "no right to get".into());
    drive.crash();
    values.borrow_mut().insert("slow".into(), 1.0);
    drive.run(at(60), |_, _| {});
    assert!(drive.working.message.ends_with("no right to get"), "{}", drive.working.message);
    values.borrow_mut().insert("errors".into(), 1.0);
    drive.run(at(90), |_, _| {});
    assert_eq!(drive.working.state, RolloutState::RolledBack);
    is_as_found(&drive.cluster);
}

#[test]
fn lost_pods_get_their_share_back_while_the_mode_is_on() {
    let (mut drive, values) = degraded("PartialRollback");
    drive.cluster.lose_pods("app:v2");
    drive.run(at(60), |_, _| {});
    values.borrow_mut().clear();
    assert_eq!(drive.run(at(3_000), |_, _| {}), Stop::AtRest);
    is_as_found(&drive.cluster);
    assert_eq!(drive.working.state, RolloutState::Completed);
    assert!(drive.working.components.iter().all(|c| c.stage == Stage::Idle));
}

#[test]
fn a_wrong_switch_stalls_with_its_field_and_its_cure() {
    type Break = fn(&mut Cluster);
    let wrongs: [(&str, Break); 9] = [
        ("[no-search].switches[0].configMap: there is no ConfigMap flags: create", |c| {
            drop(c.config_maps.remove("flags"))
        }),
        ("[no-search].switches[0].configMap: the ConfigMap flags is immutable: replace", |c| {
            c.config_maps.get_mut("flags").unwrap().is_immutable = true;
        }),
        ("[no-search].switches[0].key: the ConfigMap flags has no key flags.json for the pointer", |c| {
            c.edit_config_map("flags", |data| drop(data.remove("flags.json")));
        }),
        (
            "[no-search].switches[0].pointer: the key flags.json of the ConfigMap flags: it has no object at /flags",
            |c| {
                c.edit_config_map("flags", |data| drop(data.insert("flags.json".into(), "{}".into())));
            },
        ),
        (
            "[no-search].switches[0].pointer: the key flags.json of the ConfigMap flags: it holds no JSON",
            |c| {
                c.edit_config_map("flags", |data| drop(data.insert("flags.json".into(), "on: true".into())));
            },
        ),
        ("[no-search].switches[0].json: json is no JSON value", |c| {
            c.edit_spec(|spec| spec.degraded_modes[0].switches[0].json = Some("off".into()));
        }),
        (
            "[no-search].switches[1].key: what the key SEARCH of the ConfigMap flags holds now is longer",
            |c| {
                c.edit_config_map("flags", |data| drop(data.insert("SEARCH".into(), "x".repeat(20_000))));
            },
        ),
        ("[no-chat].switches[0]: degradedModes[no-search].switches[1] sets the same place", |c| {
            c.edit_spec(|spec| spec.degraded_modes[1].switches[0].key = "SEARCH".into());
        }),
        ("[no-search].switches[0].configMap: no right to get", |c| {
            c.refused_reads.insert("flags".into(), "no right to get".into());
        }),
    ];
    for (says, wrong) in wrongs {
        let mut cluster = cluster("PartialRollback");
        wrong(&mut cluster);
        let (mut drive, _values) = play(cluster);
        assert_eq!(drive.working.state, RolloutState::Stalled, "{says}");
        let says = format!("spec.degradedModes{says}");
        assert!(drive.working.message.starts_with(&says), "{says}\n{}", drive.working.message);
        drive.cluster.refused_reads.clear();
        drive.cluster.add_config_map("flags", &[("flags.json", FILE), ("SEARCH", "on")]);
        drive.cluster.edit_spec(|it| *it = spec("PartialRollback"));
        drive.run(at(100), |_, _| {});
        assert_eq!(drive.working.state, RolloutState::Idle, "{says}");
    }
}

#[test]
fn a_rollout_at_rest_looks_at_no_config_map() {
    let (mut drive, _values) = play(cluster("PartialRollback"));
    drive.crash();
    for _ in 0..5 {
        let plan = drive.turn(&mut |_, _| true);
        assert!(plan.look.is_empty() && plan.wake_at.is_none(), "{plan:#?}");
    }
}
