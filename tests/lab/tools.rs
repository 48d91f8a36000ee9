//! The lab's programs: where `build.sh` has put them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// Paths by name: `etcd`, `kube-apiserver`, `kubectl`, `helm`, `traefik`…, and `gateway-crds`, a folder.
#[derive(Clone, Debug)]
pub struct Tools(BTreeMap<String, PathBuf>);

impl Tools {
    /// Builds what is missing, which may take twenty minutes once.
    pub fn build() -> Result<String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/build.sh");
        let output = Command::new("bash")
            .arg(&script)
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("cannot run {}", script.display()))?;
        ensure!(output.status.success(), "the lab's programs could not be built; the reason is above");
        String::from_utf8(output.stdout).context("build.sh printed something that is not text")
    }

    /// Reads the `name=path` lines of `build.sh`.
    pub fn parse(lines: &str) -> Self {
        let pairs = lines.lines().filter_map(|line| line.split_once('='));
        Self(pairs.map(|(name, path)| (name.to_owned(), PathBuf::from(path))).collect())
    }

    /// Where a program is.
    pub fn path(&self, name: &str) -> Result<&Path> {
        self.0.get(name).map(PathBuf::as_path).with_context(|| format!("build.sh knows no {name}"))
    }

    /// A command that runs one of the programs.
    pub fn command(&self, name: &str) -> Result<Command> {
        Ok(Command::new(self.path(name)?))
    }

    /// A search path with the programs' folders in front, for people.
    pub fn search_path(&self) -> String {
        let mut folders: Vec<String> = Vec::new();
        for folder in self.0.values().filter(|path| path.is_file()).filter_map(|path| path.parent()) {
            let folder = folder.display().to_string();
            if !folders.contains(&folder) {
                folders.push(folder);
            }
        }
        folders.extend(std::env::var("PATH"));
        folders.join(":")
    }
}
