//! Waiting with a deadline, for something that says what it saw last.

use std::fmt::Display;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

const PAUSE: Duration = Duration::from_millis(50);

/// Why a probe is not satisfied yet. Any error converts into it.
pub struct Seen(String);

impl<E: Display> From<E> for Seen {
    fn from(error: E) -> Self {
        Self(format!("{error:#}"))
    }
}

/// Asks `probe` again and again until it is satisfied; after `within` fails with what it saw last.
/// To be awaited where it is called: the compiler can't tell that its future may change threads.
pub async fn eventually<T, F>(what: impl Display, within: Duration, mut probe: F) -> Result<T>
where
    F: AsyncFnMut() -> Result<T, Seen>,
{
    let deadline = Instant::now() + within;
    let mut last = String::from("nothing");
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match tokio::time::timeout(left.max(PAUSE), probe()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(Seen(seen))) => last = seen,
            Err(_) => last = format!("no answer any more; before that: {last}"),
        }
        if Instant::now() + PAUSE >= deadline {
            bail!("{what}: not within {within:?}; last seen: {last}");
        }
        tokio::time::sleep(PAUSE).await;
    }
}
