//! The world of the scenarios: one lab, Palier installed as the chart says, a place for each scenario, and what was measured.
//!
//! ```text
//! World ── Lab (control plane, gateway, Prometheus)      Figures (the table at the end)
//!   └─ Scene, one per scenario: namespace, Record of everything that happens in it, its Controllers
//!        └─ Shop: a Rollout with its workloads; people push, scale, visit, wait and look
//! ```

#![allow(dead_code, reason = "words for scenarios to come")]

pub mod conserve;
pub mod controllers;
pub mod figures;
pub mod given;
pub mod history;
pub mod install;
pub mod killing;
pub mod phases;
pub mod rights;
pub mod scene;
pub mod share;
pub mod shop;
pub mod trail;

use std::sync::Arc;

use anyhow::Result;
use tokio::sync::Mutex;

use crate::lab::Lab;
use controllers::Controller;
use figures::Figures;

pub use conserve::Apart;
pub use given::{Gate, Given};
pub use scene::{Crew, Scene};
pub use shop::Shop;
pub use trail::Trail;

/// See the module.
pub struct World {
    /// The control plane.
    pub lab: Lab,
    /// What the scenarios measured.
    pub figures: Figures,
    shared: Mutex<Vec<Controller>>,
    /// Whether the cluster-wide chart is there.
    is_installed: Mutex<bool>,
}

impl World {
    /// A world without Palier yet: the first scenario that needs it installs it.
    pub fn new(lab: Lab) -> Arc<Self> {
        Arc::new(Self {
            lab,
            figures: Figures::default(),
            shared: Mutex::default(),
            is_installed: Mutex::default(),
        })
    }

    /// The pair of controllers that works on the whole cluster.
    pub async fn shared(&self) -> Result<Vec<Controller>> {
        let mut shared = self.shared.lock().await;
        if shared.is_empty() {
            self.install_cluster_wide().await?;
            let launch = scene::shared_launch(self).await?;
            let first = Controller::start(&self.lab, "palier-a", launch.clone()).await?;
            let second = Controller::start(&self.lab, "palier-b", launch).await?;
            let pair = vec![first, second];
            controllers::until_led(&self.lab, install::HOME, &pair).await?;
            *shared = pair;
        }
        Ok(shared.clone())
    }

    /// The chart for the whole cluster, with all that has to be asked for. Once: an API server of Kubernetes 1.36 does not hear of
    /// new ConfigMaps any more after the last policy that reads some was deleted, and config copies need one.
    pub async fn install_cluster_wide(&self) -> Result<()> {
        let mut is_installed = self.is_installed.lock().await;
        if !*is_installed {
            install::cluster_wide(&self.lab).await?;
            *is_installed = true;
        }
        Ok(())
    }

    /// Stops the pair.
    pub async fn stop_shared(&self) -> Result<()> {
        for controller in self.shared.lock().await.drain(..) {
            controller.stop(&self.lab)?;
        }
        Ok(())
    }

    /// Takes the cluster-wide chart away, kinds excepted: what follows runs in single namespaces.
    pub async fn leave_cluster_wide(&self) -> Result<()> {
        if std::mem::take(&mut *self.is_installed.lock().await) {
            install::remove_but_kinds(&self.lab)?;
        }
        Ok(())
    }
}
