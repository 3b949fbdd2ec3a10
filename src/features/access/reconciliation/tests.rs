//! The rules as tables and properties; with a store and a connected system in the files beside.

mod rules;
