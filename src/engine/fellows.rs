//! Components that went back only because of another: nobody judged them, so that they come along with its next template.

use std::collections::BTreeSet;

use crate::api::{ComponentStatus, Stage};

use super::order::foundations;
use super::plan::Reason;
use super::rest;
use super::turn::Turn;

/// No run is on, and something that a component went back with has a new template: the component is released with it,
/// in the order of the dependencies. It stays where it is while anything else that it depends on is rejected, and when
/// the former template comes back instead: that is no proof of what it depends on.
pub(super) fn come_along(turn: &mut Turn<'_>) {
    let went_with = |c: &ComponentStatus| {
        c.stage == Stage::RolledBack && c.rejected.is_some() && !c.went_back_with.is_empty()
    };
    if !turn.status.components.iter().any(went_with) {
        return;
    }
    let mut released = BTreeSet::new();
    turn.for_each(|_, component, part| {
        if part.spec.is_some() && rest::is_candidate(component, part) {
            released.insert(part.name.clone());
        }
    });
    // Each may be what another one waits for.
    while let Some(name) = next(turn, &released) {
        let of = |c: &&mut ComponentStatus| c.name == name;
        let Some(component) = turn.status.components.iter_mut().find(of) else { return };
        component.rejected = None;
        let with = std::mem::take(&mut component.went_back_with);
        let message = format!("it went back with {with} and was not judged: it is released again, after it");
        turn.happen(&name, Reason::ReleasedAgain, message);
        released.insert(name);
    }
    wait_for_others(turn, &released);
}

/// What would have come along, were it not for another component that is rejected too, waits for that one's next template.
fn wait_for_others(turn: &mut Turn<'_>, released: &BTreeSet<String>) {
    let rejected: BTreeSet<String> =
        turn.status.components.iter().filter(|c| c.rejected.is_some()).map(|c| c.name.clone()).collect();
    let spec = &turn.world.rollout.spec;
    for component in turn.status.components.iter_mut().filter(|c| released.contains(&c.went_back_with)) {
        let on = foundations(spec, &component.name);
        if let Some(other) = on.iter().find(|name| rejected.contains(*name) && !released.contains(*name)) {
            component.went_back_with.clone_from(other);
        }
    }
}

/// A component that comes along with those that are to be released.
fn next(turn: &Turn<'_>, released: &BTreeSet<String>) -> Option<String> {
    let spec = &turn.world.rollout.spec;
    let is_left = |name: &String| {
        let is_rejected = |c: &ComponentStatus| c.name == *name && c.rejected.is_some();
        !released.contains(name) && turn.status.components.iter().any(is_rejected)
    };
    let comes = |c: &&ComponentStatus| {
        let on = foundations(spec, &c.name);
        c.stage == Stage::RolledBack
            && c.rejected.is_some()
            && !released.contains(&c.name)
            && released.contains(&c.went_back_with)
            && on.contains(&c.went_back_with)
            && !on.iter().any(is_left)
    };
    turn.status.components.iter().find(comes).map(|c| c.name.clone())
}
