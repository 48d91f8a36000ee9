//! Palier
