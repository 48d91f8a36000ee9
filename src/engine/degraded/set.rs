//! The switches of degraded modes: recorded, set, watched and set back.

use crate::api::{DegradedState, DegradedStatus, RunIntent, Stage, SwitchState, SwitchStatus};
use crate::engine::flaw::{self, Flaw};
use crate::engine::plan::{Inquiry, Reason};
use crate::engine::switches::{self, Drafts, Sight, SwitchError, sight};
use crate::engine::turn::{Turn, after, takes_part};
use crate::engine::world::ConfigMapSeen;

use super::{LOOK_AGAIN, say, spec_of, words};

/// One step of every mode. The ConfigMaps are written once for all of them.
pub(super) fn step(turn: &mut Turn<'_>) {
    let Some(run) = turn.run_on() else { return };
    let mut modes = std::mem::take(&mut run.degraded);
    let mut drafts = Drafts::default();
    for mode in modes.iter_mut().filter(|mode| mode.state != DegradedState::Left) {
        match mode.state {
            DegradedState::Entering => come_on(turn, mode, &mut drafts),
            DegradedState::On => watch(turn, mode),
            DegradedState::Leaving => set_back(turn, mode, &mut drafts),
            DegradedState::Left => {}
        }
        turn.wake_after(LOOK_AGAIN);
    }
    if let Some(run) = turn.run_on() {
        run.degraded = modes;
    }
    for write in drafts.into_writes() {
        turn.write(write);
    }
}

/// Whether the API server refuses to let a switch of the mode be set back.
pub(super) fn is_refused(turn: &Turn<'_>, mode: &DegradedStatus) -> bool {
    let is_open = |it: &&SwitchStatus| matches!(it.state, SwitchState::Recorded | SwitchState::Set);
    mode.switches.iter().filter(is_open).any(|it| turn.world.refusals.contains_key(&it.config_map))
}

/// The mode comes on: all of its switches are recorded before the first is set.
fn come_on<'w>(turn: &mut Turn<'w>, mode: &mut DegradedStatus, drafts: &mut Drafts<'w>) {
    if mode.switches.is_empty() {
        let Some(spec) = spec_of(turn, mode) else { return };
        let mut recorded = Vec::new();
        for switch in &spec.switches {
            let Some(config_map) = look(turn, mode, &switch.config_map) else { continue };
            match switches::record(switch, config_map) {
                Ok(switch) => recorded.push(switch),
                Err(error) => say(mode, &error.to_string()),
            }
        }
        if recorded.len() < spec.switches.len() {
            return;
        }
        mode.switches = recorded;
    }
    let mut all = std::mem::take(&mut mode.switches);
    for switch in all.iter_mut().filter(|it| it.state == SwitchState::Recorded) {
        if let Err(error) = set(turn, mode, switch, drafts) {
            say(mode, &error.to_string());
        }
    }
    mode.switches = all;
    if mode.switches.iter().all(|it| it.state != SwitchState::Recorded) {
        (mode.state, mode.since) = (DegradedState::On, Some(turn.now));
        mode.message.clear();
    }
}

fn set<'w>(
    turn: &mut Turn<'w>,
    mode: &mut DegradedStatus,
    switch: &mut SwitchStatus,
    drafts: &mut Drafts<'w>,
) -> Result<(), SwitchError> {
    let Some(config_map) = look(turn, mode, &switch.config_map) else { return Ok(()) };
    let now = switches::present(config_map, &switch.key, switch.pointer.as_deref())?;
    let is_same = config_map.at.uid == switch.uid;
    if is_same && switches::holds(switch, now, Some(&switch.set)) {
        switch.state = SwitchState::Set;
        return Ok(());
    }
    if !is_same || !switches::holds(switch, now, switch.found.as_deref()) {
        // Somebody was quicker than our first write: theirs is what goes back later.
        if now.is_some_and(|now| now.len() > switches::FOUND_MAX) {
            return Err(SwitchError::TooLong(switch.config_map.clone(), switch.key.clone()));
        }
        (switch.uid, switch.found) = (config_map.at.uid.clone(), now.map(str::to_owned));
    }
    change(turn, mode, config_map, switch, drafts, Some(switch.set.as_str()))
}

/// While a mode is on, its switches are only looked at.
fn watch(turn: &mut Turn<'_>, mode: &mut DegradedStatus) {
    let mut all = std::mem::take(&mut mode.switches);
    let mut refused = Some(String::new());
    for switch in all.iter_mut().filter(|it| it.state == SwitchState::Set) {
        match sight(turn.world, &switch.config_map) {
            Sight::Unseen => {
                refused = None;
                turn.look(Inquiry::ConfigMap(switch.config_map.clone()));
            }
            Sight::Refused(words) => refused = refused.map(|_| words.to_owned()),
            Sight::Gone => leave_to_others(turn, mode, switch, "is gone"),
            Sight::Seen(config_map) if !is_at(config_map, switch, Some(&switch.set)) => {
                leave_to_others(turn, mode, switch, "was changed by somebody else");
            }
            Sight::Seen(_) => {}
        }
    }
    mode.switches = all;
    if let Some(words) = refused {
        say(mode, &words);
    }
}

/// Sets the switches back, each only if it is still as we set it.
fn set_back<'w>(turn: &mut Turn<'w>, mode: &mut DegradedStatus, drafts: &mut Drafts<'w>) {
    let mut all = std::mem::take(&mut mode.switches);
    let is_open = |it: &SwitchStatus| matches!(it.state, SwitchState::Recorded | SwitchState::Set);
    for switch in all.iter_mut().rev().filter(|it| is_open(it)) {
        match sight(turn.world, &switch.config_map) {
            Sight::Unseen => turn.look(Inquiry::ConfigMap(switch.config_map.clone())),
            Sight::Refused(words) => say(mode, words),
            Sight::Gone => leave_to_others(turn, mode, switch, "is gone"),
            Sight::Seen(config_map) if is_at(config_map, switch, switch.found.as_deref()) => {
                switch.state = SwitchState::Restored;
            }
            Sight::Seen(config_map)
                if is_at(config_map, switch, Some(&switch.set))
                    || flaw::is(Flaw::ForeignSwitchOverwritten) =>
            {
                if let Err(error) = change(turn, mode, config_map, switch, drafts, switch.found.as_deref()) {
                    say(mode, &error.to_string());
                }
            }
            Sight::Seen(_) => leave_to_others(turn, mode, switch, "was changed by somebody else"),
        }
    }
    mode.switches = all;
    give_up_late(turn, mode);
    if !mode.switches.iter().any(is_open) {
        tell_left(turn, mode);
    }
}

/// Switches that the API server refuses to let be set back must not keep a run from its end for ever.
fn give_up_late(turn: &mut Turn<'_>, mode: &mut DegradedStatus) {
    let Some(limit) = mode.since.map(|at| after(at, turn.world.rollout.spec.progress_deadline)) else {
        return;
    };
    if !is_refused(turn, mode) {
        return;
    }
    if turn.now < limit {
        return turn.wake(limit);
    }
    for switch in &mut mode.switches {
        if matches!(switch.state, SwitchState::Recorded | SwitchState::Set) {
            switch.state = SwitchState::Stuck;
        }
    }
}

/// Plans the change of a switch, unless the API server has just refused one of that ConfigMap.
fn change<'w>(
    turn: &Turn<'w>,
    mode: &mut DegradedStatus,
    config_map: &'w ConfigMapSeen,
    switch: &SwitchStatus,
    drafts: &mut Drafts<'w>,
    to: Option<&str>,
) -> Result<(), SwitchError> {
    if let Some(words) = turn.world.refusals.get(&switch.config_map) {
        say(mode, words);
        return Ok(());
    }
    drafts.set(config_map, switch, to)
}

/// The ConfigMap, if it was found; else it is looked at, or the mode says what is wrong with it.
fn look<'w>(turn: &mut Turn<'w>, mode: &mut DegradedStatus, name: &str) -> Option<&'w ConfigMapSeen> {
    match sight(turn.world, name) {
        Sight::Seen(config_map) => return Some(config_map),
        Sight::Unseen => turn.look(Inquiry::ConfigMap(name.to_owned())),
        Sight::Refused(words) => say(mode, words),
        Sight::Gone => say(mode, &SwitchError::NoConfigMap(name.to_owned()).to_string()),
    }
    None
}

/// Whether the ConfigMap is the one that was recorded, and the switch holds this value in it.
fn is_at(config_map: &ConfigMapSeen, switch: &SwitchStatus, value: Option<&str>) -> bool {
    let now = switches::present(config_map, &switch.key, switch.pointer.as_deref());
    config_map.at.uid == switch.uid && now.is_ok_and(|now| switches::holds(switch, now, value))
}

fn leave_to_others(turn: &mut Turn<'_>, mode: &DegradedStatus, switch: &mut SwitchStatus, what: &str) {
    switch.state = SwitchState::Foreign;
    let message = format!(
        "{} {what} while degraded mode {} had set it: it is left as it is",
        switches::name_of(switch),
        mode.mode
    );
    turn.happen(&mode.component, Reason::ForeignChange, message);
}

fn tell_left(turn: &mut Turn<'_>, mode: &mut DegradedStatus) {
    let now = turn.now;
    (mode.state, mode.since, mode.passing_since) = (DegradedState::Left, Some(now), None);
    mode.message.clear();
    let of = |state: SwitchState| {
        let those = mode.switches.iter().filter(|it| it.state == state).map(switches::name_of);
        words::few(&those.collect::<Vec<_>>())
    };
    let (foreign, stuck) = (of(SwitchState::Foreign), of(SwitchState::Stuck));
    let mut message = format!("degraded mode {} is left", mode.mode);
    if !foreign.is_empty() {
        message += &format!("; somebody else has changed {foreign}");
    }
    if !stuck.is_empty() {
        message +=
            &format!("; it could not set back {stuck}: a person has to, status.run.degraded says to what");
    } else if foreign.is_empty() {
        message += ": every switch is as it was";
    }
    turn.happen(&mode.component, Reason::DegradedModeLeft, message);
    if turn.intent() == Some(RunIntent::Release) {
        // The time under the mode is nobody's fault: what was kept back begins anew.
        let held = turn.status.components.iter_mut().filter(|c| takes_part(c));
        for component in held.filter(|c| matches!(c.stage, Stage::Preparing | Stage::Raising)) {
            component.since = Some(now);
        }
    }
    turn.wake(now);
}
