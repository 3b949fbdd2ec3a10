//! The door to adopting what a reconciliation found: it makes access that nobody asked for, so it takes two.

pub mod api;
