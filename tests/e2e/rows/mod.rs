//! The scenarios, by the row of the table that each belongs to (see README.md).

mod answers;
mod config;
mod counting;
mod degraded;
mod fire;
mod fire_cluster;
mod fire_secrets;
mod fire_watches;
mod forms;
mod gate_templates;
mod gitops;
mod hooks;
mod kills;
mod leaders;
mod letting_go;
mod parts;
mod parts_back;
mod parts_restore;
mod parts_room;
mod refusals;
mod releases;
mod rights;
mod rights_asked;
mod rollbacks;
mod sizes;
mod templates;

use crate::Scenario;
use crate::scenario;
use crate::world::Crew::{Own, Shared};

/// Scenarios for the pair of controllers that works on the whole cluster, under the chart's cluster-wide roles and policies.
/// The longest come first.
pub fn with_the_shared_pair() -> Vec<Scenario> {
    vec![
        scenario!(Shared, rollbacks::row02_errors_go_back_twenty_times),
        scenario!(Shared, counting::counting1_the_same_again_twenty_times),
        scenario!(Shared, parts::parts1_a_chain_reaches_everyone),
        scenario!(Shared, parts_back::parts3_all_go_back_the_last_first),
        scenario!(Shared, parts::parts2_the_third_fails_at_half),
        scenario!(Shared, parts_back::parts5_two_steps_back_then_out),
        scenario!(Shared, parts_room::parts7_extra_pods_stay_in_their_room),
        scenario!(Shared, degraded::degraded_entered_left_entered_again_given_up),
        scenario!(Shared, counting::counting2_three_times_the_errors_are_found),
        scenario!(Shared, counting::counting3_a_slow_tail_is_found),
        scenario!(Shared, counting::counting6_a_preset_counts_at_the_gateway),
        scenario!(Shared, counting::counting7_a_preset_is_chosen_by_what_the_server_has),
        scenario!(Shared, counting::counting8_a_slow_tail_is_found_in_exponential_buckets),
        scenario!(Shared, counting::counting9_a_slow_tail_is_found_in_custom_buckets),
        scenario!(Shared, counting::counting4_what_an_outage_hid_is_counted_later),
        scenario!(Shared, degraded::degraded_given_up_by_one_of_two),
        scenario!(Shared, fire_secrets::fire7_secrets_are_never_shown),
        scenario!(Shared, releases::row01_good_image_reaches_everyone),
        scenario!(Shared, refusals::row12_bad_manifests_are_refused),
        scenario!(Shared, sizes::row07_scaled_at_each_phase),
        scenario!(Shared, hooks::row14_hooks_of_a_good_run),
        scenario!(Shared, hooks::row14_failed_hooks_and_their_policies),
        scenario!(Shared, hooks::row14_failed_backup_aborts),
        scenario!(Shared, rollbacks::row02_rejected_template_waits),
        scenario!(Shared, rollbacks::row03_slow_goes_back),
        scenario!(Shared, rollbacks::row05_never_ready_goes_back),
        scenario!(Shared, rollbacks::row05_killed_for_its_memory_goes_back),
        scenario!(Shared, rollbacks::row05_image_that_cannot_be_had_goes_back),
        scenario!(Shared, templates::row06_third_image_at_half),
        scenario!(Shared, templates::row06_old_image_at_half),
        scenario!(Shared, answers::row04_prometheus_gone),
        scenario!(Shared, answers::row04_not_a_number),
        scenario!(Shared, answers::row04_empty),
        scenario!(Shared, answers::row04_login_page),
        scenario!(Shared, answers::row04_too_many_requests),
        scenario!(Shared, answers::row04_two_series),
        scenario!(Shared, answers::row04_abort_without_answers),
        scenario!(Shared, letting_go::row08_deleted_at_pilot_rollback),
        scenario!(Shared, letting_go::row08_deleted_at_half_rollback),
        scenario!(Shared, letting_go::row08_deleted_at_everyone_rollback),
        scenario!(Shared, letting_go::row08_deleted_at_pilot_promote),
        scenario!(Shared, letting_go::row08_deleted_at_half_promote),
        scenario!(Shared, letting_go::row08_deleted_at_everyone_promote),
        scenario!(Shared, letting_go::row08_deleted_at_rest),
        scenario!(Shared, letting_go::row08_namespace_deleted_at_half),
        scenario!(Shared, letting_go::row08_deleted_after_a_rollback),
        scenario!(Shared, config::row15_bad_value_goes_back),
        scenario!(Shared, config::row15_good_value_reaches_everyone),
        scenario!(Shared, config::row15_with_another_image),
        scenario!(Shared, config::row15_authors_must_be_allowed_to_read),
        scenario!(Shared, gate_templates::row16_gates_of_a_template_judge_a_release),
        scenario!(Shared, gate_templates::row16_template_is_edited_and_deleted_in_a_run),
        scenario!(Shared, forms::row13_at_rest),
        scenario!(Shared, forms::row13_share_of_pods),
        scenario!(Shared, forms::row13_two_components),
        scenario!(Shared, forms::row13_route_of_five_rules),
        scenario!(Shared, forms::row13_grpc_route),
    ]
}

/// Scenarios that start, kill or freeze controllers, or change their rights: each has controllers of its own, in namespaced mode.
/// They are played after the others, when the cluster-wide chart is gone.
pub fn with_controllers_of_their_own() -> Vec<Scenario> {
    vec![
        scenario!(Own(0), parts_restore::parts3_all_back_and_restored_once),
        scenario!(Own(1), parts_back::parts3_killed_at_each_write_of_the_way_back),
        scenario!(Own(1), counting::counting5_prometheus_is_restarted),
        scenario!(Own(0), rights::row11_each_rule_is_needed),
        scenario!(Own(0), fire::fire1_too_late),
        scenario!(Own(0), fire::fire1_replies_are_lost),
        scenario!(Own(0), fire::fire1_requests_are_dropped),
        scenario!(Own(0), fire::fire1_delivered_twice),
        scenario!(Own(0), fire::fire1_conflicts),
        scenario!(Own(0), fire::fire1_too_many_requests),
        scenario!(Own(0), fire::fire1_server_errors),
        scenario!(Own(0), fire::fire1_unavailable),
        scenario!(Own(0), fire_watches::fire2_watches_are_cut_in_their_frames),
        scenario!(Own(0), fire_watches::fire2_watches_crawl),
        scenario!(Own(0), fire_watches::fire2_watches_fall_silent),
        scenario!(Own(0), fire_watches::fire3_late_intent_of_a_former_leader),
        scenario!(Own(0), fire_watches::fire3_late_weight_of_a_former_leader),
        scenario!(Own(0), fire_cluster::fire4_right_taken_and_given_back),
        scenario!(Own(0), fire_cluster::fire4_token_expires),
        scenario!(Own(0), rights_asked::row11_each_right_of_hooks_and_switches),
        scenario!(Own(1), gitops::row10_applied_by_the_server),
        scenario!(Own(1), gitops::row10_applied_by_the_client),
        scenario!(Own(1), kills::row09_killed_at_each_stage_of_a_release),
        scenario!(Own(1), kills::row09_killed_at_each_stage_of_a_rollback),
        scenario!(Own(0), leaders::row09_frozen_leader_continues),
        scenario!(Own(2), leaders::row09_ended_leader_makes_room),
        scenario!(Own(1), forms::row13_one_namespace_alone),
        scenario!(Own(0), hooks::row14_killed_between_attempt_and_job),
        scenario!(Own(0), hooks::row14_killed_while_it_restores),
    ]
}

/// Scenarios with a controller of the whole cluster that is not the shared pair: they are played after it, each alone.
pub fn alone() -> Vec<Scenario> {
    vec![
        scenario!(Own(0), config::row15_killed_at_each_write_of_the_way_back),
        scenario!(Own(0), rights_asked::row11_each_right_on_config_maps),
        scenario!(Own(0), rights_asked::row11_each_right_on_secrets_and_of_the_cluster),
    ]
}

/// Scenarios that shake the control plane itself: they are played last, each alone.
pub fn shaking_the_control_plane() -> Vec<Scenario> {
    vec![
        scenario!(Own(0), fire_cluster::fire5_etcd_stands_still_and_the_api_server_dies),
        scenario!(Own(0), fire_cluster::fire6_an_api_server_of_the_past),
    ]
}
