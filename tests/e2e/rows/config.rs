//! Row 15: configuration is released, and goes back, with the code.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use palier::api::names::{
    CONFIG_COPY, CONFIG_LABEL, FIELD_MANAGER, POD_TEMPLATE_HASH, RESTARTED_AT, ROLLOUT_LABEL,
};
use palier::api::{Outcome, Revision, RolloutState};
use serde_json::json;

use crate::lab::eventually;
use crate::world::controllers::{Controller, Launch, free_lease};
use crate::world::given::image;
use crate::world::install::{HOME, RELEASE};
use crate::world::killing::kill_at_each_write;
use crate::world::phases::{IN_A_MOMENT, nobody_noticed};
use crate::world::shop::is_baking;
use crate::world::{Apart, Given, Scene, Shop};

const RATE: u32 = 50;
/// Objects are looked at every 30 s.
const NOTICED: Duration = Duration::from_secs(90);

/// A shop whose pods read the value `old`, each started since the Rollout looks after it.
async fn open(scene: &Arc<Scene>, given: Given) -> Result<Shop> {
    let (maps, secrets) = (maps(scene), secrets(scene));
    let app = json!({"metadata": {"name": "app"}, "data": {"mode": "old"}});
    maps.create(&Default::default(), &serde_json::from_value(app)?).await?;
    let key = json!({"metadata": {"name": "key"}, "stringData": {"token": "old"}});
    secrets.create(&Default::default(), &serde_json::from_value(key)?).await?;
    let shop = scene.given(given).await?;
    shop.until("copies are made", IN_A_MOMENT, |status| {
        status.components[0].stable.as_ref().is_some_and(|stable| stable.config.len() == 2)
    })
    .await?;
    eventually("the policy has its map", IN_A_MOMENT, async || {
        maps.get(&format!("palier-config-{}", shop.name)).await.map(drop).map_err(Into::into)
    })
    .await?;
    restart(&shop).await?;
    eventually("every pod was given its configuration", NOTICED, async || {
        let stable = stable(&shop)?;
        let read = read_by(scene, &stable.pod_hash).await?;
        let is_so = read == BTreeSet::from([("old".to_owned(), "old".to_owned())]);
        let pods = pods(scene, &stable.pod_hash).await?;
        let is_bound = pods.len() == 4 && pods.iter().all(|pod| pod.labels().contains_key(CONFIG_LABEL));
        if is_so && is_bound { Ok(()) } else { Err(format!("{} pods read {read:?}", pods.len()).into()) }
    })
    .await?;
    Ok(shop)
}

/// As `kubectl rollout restart` does.
async fn restart(shop: &Shop) -> Result<()> {
    let at = json!({RESTARTED_AT: jiff::Timestamp::now().to_string()});
    let change = json!({"spec": {"template": {"metadata": {"annotations": at}}}});
    shop.deployments().patch(&shop.name, &PatchParams::default(), &Patch::Merge(change)).await?;
    Ok(())
}

fn maps(scene: &Scene) -> Api<ConfigMap> {
    Api::namespaced(scene.lab().client(), &scene.namespace)
}

fn secrets(scene: &Scene) -> Api<Secret> {
    Api::namespaced(scene.lab().client(), &scene.namespace)
}

fn stable(shop: &Shop) -> Result<Revision> {
    shop.status()?.components[0].stable.clone().context("nothing is stable")
}

/// Somebody edits the ConfigMap. Gives it as it is then.
async fn edit(scene: &Scene, value: &str) -> Result<ConfigMap> {
    let change = Patch::Merge(json!({"data": {"mode": value}}));
    Ok(maps(scene).patch("app", &PatchParams::default(), &change).await?)
}

async fn pods(scene: &Scene, pod_hash: &str) -> Result<Vec<Pod>> {
    let pods: Api<Pod> = Api::namespaced(scene.lab().client(), &scene.namespace);
    let of = ListParams::default().labels(&format!("{POD_TEMPLATE_HASH}={pod_hash}"));
    let living = |pod: &Pod| pod.metadata.deletion_timestamp.is_none();
    Ok(pods.list(&of).await?.items.into_iter().filter(living).collect())
}

/// Names of the ConfigMap and the Secret that a pod mounts.
fn mounts(pod: &Pod) -> Result<(String, String)> {
    let spec = pod.spec.as_ref().context("a pod without a spec")?;
    let map = spec.volumes.iter().flatten().find_map(|volume| volume.config_map.as_ref());
    let env = spec.containers[0].env.iter().flatten();
    let secret = env.filter_map(|it| it.value_from.as_ref()?.secret_key_ref.as_ref()).next();
    Ok((
        map.context("a pod without its ConfigMap")?.name.clone(),
        secret.context("a pod without its Secret")?.name.clone(),
    ))
}

/// What the pods of a revision read: the ConfigMap's value and the Secret's.
async fn read_by(scene: &Scene, pod_hash: &str) -> Result<BTreeSet<(String, String)>> {
    let mut values = BTreeSet::new();
    for pod in pods(scene, pod_hash).await? {
        let (map, secret) = mounts(&pod)?;
        let map = maps(scene).get(&map).await.with_context(|| format!("{} mounts {map}", pod.name_any()))?;
        let secret = secrets(scene).get(&secret).await?;
        let mode = map.data.unwrap_or_default().remove("mode").unwrap_or_default();
        let token = secret.data.unwrap_or_default().remove("token").map(|it| it.0).unwrap_or_default();
        values.insert((mode, String::from_utf8(token)?));
    }
    Ok(values)
}

/// What the pods of a revision mounted, of every version of every pod that was ever seen.
fn ever_mounted(scene: &Scene, pod_hash: &str) -> Result<BTreeSet<(String, String)>> {
    let sights = scene.record.pods.all();
    let of = |pod: &Pod| pod.labels().get(POD_TEMPLATE_HASH).is_some_and(|hash| hash == pod_hash);
    sights.iter().filter(|sight| of(&sight.object)).map(|sight| mounts(&sight.object)).collect()
}

/// Fails unless just these values are left in copies, and nothing else of Palier's but the map.
async fn left_are(scene: &Scene, wanted: (&str, &str)) -> Result<()> {
    eventually("no copy is left that nobody needs", NOTICED, async || {
        let copies = ListParams::default().labels(&format!("{CONFIG_LABEL}={CONFIG_COPY}"));
        let modes: Vec<_> = maps(scene).list(&copies).await?.items;
        let tokens: Vec<_> = secrets(scene).list(&copies).await?.items;
        let ours = ListParams::default().labels(ROLLOUT_LABEL);
        let all = maps(scene).list(&ours).await?.items.len();
        let modes: Vec<_> = modes.into_iter().filter_map(|it| it.data?.remove("mode")).collect();
        let tokens: Vec<_> = tokens.into_iter().filter_map(|it| Some(it.data?.remove("token")?.0)).collect();
        let is_so = modes == [wanted.0] && tokens == [wanted.1.as_bytes()] && all == 2;
        if is_so { Ok(()) } else { Err(format!("{modes:?}, {} secrets, {all}", tokens.len()).into()) }
    })
    .await
}

async fn until_pilot(shop: &Shop) -> Result<Revision> {
    let bakes = |status: &palier::api::RolloutStatus| is_baking(&status.components[0], 10);
    let status = shop.until("the new value bakes at 10 %", NOTICED, bakes).await?;
    status.components[0].canary.clone().context("a run without a canary")
}

pub async fn row15_bad_value_goes_back(scene: Arc<Scene>) -> Result<()> {
    // Given a shop with visitors
    let shop = open(&scene, Given::shop("v1").configured(false).baking("60s")).await?;
    let stable_before = stable(&shop)?;
    let visitors = shop.visitors(RATE)?;

    // When another value comes, the canary reads it
    let edited = edit(&scene, "bad").await?;
    let canary = until_pilot(&shop).await?;
    ensure!(canary.revision == stable_before.revision, "the template did not change");
    let read = read_by(&scene, &canary.pod_hash).await?;
    ensure!(read == BTreeSet::from([("bad".into(), "old".into())]), "the canary reads {read:?}");
    let map = maps(&scene).get(&mounts(&pods(&scene, &canary.pod_hash).await?[0])?.0).await?;
    ensure!(map.immutable == Some(true), "the copy can be changed");

    // and stable's pods read the old one, also those that start now
    let victim = pods(&scene, &stable_before.pod_hash).await?[0].name_any();
    let all: Api<Pod> = Api::namespaced(scene.lab().client(), &scene.namespace);
    all.delete(&victim, &DeleteParams::default()).await?;
    shop.scale(5).await?;
    eventually("five pods of stable", IN_A_MOMENT, async || {
        let names: Vec<_> =
            pods(&scene, &stable_before.pod_hash).await?.iter().map(|pod| pod.name_any()).collect();
        let is_so = names.len() == 5 && !names.contains(&victim);
        if is_so { Ok(()) } else { Err(format!("{names:?}").into()) }
    })
    .await?;
    let read = read_by(&scene, &stable_before.pod_hash).await?;
    ensure!(read == BTreeSet::from([("old".into(), "old".into())]), "stable reads {read:?}");

    // When it goes back
    shop.palier("abort", &["--reason", "the value is bad"]).await?;
    let ended = shop.until_ended(1, Outcome::RolledBack).await?;
    ensure!(ended.state == RolloutState::RolledBack, "{:?}", ended.state);

    // Then every pod that stable ever had mounted the same two copies, with the old values
    let mounted = ever_mounted(&scene, &stable_before.pod_hash)?;
    ensure!(mounted.len() == 1, "stable's pods mounted {mounted:?}");
    left_are(&scene, ("old", "old")).await?;
    nobody_noticed(&scene, &visitors.stop().await)?;
    shop.until_as(
        &shop.found[0].clone().with_replicas(5).restarted_as(&shop.deployment().await?),
        Apart::FromTheLabel,
    )
    .await?;
    // and the user's object is as the user left it
    let now = maps(&scene).get("app").await?;
    ensure!(now.resource_version() == edited.resource_version(), "Palier wrote on the user's ConfigMap");
    let wrote = now.metadata.managed_fields.unwrap_or_default();
    ensure!(!wrote.iter().any(|one| one.manager.as_deref() == Some(FIELD_MANAGER)));

    // and the old value put back ends it
    edit(&scene, "old").await?;
    shop.until("nothing is rejected any more", NOTICED, |status| status.components[0].rejected.is_none())
        .await?;
    ensure!(stable(&shop)? == stable_before, "another stable");
    Ok(())
}

pub async fn row15_killed_at_each_write_of_the_way_back(scene: Arc<Scene>) -> Result<()> {
    // Given a controller of the whole cluster, and a run of another value alone that bakes
    scene.install_cluster_wide().await?;
    let launch = Launch {
        kubeconfig: scene.lab().token_for(HOME, RELEASE).await?,
        home: HOME.to_owned(),
        only: None,
        extra: Vec::new(),
    };
    let controller = Controller::start(scene.lab(), &scene.namespace, launch).await?;
    let shop = open(&scene, Given::shop("v1").configured(false).baking("10m")).await?;
    let stable_before = stable(&shop)?;
    let visitors = shop.visitors(RATE)?;
    let edited = edit(&scene, "bad").await?;
    let canary = until_pilot(&shop).await?;
    ensure!(canary.revision == stable_before.revision, "the template did not change");

    // When it goes back, and the controller is killed on the heels of each write, while stable gets another pod
    shop.scale(5).await?;
    shop.palier("abort", &["--reason", "the value is bad"]).await?;
    let user = format!("system:serviceaccount:{HOME}:{RELEASE}");
    let killed_at = kill_at_each_write(&scene, &shop, &controller, &user).await?;
    scene.measured("kills on the way back", &killed_at.len().to_string(), "one at each write");
    ensure!(killed_at.len() >= 5, "only {} kills", killed_at.len());

    // Then every pod that stable ever had mounted the same two copies, with the old values, and no other copy is left.
    shop.until_ended(1, Outcome::RolledBack).await?;
    let record = shop.record_of(1).await?.status.context("the record is empty")?;
    ensure!(record.outcome == Some(Outcome::RolledBack), "the record says {:?}", record.outcome);
    let mounted = ever_mounted(&scene, &stable_before.pod_hash)?;
    ensure!(mounted.len() == 1, "stable's pods mounted {mounted:?}");
    left_are(&scene, ("old", "old")).await?;
    let read = read_by(&scene, &stable_before.pod_hash).await?;
    ensure!(read == BTreeSet::from([("old".into(), "old".into())]), "stable reads {read:?}");
    ensure!(pods(&scene, &canary.pod_hash).await?.is_empty(), "pods of the canary are left");
    nobody_noticed(&scene, &visitors.stop().await)?;
    let now = maps(&scene).get("app").await?;
    ensure!(now.resource_version() == edited.resource_version(), "Palier wrote on the user's ConfigMap");
    shop.delete_rollout(IN_A_MOMENT).await?;
    controller.kill(scene.lab())?;
    free_lease(scene.lab(), HOME).await
}

pub async fn row15_good_value_reaches_everyone(scene: Arc<Scene>) -> Result<()> {
    // Given a shop with visitors, whose configuration is what its template names
    let shop = open(&scene, Given::shop("v1").configured(true)).await?;
    let stable_before = stable(&shop)?;
    let visitors = shop.visitors(RATE)?;

    // When another value comes
    edit(&scene, "new").await?;
    let canary = until_pilot(&shop).await?;
    let first = pods(&scene, &canary.pod_hash).await?.iter().map(|pod| pod.name_any()).collect::<Vec<_>>();

    // Then it reaches everyone, and no pod of it was replaced on the way
    shop.until_ended(1, Outcome::Completed).await?;
    let now = stable(&shop)?;
    ensure!(now.pod_hash == canary.pod_hash, "{now:?} is not {canary:?}");
    shop.serves(shop.workload(), "v1").await?;
    let names: Vec<_> = pods(&scene, &now.pod_hash).await?.iter().map(|pod| pod.name_any()).collect();
    ensure!(names.len() == 4 && first.iter().all(|name| names.contains(name)), "{first:?} became {names:?}");
    ensure!(ever_mounted(&scene, &now.pod_hash)?.len() == 1, "the canary's pods mount different copies");
    let read = read_by(&scene, &now.pod_hash).await?;
    ensure!(read == BTreeSet::from([("new".into(), "old".into())]), "everyone reads {read:?}");
    let sets = scene.record.sets.present();
    let sets: Vec<_> = sets.iter().map(|set| set.name_any()).collect();
    ensure!(
        !sets.contains(&stable_before.replica_set),
        "the former configuration is in the history: {sets:?}"
    );
    let living = scene.record.pods.present();
    ensure!(living.len() == 4, "{} pods", living.len());
    left_are(&scene, ("new", "old")).await?;
    nobody_noticed(&scene, &visitors.stop().await)?;
    shop.until_as(&shop.found[0].clone().restarted_as(&shop.deployment().await?), Apart::FromTheLabel)
        .await?;

    // and letting go of it leaves the copies to the pods that mount them
    shop.delete_rollout(IN_A_MOMENT).await?;
    let read = read_by(&scene, &now.pod_hash).await?;
    ensure!(read == BTreeSet::from([("new".into(), "old".into())]), "everyone reads {read:?}");
    let map = maps(&scene).get_opt(&format!("palier-config-{}", shop.name)).await?;
    ensure!(map.is_none(), "new pods would still be given copies");
    Ok(())
}

pub async fn row15_with_another_image(scene: Arc<Scene>) -> Result<()> {
    // Given a shop with visitors
    let shop = open(&scene, Given::shop("v1").configured(false)).await?;
    let visitors = shop.visitors(RATE)?;
    let stable_before = stable(&shop)?;

    // When another value and another image come together
    edit(&scene, "new").await?;
    shop.push("v2").await?;
    shop.until_ended(1, Outcome::Completed).await?;

    // Then they went out together
    let now = stable(&shop)?;
    let read = read_by(&scene, &now.pod_hash).await?;
    ensure!(read == BTreeSet::from([("new".into(), "old".into())]), "v2 reads {read:?}");
    ensure!(ever_mounted(&scene, &now.pod_hash)?.len() == 1, "v2's pods mount different copies");
    ensure!(ever_mounted(&scene, &stable_before.pod_hash)?.len() == 1, "v1's pods mounted different copies");
    shop.serves(shop.workload(), "v2").await?;
    left_are(&scene, ("new", "old")).await?;
    nobody_noticed(&scene, &visitors.stop().await)?;
    let wanted = shop.found[0].clone().with_image(&image("v2")).restarted_as(&shop.deployment().await?);
    shop.until_as(&wanted, Apart::FromTheLabel).await
}

pub async fn row15_authors_must_be_allowed_to_read(scene: Arc<Scene>) -> Result<()> {
    // Given somebody who may write Rollouts and patch what they name, and read one ConfigMap
    let namespace = &scene.namespace;
    let role = format!(
        "apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: author, namespace: {namespace}}}
rules:
- {{apiGroups: [palier.dev], resources: [rollouts], verbs: [create]}}
- {{apiGroups: [apps], resources: [deployments], verbs: [patch]}}
- {{apiGroups: [''], resources: [configmaps], resourceNames: [app], verbs: [get]}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: author, namespace: {namespace}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: author}}
subjects: [{{kind: User, name: wilma, apiGroup: rbac.authorization.k8s.io}}]
"
    );
    scene.lab().apply(&role).await?;
    let attempt = |config: &str| {
        let rollout = format!(
            "{{apiVersion: palier.dev/v1alpha1, kind: Rollout, metadata: {{name: shop, namespace: {namespace}}}, \
             spec: {{components: [{{name: shop, workloadRef: {{name: shop}}, config: {config}}}]}}}}"
        );
        let path = scene.lab().dir().join(format!("{namespace}.yaml"));
        std::fs::write(&path, rollout)?;
        scene.lab().kubectl(&["create", "--dry-run=server", "--as=wilma", "-f", &path.to_string_lossy()])
    };

    // Then what they may read can be named, and nothing else
    for (config, word) in [
        ("{secrets: [key]}", r#"user "wilma" may not read the Secret "key" that this Rollout names"#),
        ("{configMaps: [app, other]}", r#"may not read the ConfigMap "other""#),
        (
            "{configMaps: [app], fromTemplate: true}",
            "may not read every ConfigMap and Secret of the namespace",
        ),
    ] {
        let refused = attempt(config).err().with_context(|| format!("{config} was accepted"))?;
        ensure!(format!("{refused:#}").contains(word), "{config}: {refused:#}");
    }
    attempt("{configMaps: [app]}")?;

    // and nobody but the controller says what pods mount
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "palier-config-shop", "namespace": namespace, "labels": {"palier.dev/config-map": "true"}},
        "data": {"deployment": "shop", "stable.secret.key": "other"},
    });
    let refused = scene.lab().apply(&map.to_string()).await.err().context("the map was accepted")?;
    ensure!(format!("{refused:#}").contains("only the Palier controller"), "{refused:#}");
    Ok(())
}
