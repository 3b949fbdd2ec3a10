//! The parts that every process has: databases, disk, and parts that know their condition themselves.

use std::path::PathBuf;

use super::{Check, CheckFuture, HealthSource, store};
use crate::base::problem::Problem;
use crate::platform::queue::Condition;
use crate::platform::store::Store;

/// Free space below which the disk is a warning, in bytes.
const DISK_LOW: u64 = 512 * 1024 * 1024;
/// Free space below which writing is about to fail, in bytes.
const DISK_OUT: u64 = 32 * 1024 * 1024;

/// A database file: a round trip through the writer, then a read.
#[derive(Debug)]
pub struct StoreSource {
    name: &'static str,
    backend: Option<&'static str>,
    store: Store,
}

impl StoreSource {
    /// `database`: the business database.
    pub fn database(store: Store) -> Self {
        Self { name: "database", backend: None, store }
    }

    /// `redis`: the embedded store of sessions and queue that stands in its place.
    pub fn embedded(queue_store: Store) -> Self {
        Self { name: "redis", backend: Some("embedded"), store: queue_store }
    }

    async fn round_trip(&self) -> Result<(), Problem> {
        self.store.write(store::write_probe).await?;
        self.store.read(store::read_probe).await.map(drop)
    }
}

impl HealthSource for StoreSource {
    fn name(&self) -> &'static str {
        self.name
    }

    fn decides(&self) -> bool {
        true
    }

    fn is_round_trip(&self) -> bool {
        true
    }

    fn backend(&self) -> Option<&'static str> {
        self.backend
    }

    fn check(&self) -> CheckFuture<'_> {
        Box::pin(async {
            match self.round_trip().await {
                Ok(()) => Check::ok(),
                Err(problem) => Check::down(short(&problem)),
            }
        })
    }
}

/// What a problem says in the health report; a hidden cause stays hidden.
fn short(problem: &Problem) -> String {
    match problem {
        Problem::Internal(_) => "cannot be written or read; the log holds the cause".to_owned(),
        other => other.to_string(),
    }
}

type Tell = Box<dyn Fn() -> Check + Send + Sync>;

/// A part that knows how it is without being waited for.
pub struct Told {
    name: &'static str,
    decides: bool,
    tell: Tell,
}

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Told").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Told {
    /// A part without which the whole is degraded.
    pub fn deciding(name: &'static str, tell: impl Fn() -> Check + Send + Sync + 'static) -> Self {
        Self { name, decides: true, tell: Box::new(tell) }
    }

    /// A part that only informs.
    pub fn informing(name: &'static str, tell: impl Fn() -> Check + Send + Sync + 'static) -> Self {
        Self { name, decides: false, tell: Box::new(tell) }
    }
}

impl HealthSource for Told {
    fn name(&self) -> &'static str {
        self.name
    }

    fn decides(&self) -> bool {
        self.decides
    }

    fn check(&self) -> CheckFuture<'_> {
        Box::pin(async { (self.tell)() })
    }
}

impl From<Condition> for Check {
    fn from(condition: Condition) -> Self {
        if condition.ok {
            Self::ok()
        } else {
            Self::down(condition.detail.unwrap_or_else(|| "does not work".to_owned()))
        }
    }
}

/// The file system that holds the data directory.
#[derive(Debug)]
pub struct DiskSource {
    /// The data directory.
    pub data_dir: PathBuf,
}

impl HealthSource for DiskSource {
    fn name(&self) -> &'static str {
        "disk"
    }

    fn decides(&self) -> bool {
        false
    }

    fn check(&self) -> CheckFuture<'_> {
        let path = self.data_dir.clone();
        Box::pin(async move {
            // A network file system may hang in this call, hence not on a runtime thread.
            let free = tokio::task::spawn_blocking(move || {
                rustix::fs::statvfs(&path).map(|s| s.f_bavail.saturating_mul(s.f_frsize))
            });
            match free.await {
                Ok(Ok(free)) => judge_free(free),
                _ => Check::down("the data directory cannot be looked at"),
            }
        })
    }
}

fn judge_free(free: u64) -> Check {
    let mib = free / (1024 * 1024);
    match free {
        0..DISK_OUT => Check::down(format!("{mib} MiB free; writing is about to fail")),
        DISK_OUT..DISK_LOW => Check::warning(format!("{mib} MiB free; expected at least 512 MiB")),
        _ => Check::ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::health::Status;

    #[test]
    fn the_disk_warns_before_it_is_full() {
        assert_eq!(judge_free(DISK_LOW).status, Status::Ok);
        assert_eq!(judge_free(DISK_LOW - 1).status, Status::Warning);
        assert_eq!(judge_free(DISK_OUT - 1).status, Status::Down);
    }
}
