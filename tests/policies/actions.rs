//! Actions: who asks is who is written down, and nobody asks for more than they may.

use anyhow::{Result, ensure};

use super::place::{Place, action, documents, refused};
use super::{Body, case};

pub fn cases() -> Vec<(String, Body)> {
    vec![
        case("action_author_is_stamped", author_is_stamped),
        case("action_on_another_rollout_is_refused", |place| {
            refused(
                place.dry_run("ana", &action("other", "Abort")),
                r#"user "ana" may not abort the Rollout "other""#,
            )
        }),
        case("action_of_another_verb_is_refused", |place| {
            let words =
                r#"ask for a Role with the verb "promote" on rollouts.palier.dev in the namespace "shop""#;
            refused(place.dry_run("ana", &action("shop", "Promote")), words)
        }),
        case("action_cannot_be_changed", cannot_be_changed),
        case("action_forged_where_nobody_stamps_is_refused", forged_without_stamp),
        case("operator_role_may_ask_for_everything", operator_role),
    ]
}

fn author_is_stamped(place: &Place) -> Result<()> {
    let stored = documents(&place.dry_run("ana", &action("shop", "Abort"))?)?;
    let by = &stored[0]["spec"]["requestedBy"];
    ensure!(by["user"] == "ana", "{by}");
    ensure!(by["groups"] == serde_json::json!(["people", "system:authenticated"]), "{by}");
    Ok(())
}

fn cannot_be_changed(place: &Place) -> Result<()> {
    let named = action("shop", "Abort").replace("generateName: shop-", "name: to-change");
    place.apply("ana", &named)?;
    let patch = r#"{"spec": {"reason": "another"}}"#;
    let edit = ["patch", "rolloutaction", "to-change", "-n", "shop", "--type=merge", "-p", patch];
    refused(place.kubectl("ana", &edit), "a RolloutAction cannot be changed: create another one")?;
    // Not even by an administrator, and not its author either.
    let patch = r#"{"spec": {"requestedBy": {"user": "ben"}}}"#;
    let edit = ["patch", "rolloutaction", "to-change", "-n", "shop", "--type=merge", "-p", patch];
    refused(place.kubectl("admin", &edit), "a RolloutAction cannot be changed: create another one")?;
    place.kubectl(
        "ana",
        &[
            "patch",
            "rolloutaction",
            "to-change",
            "-n",
            "shop",
            "--type=merge",
            "-p",
            r#"{"metadata": {"labels": {"a": "b"}}}"#,
        ],
    )?;
    Ok(())
}

/// Before Kubernetes 1.36 there is no stamp; the check alone must hold.
fn forged_without_stamp(place: &Place) -> Result<()> {
    let binding = "mutatingadmissionpolicybinding";
    let stored = place.kubectl("admin", &["get", binding, "palier-action-author", "-o", "yaml"])?;
    place.kubectl("admin", &["delete", binding, "palier-action-author"])?;
    let result = place.lab.block_on(super::lab::eventually(
        "a forged author is refused",
        std::time::Duration::from_secs(20),
        async || {
            let forged = place.dry_run("ana", &action("shop", "Abort"));
            refused(
                forged,
                r#"spec.requestedBy must be you: user "ana" with the groups [people, system:authenticated]"#,
            )?;
            let honest = action("shop", "Abort").replace(
                "user: root, groups: [a, 'system:masters']",
                "user: ana, groups: [people, 'system:authenticated']",
            );
            place.dry_run("ana", &honest)?;
            Ok(())
        },
    ));
    let clean: String = stored
        .lines()
        .filter(|line| !line.contains("resourceVersion:") && !line.contains("uid:"))
        .map(|line| format!("{line}\n"))
        .collect();
    let file = place.file(&clean)?;
    place.kubectl("admin", &["create", "-f", &file])?;
    let back = place.lab.block_on(super::lab::eventually(
        "the stamp is back",
        std::time::Duration::from_secs(20),
        async || {
            place.dry_run("ana", &action("shop", "Abort"))?;
            Ok(())
        },
    ));
    result.and(back)
}

/// The role for people on call, given in one namespace, is enough for every action there and for none elsewhere.
fn operator_role(place: &Place) -> Result<()> {
    place.kubectl(
        "admin",
        &["create", "rolebinding", "oncall", "-n", "shop", "--clusterrole=palier-operator", "--user=mallory"],
    )?;
    let all = ["Abort", "Promote", "Pause", "Resume", "Retry"];
    let result = all.iter().try_for_each(|verb| place.dry_run("mallory", &action("any", verb)).map(drop));
    place.kubectl("admin", &["delete", "rolebinding", "oncall", "-n", "shop"])?;
    result
}
