//! The connection pool.

use std::time::Duration;

use super::Reader;

/// `DB_POOL_*`.
#[derive(Debug, Clone, Copy)]
pub struct DatabaseConfig {
    /// Most connections, the writer counted.
    pub max: u32,
    /// Connections kept open when idle, the writer counted.
    pub min: u32,
    /// Idle readers above `min` close after this time.
    pub idle_timeout: Duration,
    /// How long a caller waits for a connection.
    pub connection_timeout: Duration,
}

pub(super) fn read(r: &mut Reader) -> DatabaseConfig {
    let max = r.number("DB_POOL_MAX", 10_u32, 1, 64);
    // The default gives way to a small maximum; a value that was set does not.
    let min = r.number("DB_POOL_MIN", 2.min(max), 0, 64);
    if min > max && !r.is_faulty("DB_POOL_MAX") {
        let text = min.to_string();
        r.fault("DB_POOL_MIN", Some(&text), format!("at most DB_POOL_MAX, which is {max}"));
    }
    DatabaseConfig {
        max,
        min,
        idle_timeout: Duration::from_millis(r.number("DB_POOL_IDLE_TIMEOUT_MS", 30_000_u64, 1000, 86_400_000)),
        connection_timeout: Duration::from_millis(r.number("DB_POOL_CONNECTION_TIMEOUT_MS", 5000_u64, 100, 60_000)),
    }
}
