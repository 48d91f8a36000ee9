//! A TCP connection that can be frozen: bytes wait on both sides until it thaws, and nobody is told.

use std::net::SocketAddr;

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;

use super::serve;

/// A port of loopback that leads somewhere else.
pub struct Link {
    address: SocketAddr,
    frozen: watch::Sender<bool>,
}

impl Link {
    /// A link to an address.
    pub async fn to(upstream: &str) -> Result<Self> {
        let listener = serve::bind("127.0.0.1:0").await?;
        let link = Self { address: listener.local_addr()?, frozen: watch::Sender::new(false) };
        let (frozen, upstream) = (link.frozen.subscribe(), upstream.to_owned());
        tokio::spawn(async move {
            while let Some((near, _)) = serve::accept(&listener).await {
                let (frozen, upstream) = (frozen.clone(), upstream.clone());
                tokio::spawn(async move {
                    let Ok(far) = TcpStream::connect(upstream).await else { return };
                    let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
                    tokio::select! {
                        () = copy(from_near, to_far, frozen.clone()) => {}
                        () = copy(from_far, to_near, frozen) => {}
                    }
                });
            }
        });
        Ok(link)
    }

    /// Where it is entered.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Freezes it, or lets it go on.
    pub fn freeze(&self, is_frozen: bool) {
        self.frozen.send_replace(is_frozen);
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut frozen: watch::Receiver<bool>) {
    let mut bytes = vec![0; 64 << 10];
    loop {
        let Ok(count) = from.read(&mut bytes).await else { return };
        if count == 0 || frozen.wait_for(|is_frozen| !is_frozen).await.is_err() {
            return;
        }
        if to.write_all(bytes.get(..count).unwrap_or_default()).await.is_err() {
            return;
        }
    }
}
