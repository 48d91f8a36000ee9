//! Asks metric servers beside the work. An answer waits in the Rollout's inbox for the next decision, which it brings
//! about at once.

use std::sync::Arc;

use tokio::time::Instant;

use crate::engine::Measurement;
use crate::engine::world::Answered;

use super::context::Context;
use super::desk::lock;
use super::queue::{Key, Urgency};

/// Asks each question that is not under way already. Never waits.
pub fn carry_out(context: &Arc<Context>, key: &Key, measurements: &[Measurement]) {
    for measurement in measurements {
        let asked = (measurement.component.clone(), measurement.gate.clone());
        let (uid, is_new) = {
            let desk = context.desks.of(key);
            let mut desk = lock(&desk);
            (desk.uid.clone(), desk.asking.insert(asked.clone()))
        };
        if is_new {
            tokio::spawn(ask(context.clone(), key.clone(), uid, measurement.clone()));
        }
    }
}

async fn ask(context: Arc<Context>, key: Key, uid: String, measurement: Measurement) {
    let Measurement { component, gate, key: evidence, source, ask } = measurement;
    let started = Instant::now();
    let answer = context.sources.ask(&source, &key.namespace, &ask).await;
    context.metrics.asked(&answer, started.elapsed());
    // A Rollout that is gone, or another one of that name, has no use for it.
    let Some(desk) = context.desks.find(&key) else { return };
    {
        let mut desk = lock(&desk);
        if desk.uid != uid {
            return;
        }
        desk.asking.remove(&(component.clone(), gate.clone()));
        let at = context.cluster.now();
        desk.inbox.push(Answered { component, gate, key: evidence, at, answer });
    }
    context.queue.push(&key, Urgency::Urgent);
}
