//! What the product does, one folder each, from low to high; each may use those above it.

pub mod audit;
pub mod connectors;
pub mod notifications;
pub mod settings;
