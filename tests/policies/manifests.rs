//! Manifests by real `kubectl apply`: examples are stored, each of `tests/bad-manifests/` is refused in its words.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::place::{Place, refused, root};
use super::{Body, case};

pub fn cases() -> Vec<(String, Body)> {
    let mut cases: Vec<_> = files("tests/bad-manifests")
        .iter()
        .map(|path| {
            let path = path.clone();
            case(&format!("manifest_{}", stem(&path)), move |place| bad(place, &path))
        })
        .collect();
    cases.push(case("examples_are_stored", examples));
    cases
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().replace('-', "_")
}

fn files(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(folder)).into_iter().flatten().flatten();
    let mut all: Vec<_> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "yaml"))
        .collect();
    all.sort();
    all
}

fn bad(place: &Place, path: &Path) -> Result<()> {
    let text = fs::read_to_string(path)?;
    let header = |key: &str| text.lines().find_map(|line| line.strip_prefix(&format!("# {key}: ")));
    let file = path.to_string_lossy();
    let user = header("as").unwrap_or("admin");
    let result =
        place.kubectl(user, &["apply", "--server-side", "--dry-run=server", "-n", "bad", "-f", &file]);
    let says = header("says").context("no header line `# says: …`")?;
    match header("refused-by").context("no header line `# refused-by: …`")? {
        // The API server has nothing against these: the controller has.
        "stalled" => result.map(drop),
        "policy" => refused(result, says),
        _ => {
            let field = header("field").context("no header line `# field: …`")?;
            let said = format!("{:#}", result.as_ref().err().context("it was not refused")?);
            ensure!(said.contains(field), "the message does not name {field}: {said}");
            refused(result, says)
        }
    }
}

fn examples(place: &Place) -> Result<()> {
    place.kubectl("admin", &["create", "namespace", "examples"])?;
    for path in files("examples") {
        let file = path.to_string_lossy();
        let apply = ["apply", "--server-side", "--force-conflicts", "-n", "examples", "-f", &file];
        // An action has a generated name.
        let create = ["create", "-n", "examples", "-f", &file];
        let arguments = if stem(&path).starts_with("action") { &create[..] } else { &apply[..] };
        place.kubectl("admin", arguments).with_context(|| file.into_owned())?;
    }
    // What was left out is shown with its value.
    let shown = place.kubectl(
        "admin",
        &[
            "get",
            "rollout",
            "shop-worker",
            "-n",
            "examples",
            "-o",
            "jsonpath={.spec.onDelete} {.spec.gates[0].interval}",
        ],
    )?;
    ensure!(shown == "Rollback 30s", "{shown}");
    place.kubectl("admin", &["delete", "namespace", "examples", "--wait=false"])?;
    Ok(())
}
