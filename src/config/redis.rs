//! Redis: set, it turns on full-spec mode.

use url::Url;

use super::{Reader, Secret};

/// `REDIS_*`.
#[derive(Debug, Clone)]
pub struct RedisConfig {
    /// `REDIS_URL`: set, the queue and the sessions are in Redis.
    pub url: Option<Secret>,
    /// `REDIS_PREFIX`.
    pub prefix: String,
}

const URL: &str = "a URL such as redis://localhost:6379 or rediss://:password@redis.example.org:6380/0";

pub(super) fn read(r: &mut Reader) -> RedisConfig {
    let url = r.secret("REDIS_URL");
    if url.as_ref().is_some_and(|u| !is_redis_url(u.expose())) {
        r.fault("REDIS_URL", None, URL);
    }
    let prefix = r.text("REDIS_PREFIX").unwrap_or_else(|| "bull".to_owned());
    if !prefix.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) || prefix.len() > 64 {
        r.fault("REDIS_PREFIX", Some(&prefix), "up to 64 letters, digits, dots, hyphens and underscores");
    }
    if url.is_none() {
        r.warn_if_set("REDIS_PREFIX", "does nothing without REDIS_URL");
    }
    RedisConfig { url, prefix }
}

/// A scheme, a host, and nothing after the port but the number of a database.
fn is_redis_url(text: &str) -> bool {
    let Ok(url) = Url::parse(text) else { return false };
    let database = url.path().trim_start_matches('/');
    matches!(url.scheme(), "redis" | "rediss")
        && url.host_str().is_some_and(|h| !h.is_empty())
        && (database.is_empty() || database.parse::<u16>().is_ok())
        && url.query().is_none()
        && url.fragment().is_none()
}
