//! What the chart renders is accepted by the API server, says what it should, and is what `deploy/` holds.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::place::{Place, documents, refused, root};
use super::{Body, case};

const MUTATING: &str = "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy";
const EVERYTHING: &str = "charts/palier/ci/everything-values.yaml";

pub fn cases() -> Vec<(String, Body)> {
    vec![
        case("chart_passes_lint", lint),
        case("chart_default_is_accepted", |place| accepted(place, &render(place, "1.36.0", &[])?)),
        case("chart_with_everything_is_accepted", everything),
        case("chart_namespaced_asks_for_no_cluster_right", namespaced),
        case("chart_before_1_36_has_no_mutating_policy", before_1_36),
        case("chart_gives_rights_on_jobs_only_for_hooks", rights_for_hooks),
        case("chart_refuses_unknown_values", |place| {
            refused(render(place, "1.36.0", &["--set", "replica=3"]), "replica")
        }),
        case("chart_refuses_old_clusters", |place| refused(render(place, "1.32.0", &[]), "kubeVersion")),
        case("chart_pods_pass_restricted_pod_security", restricted),
        case("deploy_is_what_the_chart_renders", fresh),
        case("deploy_folders_are_accepted", folders),
    ]
}

fn helm(place: &Place, arguments: &[&str]) -> Result<String> {
    let output = place.lab.tools().command("helm")?.current_dir(root()).args(arguments).output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "helm {}: {errors}{}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stdout)
    );
    Ok(String::from_utf8(output.stdout)?)
}

fn render(place: &Place, version: &str, more: &[&str]) -> Result<String> {
    let mut arguments = vec!["template", "palier", "charts/palier", "--kube-version", version];
    if version >= "1.36" {
        arguments.extend(["--api-versions", MUTATING]);
    }
    arguments.extend(["--namespace", "palier-system"]);
    arguments.extend(more);
    helm(place, &arguments)
}

fn kinds(yaml: &str) -> Result<Vec<String>> {
    Ok(documents(yaml)?
        .iter()
        .map(|document| document["kind"].as_str().unwrap_or_default().to_owned())
        .collect())
}

fn accepted(place: &Place, yaml: &str) -> Result<()> {
    let file = place.file(yaml)?;
    let apply = ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", &file];
    place.kubectl("admin", &apply).map(drop)
}

fn lint(place: &Place) -> Result<()> {
    let lint = ["lint", "--strict", "charts/palier", "--kube-version", "1.36.0"];
    for more in [&[][..], &["--set", "namespaced=true,hooks.enabled=true"], &["--values", EVERYTHING]] {
        helm(place, &[&lint, more].concat())?;
    }
    Ok(())
}

fn everything(place: &Place) -> Result<()> {
    let yaml = render(place, "1.36.0", &["--values", EVERYTHING])?;
    let (monitors, rest): (Vec<Value>, Vec<Value>) =
        documents(&yaml)?.into_iter().partition(|document| document["kind"] == "ServiceMonitor");
    // The Prometheus operator's kind is not installed here.
    ensure!(monitors.len() == 1 && monitors[0]["spec"]["endpoints"][0]["path"] == "/metrics", "{monitors:?}");
    let kinds: Vec<&str> = rest.iter().filter_map(|document| document["kind"].as_str()).collect();
    ensure!(kinds.contains(&"NetworkPolicy") && kinds.contains(&"PodDisruptionBudget"), "{kinds:?}");
    let texts: Vec<String> = rest.iter().map(Value::to_string).collect();
    accepted(place, &texts.join("\n---\n"))
}

fn namespaced(place: &Place) -> Result<()> {
    let yaml = render(place, "1.36.0", &["--set", "namespaced=true"])?;
    let allowed = ["ServiceAccount", "Role", "RoleBinding", "Service", "Deployment", "PodDisruptionBudget"];
    for kind in kinds(&yaml)? {
        ensure!(allowed.contains(&kind.as_str()), "{kind} in namespaced mode");
    }
    ensure!(
        yaml.contains("--namespace=$(POD_NAMESPACE)"),
        "the controller is not told to keep to its namespace"
    );
    accepted(place, &yaml)?;
    let of_switches = |place: &Place, namespace: &str| {
        let place_of = format!("degradedModes.configMaps[0].namespace={namespace}");
        let more = [
            "--set",
            "namespaced=true",
            "--set",
            "degradedModes.configMaps[0].name=flags",
            "--set",
            &place_of,
        ];
        render(place, "1.36.0", &more)
    };
    ensure!(
        of_switches(place, "palier-system")?.contains(r#"resourceNames: ["flags"]"#),
        "no right on the switches"
    );
    refused(of_switches(place, "shop"), "every ConfigMap is in the release's namespace")
}

fn rights_for_hooks(place: &Place) -> Result<()> {
    for (namespaced, role) in [("false", "ClusterRole"), ("true", "Role")] {
        let namespaced = format!("namespaced={namespaced}");
        let without = render(place, "1.36.0", &["--set", &namespaced])?;
        ensure!(
            !without.contains("batch]") && !without.contains("--hooks"),
            "rights without hooks: {without}"
        );
        let with = render(place, "1.36.0", &["--set", &format!("{namespaced},hooks.enabled=true")])?;
        ensure!(with.contains("- --hooks"), "the controller is not told to run hooks");
        let is_role = |it: &&Value| it["kind"] == role && it.to_string().contains("\"cronjobs\"");
        let verbs = |it: &Value, of: &str| {
            let rules = it["rules"].as_array().into_iter().flatten();
            rules
                .filter(|rule| rule["resources"][0] == of)
                .map(|rule| rule["verbs"].to_string())
                .collect::<String>()
        };
        let all = documents(&with)?;
        let role = all.iter().find(is_role).context("no role with rights on CronJobs")?;
        ensure!(verbs(role, "cronjobs") == r#"["get"]"#, "{role}");
        ensure!(verbs(role, "jobs") == r#"["get","list","watch","create","patch","delete"]"#, "{role}");
    }
    Ok(())
}

fn before_1_36(place: &Place) -> Result<()> {
    let yaml = render(place, "1.33.0", &[])?;
    let kinds = kinds(&yaml)?;
    ensure!(!kinds.iter().any(|kind| kind.starts_with("Mutating")), "{kinds:?}");
    ensure!(kinds.iter().filter(|kind| *kind == "ValidatingAdmissionPolicy").count() == 6, "{kinds:?}");
    ensure!(!yaml.contains("mutatingadmissionpolicies"), "a right on a kind that is not there");
    accepted(place, &yaml)
}

/// The namespace in `deploy/base` enforces the restricted profile, so a pod of the Deployment can be tried there.
fn restricted(place: &Place) -> Result<()> {
    for values in [&[][..], &["--values", EVERYTHING]] {
        let all = documents(&render(place, "1.36.0", values)?)?;
        let deployment =
            all.iter().find(|document| document["kind"] == "Deployment").context("no Deployment")?;
        let mut pod = deployment["spec"]["template"].clone();
        pod["apiVersion"] = "v1".into();
        pod["kind"] = "Pod".into();
        pod["metadata"]["name"] = "try".into();
        pod["metadata"]["namespace"] = "palier-system".into();
        // The class is the user's.
        pod["spec"].as_object_mut().context("no pod spec")?.remove("priorityClassName");
        place.dry_run("admin", &pod.to_string())?;
        pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = true.into();
        refused(place.dry_run("admin", &pod.to_string()), "violates PodSecurity \"restricted")?;
    }
    Ok(())
}

fn plain(yaml: &str) -> String {
    let lines = yaml.lines().filter(|line| !line.contains("app.kubernetes.io/managed-by: Helm"));
    lines.map(|line| format!("{line}\n")).collect()
}

fn fresh(place: &Place) -> Result<()> {
    let stored = |path: &str| fs::read_to_string(root().join(path)).with_context(|| path.to_owned());
    let cure = "is stale: run `make deploy-manifests`";
    ensure!(
        stored("deploy/base/palier.yaml")? == plain(&render(place, "1.36.0", &[])?),
        "deploy/base/palier.yaml {cure}"
    );
    let namespaced = render(place, "1.36.0", &["--namespace", "shop", "--set", "namespaced=true"])?;
    ensure!(
        stored("deploy/namespaced/palier.yaml")? == plain(&namespaced),
        "deploy/namespaced/palier.yaml {cure}"
    );
    let mut files: Vec<_> = fs::read_dir(root().join("crds"))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.sort();
    let crds = files
        .iter()
        .map(|path| Ok(format!("---\n{}", fs::read_to_string(path)?)))
        .collect::<Result<String>>()?;
    ensure!(stored("deploy/base/crds.yaml")? == crds, "deploy/base/crds.yaml {cure}");
    Ok(())
}

fn folders(place: &Place) -> Result<()> {
    for folder in ["base", "before-1.36", "namespaced"] {
        let path = root().join("deploy").join(folder);
        let path = path.to_string_lossy();
        let shown = place.kubectl("admin", &["kustomize", &path])?;
        if folder == "before-1.36" {
            ensure!(!shown.contains("kind: Mutating"), "{shown}");
        }
        place.kubectl(
            "admin",
            &["apply", "--server-side", "--force-conflicts", "--dry-run=server", "-k", &path],
        )?;
    }
    Ok(())
}
