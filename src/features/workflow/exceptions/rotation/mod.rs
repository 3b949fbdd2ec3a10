//! The door to sealing the secrets of connectors under another key: it takes two.

pub mod api;
