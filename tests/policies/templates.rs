//! The parameters that a Rollout gives its templates, at apply.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::lab::eventually;
use super::place::{Place, refused, root};
use super::{Body, case};

const WITHIN: Duration = Duration::from_secs(30);

pub fn cases() -> Vec<(String, Body)> {
    vec![
        case("parameters_are_checked_against_a_gate_template", |place| checked(place, "GateTemplate")),
        case("parameters_are_checked_against_a_cluster_gate_template", |place| {
            checked(place, "ClusterGateTemplate")
        }),
        case("parameters_of_a_component_are_checked_too", of_a_component),
        case("templates_of_other_namespaces_have_no_say", elsewhere),
        case("a_changed_template_counts_and_metadata_is_free", changed),
        case("policies_that_were_removed_and_came_back_hear_of_new_templates", came_back),
        case("the_columns_of_a_template_say_what_it_is", columns),
    ]
}

/// A template with a parameter of each sort.
fn template(kind: &str, name: &str, most: &str) -> String {
    format!(
        "apiVersion: palier.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}{}}}\nspec:\n  \
         description: for a test\n  parameters:\n  \
         - {{name: limit, type: Number, minimum: 0, maximum: {most}}}\n  \
         - {{name: times, type: Integer, default: \"2\", minimum: 1}}\n  \
         - {{name: every, type: Duration, default: 30s}}\n  \
         - {{name: metric, type: Metric, default: http_requests_total}}\n  \
         - {{name: reaction, type: String, default: Hold, values: [Hold, Notify]}}\n  gates:\n  \
         - name: errors\n    threshold: {{max: $limit}}\n    prometheus: {{query: \"sum(rate($metric[$every]))\"}}\n",
        if kind == "GateTemplate" { ", namespace: shop" } else { "" },
    )
}

fn rollout(name: &str, entries: &str) -> String {
    format!(
        "apiVersion: palier.dev/v1alpha1\nkind: Rollout\nmetadata: {{name: {name}, namespace: shop}}\n\
         spec: {{components: [{{name: api, workloadRef: {{name: own}}}}], gatesFrom: [{entries}]}}\n"
    )
}

fn entry(kind: &str, name: &str, parameters: &str) -> String {
    format!("{{kind: {kind}, name: {name}, parameters: {{{parameters}}}}}")
}

fn tried(place: &Place, entries: &str) -> Result<String> {
    place.dry_run("admin", &rollout("templated", entries))
}

/// Stores a template, and waits until the API server judges by it.
fn stored(place: &Place, kind: &str, name: &str, most: &str) -> Result<()> {
    place.apply("admin", &template(kind, name, most))?;
    heard_of(place, kind, name)
}

fn heard_of(place: &Place, kind: &str, name: &str) -> Result<()> {
    place.lab.block_on(eventually("the template is heard of", WITHIN, async || {
        match tried(place, &entry(kind, name, "limit: x")) {
            Err(error) if format!("{error:#}").contains("has a value that it cannot have") => Ok(()),
            other => Err(format!("{other:?}").into()),
        }
    }))
}

fn checked(place: &Place, kind: &str) -> Result<()> {
    let name = kind.to_lowercase();
    stored(place, kind, &name, "1")?;
    for good in [
        "limit: '0.05'",
        "limit: '1'",
        "limit: '1e-3', times: '3', every: 1h30m, metric: 'a:b_c', reaction: Notify",
    ] {
        tried(place, &entry(kind, &name, good))?;
    }
    let of = |parameter: &str| {
        format!("gatesFrom: the parameter {parameter} of the {kind} {name} has a value that it cannot have")
    };
    let bad = [
        ("", format!("gatesFrom: the {kind} {name} needs the parameter limit: give it under parameters")),
        (
            "limit: '0.1', limits: '1'",
            format!(
                "gatesFrom: the {kind} {name} has no parameter limits, it has limit, times, every, metric, reaction: correct the name or take it out"
            ),
        ),
        ("limit: 1 %", format!("{}: give a Number like 0.01, at least 0", of("limit"))),
        ("limit: '1.5'", format!("{}: give a Number like 0.01, at least 0", of("limit"))),
        ("limit: '-0.5'", of("limit")),
        ("limit: '0.1', times: '2.5'", format!("{}: give an Integer like 3, at least 1", of("times"))),
        ("limit: '0.1', times: '0'", of("times")),
        ("limit: '0.1', every: soon", format!("{}: give a Duration like 90s", of("every"))),
        ("limit: '0.1', metric: 'up{}'", format!("{}: give a Metric like http_requests_total", of("metric"))),
        ("limit: '0.1', reaction: Explode", format!("{}: give one of Hold, Notify", of("reaction"))),
    ];
    for (parameters, words) in bad {
        refused(tried(place, &entry(kind, &name, parameters)), &words)?;
    }
    // One of several entries is enough.
    let both = [entry(kind, &name, "limit: '0.1'"), entry(kind, &name, "limit: x")].join(", ");
    refused(tried(place, &both), &of("limit"))?;
    // Of the other kind, or of a name that is not there, nothing is known yet.
    let other = if kind == "GateTemplate" { "ClusterGateTemplate" } else { "GateTemplate" };
    tried(place, &entry(other, &name, "limit: x"))?;
    tried(place, &entry(kind, "later", "limit: x")).map(drop)
}

fn of_a_component(place: &Place) -> Result<()> {
    stored(place, "GateTemplate", "for-parts", "1")?;
    let yaml = rollout("templated", "").replace(
        "workloadRef: {name: own}}",
        &format!(
            "workloadRef: {{name: own}}, gatesFrom: [{}]}}",
            entry("GateTemplate", "for-parts", "limit: x")
        ),
    );
    refused(place.dry_run("admin", &yaml), "the parameter limit of the GateTemplate for-parts has a value")
}

fn elsewhere(place: &Place) -> Result<()> {
    stored(place, "GateTemplate", "ours", "1")?;
    let yaml = rollout("templated", &entry("GateTemplate", "ours", "limit: x"))
        .replace("namespace: shop", "namespace: bad");
    place.dry_run("admin", &yaml).map(drop)
}

fn changed(place: &Place) -> Result<()> {
    stored(place, "GateTemplate", "moving", "1")?;
    let yaml = rollout("stays", &entry("GateTemplate", "moving", "limit: '0.5'"));
    place.apply("admin", &yaml)?;
    place.apply("admin", &template("GateTemplate", "moving", "0.1"))?;
    place.lab.block_on(eventually("the new bound counts", WITHIN, async || {
        match tried(place, &entry("GateTemplate", "moving", "limit: '0.5'")) {
            Err(_) => Ok(()),
            Ok(stored) => Err(stored.into()),
        }
    }))?;
    // What was stored before stays as it is: labels and finalizers are free, a change of the spec is not.
    place.kubectl("admin", &["label", "rollout", "stays", "-n", "shop", "team=a"])?;
    let edit =
        ["patch", "rollout", "stays", "-n", "shop", "--type=merge", "-p", r#"{"spec":{"drainTime":"20s"}}"#];
    refused(place.kubectl("admin", &edit), "the parameter limit of the GateTemplate moving")?;
    place.kubectl("admin", &["delete", "rollout", "stays", "-n", "shop"]).map(drop)
}

/// With parameters in ConfigMaps the API server is deaf to new ones after that; with kinds of ours it has to hear them.
fn came_back(place: &Place) -> Result<()> {
    let policies = ["palier-gatetemplate-parameters", "palier-clustergatetemplate-parameters"];
    for kind in ["validatingadmissionpolicybinding", "validatingadmissionpolicy"] {
        place.kubectl("admin", &[&["delete", kind][..], &policies].concat())?;
    }
    stored_unheard(place, "while-gone")?;
    let base = root().join("deploy/base");
    place
        .kubectl("admin", &["apply", "--server-side", "--force-conflicts", "-k", &base.to_string_lossy()])?;
    heard_of(place, "GateTemplate", "while-gone")?;
    stored(place, "GateTemplate", "afterwards", "1")?;
    stored(place, "ClusterGateTemplate", "afterwards", "1")
}

fn stored_unheard(place: &Place, name: &str) -> Result<()> {
    place.lab.block_on(eventually("nobody checks any more", WITHIN, async || {
        place.apply("admin", &template("GateTemplate", name, "1")).map_err(|error| format!("{error:#}"))?;
        tried(place, &entry("GateTemplate", name, "limit: x"))
            .map(drop)
            .map_err(|error| format!("{error:#}").into())
    }))
}

fn columns(place: &Place) -> Result<()> {
    place.apply("admin", &template("GateTemplate", "shown", "1"))?;
    let table = place.kubectl("admin", &["get", "gt", "shown", "-n", "shop"])?;
    ensure!(table.contains("for a test"), "{table}");
    let all = place.kubectl("admin", &["get", "palier", "-n", "shop"])?;
    ensure!(all.contains("gatetemplate.palier.dev/shown"), "{all}");
    Ok(())
}
