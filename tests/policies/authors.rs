//! Rollouts and statuses: nobody changes through Palier what they may not change themselves, and only Palier says how a
//! run went.

use anyhow::{Result, ensure};
use kube::api::{Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use palier::api::{Rollout, RolloutRun};
use serde_json::{Value, json};

use super::place::{Place, RUN_RECORD, documents, refused, rollout};
use super::{Body, case};

const CONTROLLER: &str = "--as=system:serviceaccount:palier-system:palier";

pub fn cases() -> Vec<(String, Body)> {
    vec![
        case("author_needs_each_object", each_object),
        case("author_by_name_up_to_the_limit", by_name),
        case("author_of_hooks_needs_to_create_jobs", hooks),
        case("author_needs_each_switch", each_switch),
        case("author_may_add_labels_and_finalizers", only_the_spec),
        case("status_is_written_by_the_controller_only", status_writer),
        case("policies_have_no_type_warnings", no_type_warnings),
    ]
}

/// A Rollout of `count` components that name `own-1` … for everything.
fn many(count: usize, kind: &str) -> String {
    let component = |i: usize| {
        format!(
            "  - name: c{i}\n    workloadRef: {{name: own-{i}}}\n    traffic: {{service: own-{i}, gatewayAPI: {{{kind}: [{{name: own-{i}}}]}}}}\n"
        )
    };
    let components: String = (1..=count).map(component).collect();
    format!(
        "apiVersion: palier.dev/v1alpha1\nkind: Rollout\nmetadata: {{name: many, namespace: shop}}\nspec:\n  components:\n{components}"
    )
}

fn each_object(place: &Place) -> Result<()> {
    place.dry_run("ben", &rollout("shop", "own"))?;
    place.dry_run("admin", &rollout("shop", "foreign"))?;
    refused(
        place.dry_run("ben", &rollout("shop", "foreign")),
        r#"user "ben" may not patch the Deployment "foreign" that this Rollout names"#,
    )?;
    for kind in ["httpRoutes", "grpcRoutes"] {
        let good = many(1, kind);
        place.dry_run("ben", &good)?;
        let service = good.replace("service: own-1", "service: foreign");
        refused(
            place.dry_run("ben", &service),
            r#"may not patch the Service "foreign" that this Rollout names"#,
        )?;
        let route = good.replace("[{name: own-1}]", "[{name: own-1}, {name: foreign}]");
        let words = format!("may not patch the {}Route \"foreign\"", kind[..4].to_uppercase());
        refused(place.dry_run("ben", &route), &words)?;
    }
    Ok(())
}

fn hooks(place: &Place) -> Result<()> {
    let with_hook = format!(
        "{}  hooks:\n  - {{name: backup, at: BeforeRun, cronJobRef: {{name: backup}}}}\n",
        many(7, "httpRoutes")
    );
    refused(
        place.dry_run("ben", &with_hook),
        r#"user "ben" may not create Jobs, which the hooks of this Rollout do"#,
    )?;
    place.dry_run("admin", &with_hook)?;
    let role = ["create", "role", "jobs", "-n", "shop", "--verb=create", "--resource=jobs.batch"];
    place.kubectl("admin", &role)?;
    place.kubectl("admin", &["create", "rolebinding", "jobs", "-n", "shop", "--role=jobs", "--user=ben"])?;
    place.dry_run("ben", &with_hook)?;
    for kind in ["rolebinding", "role"] {
        place.kubectl("admin", &["delete", kind, "jobs", "-n", "shop"])?;
    }
    Ok(())
}

/// The API server's budget for one policy is enough for the most that the policy asks, and beyond that it says so.
fn by_name(place: &Place) -> Result<()> {
    for kind in ["httpRoutes", "grpcRoutes"] {
        place.dry_run("ben", &many(7, kind))?;
        refused(
            place.dry_run("ben", &many(8, kind)),
            "names more than 7 Deployments, and you may not patch all of the namespace",
        )?;
        place.dry_run("admin", &many(16, kind))?;
    }
    Ok(())
}

/// A Rollout whose degraded mode sets so many keys of a ConfigMap.
fn with_switches(count: usize, config_map: &str) -> String {
    let switch = |i: usize| format!("{{configMap: {config_map}, key: KEY-{i}, value: 'off'}}");
    let mode = |from: usize, to: usize| {
        let switches: Vec<String> = (from..to).map(switch).collect();
        format!("{{name: mode-{from}, switches: [{}]}}", switches.join(", "))
    };
    let modes: Vec<String> = (0..count).step_by(16).map(|from| mode(from, count.min(from + 16))).collect();
    let rollout = rollout("shop", "own");
    rollout
        .replace("spec: {components", &format!("spec: {{degradedModes: [{}], components", modes.join(", ")))
}

fn each_switch(place: &Place) -> Result<()> {
    place.dry_run("ben", &with_switches(24, "own"))?;
    let words = r#"user "ben" may not patch the ConfigMap "foreign" that this Rollout names"#;
    refused(place.dry_run("ben", &with_switches(1, "foreign")), words)?;
    let words = "more than 24 switches, and you may not patch all ConfigMaps of the namespace";
    refused(place.dry_run("ben", &with_switches(25, "own")), words)?;
    place.dry_run("admin", &with_switches(128, "foreign")).map(drop)
}

fn only_the_spec(place: &Place) -> Result<()> {
    place.apply("admin", &rollout("foreign", "foreign"))?;
    place.kubectl("ben", &["label", "rollout", "foreign", "-n", "shop", "team=a"])?;
    let patch = r#"{"metadata": {"finalizers": ["palier.dev/hand-back"]}}"#;
    place.kubectl(
        "admin",
        &["patch", CONTROLLER, "rollout", "foreign", "-n", "shop", "--type=merge", "-p", patch],
    )?;
    let patch = r#"{"spec": {"drainTime": "1m"}}"#;
    let edit =
        place.kubectl("ben", &["patch", "rollout", "foreign", "-n", "shop", "--type=merge", "-p", patch]);
    refused(edit, r#"user "ben" may not patch the Deployment "foreign""#)?;
    let patch = r#"{"metadata": {"finalizers": null}}"#;
    place.kubectl("admin", &["patch", "rollout", "foreign", "-n", "shop", "--type=merge", "-p", patch])?;
    place.kubectl("admin", &["delete", "rollout", "foreign", "-n", "shop"])?;
    Ok(())
}

fn status_writer(place: &Place) -> Result<()> {
    place.apply("admin", &rollout("shop", "own"))?;
    let patch = r#"{"status": {"state": "Completed"}}"#;
    let write =
        ["patch", "rollout", "shop", "-n", "shop", "--subresource=status", "--type=merge", "-p", patch];
    for user in ["ben", "admin"] {
        refused(
            place.kubectl(user, &write),
            "only the Palier controller (system:serviceaccount:palier-system:palier) may write rollouts/status",
        )?;
        refused(
            place.dry_run(user, RUN_RECORD),
            "only the Palier controller (system:serviceaccount:palier-system:palier) may write rolloutruns:",
        )?;
    }
    place.lab.block_on(controller_writes(place))?;
    let patch = r#"{"status": {"reason": "because"}}"#;
    let write =
        ["patch", "rolloutrun", "shop-1", "-n", "shop", "--subresource=status", "--type=merge", "-p", patch];
    refused(place.kubectl("admin", &write), "may write rolloutruns/status")
}

/// With the token of the chart's ServiceAccount and the rights that the chart gives it. Not by kubectl: that would read
/// the status before it writes, which the controller need not.
async fn controller_writes(place: &Place) -> Result<()> {
    let kubeconfig = Kubeconfig::read_from(place.lab.token_for("palier-system", "palier").await?)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    let client = Client::try_from(config)?;
    let rollouts: Api<Rollout> = Api::namespaced(client.clone(), "shop");
    let runs: Api<RolloutRun> = Api::namespaced(client, "shop");
    let patch = |status: Value| Patch::Merge(json!({"status": status}));
    rollouts.patch_status("shop", &PatchParams::default(), &patch(json!({"state": "Completed"}))).await?;
    let documents = documents(RUN_RECORD)?;
    let record: RolloutRun = serde_json::from_value(documents[0].clone())?;
    runs.create(&PostParams::default(), &record).await?;
    runs.patch_status("shop-1", &PatchParams::default(), &patch(json!({"reason": "because"}))).await?;
    Ok(())
}

/// The control plane checks the expressions against the kinds that they match, and tells what does not fit.
fn no_type_warnings(place: &Place) -> Result<()> {
    let path = "jsonpath={range .items[*]}{.metadata.name}{' '}{.status.observedGeneration}{' '}{.status.typeChecking.expressionWarnings}{'\\n'}{end}";
    let checked = place.lab.block_on(super::lab::eventually(
        "the policies are checked",
        std::time::Duration::from_secs(30),
        async || {
            let all = place.kubectl("admin", &["get", "validatingadmissionpolicies", "-o", path])?;
            let unchecked: Vec<&str> =
                all.lines().filter(|line| line.split(' ').nth(1).is_none_or(str::is_empty)).collect();
            if unchecked.is_empty() && all.lines().count() == 6 { Ok(all) } else { Err(all.into()) }
        },
    ))?;
    ensure!(!checked.contains("warning"), "{checked}");
    Ok(())
}
