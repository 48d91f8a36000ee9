//! Watches on their way through the proxy.

use std::sync::Arc;
use std::time::Duration;

use futures::SinkExt as _;
use futures::channel::mpsc;
use http_body_util::StreamBody;
use http_body_util::combinators::BoxBody;
use hyper::body::{Bytes, Frame};

use super::super::serve::Cut;
use super::State;

/// What watches are like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    /// What the API server tells is passed on at once.
    #[default]
    Flowing,
    /// They stay open, and nothing comes; what was told meanwhile comes later.
    Silent,
    /// They come in pieces of a few bytes.
    Slow,
}

/// What all watches do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Orders {
    /// What they are like.
    pub mood: Mood,
    /// How often they were to be cut so far.
    pub cut: u64,
}

/// A watch that tells nothing is cut after this time.
const QUIET: Duration = Duration::from_millis(500);
/// Bytes of a piece, and the time between two of them.
const PIECE: usize = 256;
const BETWEEN: Duration = Duration::from_millis(2);

type Piece = Result<Frame<Bytes>, Cut>;

/// The body of a watch.
pub fn body(state: Arc<State>, upstream: reqwest::Response) -> BoxBody<Bytes, Cut> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(pump(state, upstream, sender));
    BoxBody::new(StreamBody::new(receiver))
}

async fn pump(state: Arc<State>, mut upstream: reqwest::Response, mut to: mpsc::Sender<Piece>) {
    let mut orders = state.watches.subscribe();
    let begun = orders.borrow().cut;
    loop {
        let Orders { mood, cut } = *orders.borrow_and_update();
        let is_to_end = cut > begun;
        if mood == Mood::Silent && !is_to_end {
            if orders.changed().await.is_err() {
                return;
            }
            continue;
        }
        let next = async {
            if is_to_end {
                tokio::time::timeout(QUIET, upstream.chunk()).await.ok()
            } else {
                Some(upstream.chunk().await)
            }
        };
        let chunk = tokio::select! {
            chunk = next => chunk,
            _ = orders.changed() => continue,
        };
        match chunk {
            Some(Ok(Some(bytes))) if is_to_end => {
                let half = bytes.slice(..bytes.len() / 2);
                let _ = to.send(Ok(Frame::data(half))).await;
                state.count("watch cut in a frame");
                let _ = to.send(Err(Cut)).await;
                return;
            }
            Some(Ok(Some(bytes))) => {
                if pass_on(&state, &mut to, bytes, mood).await.is_err() {
                    return;
                }
            }
            // The API server ends a watch after its time: so do we.
            Some(Ok(None)) => return,
            Some(Err(_)) | None => {
                state.count("watch cut between frames");
                let _ = to.send(Err(Cut)).await;
                return;
            }
        }
    }
}

async fn pass_on(
    state: &State,
    to: &mut mpsc::Sender<Piece>,
    bytes: Bytes,
    mood: Mood,
) -> Result<(), mpsc::SendError> {
    if mood != Mood::Slow {
        return to.send(Ok(Frame::data(bytes))).await;
    }
    state.count("frame in pieces");
    for piece in bytes.chunks(PIECE) {
        to.send(Ok(Frame::data(Bytes::copy_from_slice(piece)))).await?;
        tokio::time::sleep(BETWEEN).await;
    }
    Ok(())
}
