//! Ring 3: the edges. One folder per outside system; they know the engine's words and not each other.

pub mod clock;
pub mod kube;
pub mod prometheus;
