//! Redis: set, it turns on full-spec mode.

use super::Reader;

/// `REDIS_*`.
#[derive(Debug, Clone)]
pub struct RedisConfig {
    /// `REDIS_PREFIX`.
    pub prefix: String,
}

pub(super) fn read(r: &mut Reader) -> RedisConfig {
    if let Some(url) = r.secret("REDIS_URL") {
        let scheme = url.expose().split("://").next().unwrap_or("").to_owned();
        if matches!(scheme.as_str(), "redis" | "rediss") {
            r.fault(
                "REDIS_URL",
                None,
                "not to be set: this version runs on the embedded queue only, and would not use the Redis it is given",
            );
        } else {
            r.fault("REDIS_URL", None, "a URL that begins with redis:// or rediss://");
        }
    }
    let prefix = r.text("REDIS_PREFIX").unwrap_or_else(|| "bull".to_owned());
    if !prefix.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) || prefix.len() > 64 {
        r.fault("REDIS_PREFIX", Some(&prefix), "up to 64 letters, digits, dots, hyphens and underscores");
    }
    r.warn_if_set("REDIS_PREFIX", "is checked and does nothing yet: this version runs on the embedded queue");
    RedisConfig { prefix }
}
