//! The degraded modes of the spec against the cluster. Every message names the field and the cure.

use crate::api::Switch;
use crate::engine::checks::Checked;
use crate::engine::plan::Inquiry;
use crate::engine::switches::{self, Sight, SwitchError, sight};
use crate::engine::turn::Turn;

/// What all switches together may have to remember and to set, in bytes: it is kept in the status.
const TOTAL_MAX: usize = 262_144;

/// Checks every switch: its place must be there, be free to be changed, and belong to one mode.
pub(in crate::engine) fn check(turn: &mut Turn<'_>) -> Checked {
    let world = turn.world;
    let mut known: Vec<(String, &Switch)> = Vec::new();
    let (mut total, mut is_looking) = (0, false);
    for mode in &world.rollout.spec.degraded_modes {
        for (index, switch) in mode.switches.iter().enumerate() {
            let field = format!("degradedModes[{}].switches[{index}]", mode.name);
            if let Some((other, _)) = known.iter().find(|(_, other)| switches::overlap(other, switch)) {
                let says =
                    format!("{other} sets the same place: a place belongs to one switch, take one out");
                return problem(&field, &says);
            }
            known.push((field.clone(), switch));
            match sight(world, &switch.config_map) {
                Sight::Unseen => {
                    turn.look(Inquiry::ConfigMap(switch.config_map.clone()));
                    is_looking = true;
                }
                Sight::Refused(words) => return problem(&format!("{field}.configMap"), words),
                Sight::Gone => {
                    let error = SwitchError::NoConfigMap(switch.config_map.clone());
                    return problem(&format!("{field}.configMap"), &error.to_string());
                }
                Sight::Seen(config_map) => match switches::record(switch, config_map) {
                    Ok(it) => total += it.set.len() + it.found.as_ref().map_or(0, String::len),
                    Err(error) => {
                        return problem(&format!("{field}.{}", field_of(&error)), &error.to_string());
                    }
                },
            }
        }
    }
    if total > TOTAL_MAX {
        let says = format!(
            "the switches would have to remember {total} bytes, and {TOTAL_MAX} is the most: use pointers to the switches \
             instead of whole keys"
        );
        return problem("degradedModes", &says);
    }
    if is_looking { Checked::Looking } else { Checked::Sound }
}

fn problem(field: &str, says: &str) -> Checked {
    Checked::Unsound(format!("spec.{field}: {says}"))
}

const fn field_of(error: &SwitchError) -> &'static str {
    match error {
        SwitchError::NoConfigMap(_) | SwitchError::Immutable(_) => "configMap",
        SwitchError::NoKey(..) | SwitchError::TooLong(..) => "key",
        SwitchError::Place { .. } => "pointer",
        SwitchError::NotJson(_) => "json",
        SwitchError::LongValue => "value",
    }
}
