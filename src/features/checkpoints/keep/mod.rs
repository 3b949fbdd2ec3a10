//! Where checkpoints are kept.

pub mod file;
pub mod s3;
pub mod siem;

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;

use super::Record;
use crate::base::problem::Problem;

/// What a place answers, when it does.
pub type KeepFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, Problem>> + Send + 'a>>;

/// A place that checkpoints are kept in.
pub trait Keep: Debug + Send + Sync {
    /// `file`, `s3` or `siem`.
    fn name(&self) -> &'static str;

    /// Where that is, for people; no secret.
    fn place(&self) -> String;

    /// Keeps a checkpoint; one that is there already stays as it is.
    fn put<'a>(&'a self, record: &'a Record) -> KeepFuture<'a, ()>;

    /// The note that the place holds as the newest; `None` when it has none, or cannot be read back.
    fn newest(&self) -> KeepFuture<'_, Option<String>>;
}
