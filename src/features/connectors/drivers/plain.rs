//! Where a call may go that a workflow makes without a connector.
//!
//! The address may hold what somebody entered when they started a run, so it is believed only as far as an
//! administrator has listed systems: as HTTP connectors.
//!
//! # Invariants
//! - The scheme, host and port of the address are those of an HTTP connector.
//! - The path lies below the path of that connector's base URL, in whichever way it is written.

use std::time::Duration;

use serde_json::Value;
use url::Url;

use super::super::CallFailure;
use super::http::base_of;
use crate::platform::outbound::Origin;

/// Where a call goes, and by whose leave.
#[derive(Debug)]
pub(in super::super) struct Destination {
    pub(super) url: Url,
    pub(super) origin: Origin,
    /// How long the call may take.
    pub(super) limit: Duration,
    /// Which of the connectors that were given it lies below.
    pub(in super::super) at: usize,
}

/// The address of a call, if it may be made; `connectors` are the settings of the HTTP connectors.
pub(super) fn destination(text: &str, connectors: &[&Value]) -> Result<Destination, CallFailure> {
    let mut url: Url = text.parse().map_err(|e| bad(format!("got {text}: {e}")))?;
    if !matches!(url.scheme(), "http" | "https") || !url.username().is_empty() || url.password().is_some() {
        return Err(bad("expected http:// or https:// without a user name".to_owned()));
    }
    if climbs(url.path()) {
        return Err(bad("expected a path without . and .. segments, also encoded ones".to_owned()));
    }
    url.set_fragment(None);
    let origin = Origin::of(&url).ok_or_else(|| bad("expected an address with a host".to_owned()))?;
    let bases = connectors.iter().enumerate().filter_map(|(at, config)| base_of(config).map(|(base, limit)| (at, base, limit)));
    let same: Vec<(usize, Url, Duration)> =
        bases.filter(|(_, base, _)| Origin::of(base).as_ref() == Some(&origin)).collect();
    // The longest base URL is the one that is meant.
    let found = same.iter().filter(|(_, base, _)| lies_below(&url, base)).max_by_key(|(_, base, _)| base.path().len());
    match found {
        Some((at, _, limit)) => Ok(Destination { url, origin, limit: *limit, at: *at }),
        None => Err(CallFailure::lasting("not_listed", not_listed(&origin, &same))),
    }
}

fn bad(why: String) -> CallFailure {
    CallFailure::lasting("bad_params", format!("url: {why}"))
}

/// What is wrong, and what an administrator would do about it.
fn not_listed(origin: &Origin, same: &[(usize, Url, Duration)]) -> String {
    if same.is_empty() {
        return format!(
            "{origin} is the address of no HTTP connector, and an http step calls no other system. \
             Add an HTTP connector whose base URL begins with {origin}."
        );
    }
    let paths: Vec<&str> = same.iter().map(|(_, base, _)| base.path()).collect();
    format!(
        "At {origin} an http step calls only what lies below {}, where HTTP connectors lead. \
         Add an HTTP connector with a base URL above this address.",
        paths.join(", ")
    )
}

/// Whole segments: `/api` has `/api/x` below it and not `/apix`.
fn lies_below(url: &Url, base: &Url) -> bool {
    let base = base.path().trim_end_matches('/');
    url.path().strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether a server could take the path for one that goes up. Plain dots are gone when an address has been
/// read; what is left are those that a server sees once it has decoded the path, or passed over parameters.
fn climbs(path: &str) -> bool {
    let mut path = path.to_ascii_lowercase();
    loop {
        let signs = [("%25", "%"), ("%2e", "."), ("%2f", "/"), ("%5c", "\\"), ("%3b", ";")];
        let decoded = signs.iter().fold(path.clone(), |text, (code, sign)| text.replace(code, sign));
        if decoded == path {
            break;
        }
        path = decoded;
    }
    path.split(['/', '\\']).any(|segment| matches!(segment.split(';').next(), Some("." | "..")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn destination(url: &str, connectors: &[Value]) -> Result<Destination, CallFailure> {
        super::destination(url, &connectors.iter().collect::<Vec<_>>())
    }

    fn systems() -> Vec<Value> {
        vec![
            json!({ "baseUrl": "https://a.example/api/v1/", "auth": "bearer", "timeoutSeconds": 3 }),
            json!({ "baseUrl": "https://a.example/public" }),
            json!({ "baseUrl": "http://b.example:8080" }),
        ]
    }

    #[test]
    fn a_call_lies_below_the_base_url_of_a_connector() {
        for (url, sent, seconds) in [
            ("https://a.example/api/v1", "https://a.example/api/v1", 3),
            ("https://A.example:443/api/v1/users/7?q=%2e%2e#x", "https://a.example/api/v1/users/7?q=%2e%2e", 3),
            ("https://a.example/public/../api/v1/x", "https://a.example/api/v1/x", 3),
            ("https://a.example/public/a%2Fb", "https://a.example/public/a%2Fb", 10),
            ("http://b.example:8080/anything/...", "http://b.example:8080/anything/...", 10),
        ] {
            let found = destination(url, &systems()).unwrap_or_else(|e| panic!("{url}: {e}"));
            assert_eq!((found.url.as_str(), found.limit), (sent, Duration::from_secs(seconds)), "{url}");
            assert_eq!(Some(found.origin), Origin::of(&found.url));
            assert_eq!(found.at == 0, sent.contains("/v1"), "{url}");
        }
    }

    #[test]
    fn what_lies_elsewhere_is_not_listed() {
        for url in [
            "https://c.example/", "http://a.example/api/v1/x", "https://a.example:8443/api/v1/x", "http://b.example/",
            "https://a.example/", "https://a.example/api/v10", "https://a.example/api/v1/../../admin",
            "https://a.example/api/v1/%2e%2E/v2", "https://a.example\\..\\admin", "https://a.example.c.example/api/v1",
            "https://a.example/API/V1/x",
        ] {
            let failure = destination(url, &systems()).expect_err(url);
            assert_eq!((failure.code.as_str(), failure.retryable), ("not_listed", false), "{url}: {failure}");
        }
        let unknown = destination("https://c.example/x", &systems()).expect_err("unknown").message;
        assert_eq!(
            unknown,
            "https://c.example:443 is the address of no HTTP connector, and an http step calls no other system. \
             Add an HTTP connector whose base URL begins with https://c.example:443."
        );
        let above = destination("https://a.example/admin", &systems()).expect_err("above").message;
        assert!(above.contains("below /api/v1/, /public,"), "{above}");
    }

    #[test]
    fn no_spelling_of_an_address_climbs() {
        for url in [
            "https://a.example/api/v1/..%2f..%2fadmin", "https://a.example/api/v1/%252e%252e/admin",
            "https://a.example/api/v1/x%5c..%5cadmin", "https://a.example/api/v1/..;/admin",
            "https://a.example/api/v1/%2e%2e%3b/x",
            "https://user@a.example/api/v1/", "https://:secret@a.example/api/v1/", "ftp://a.example/api/v1", "/api/v1", "",
        ] {
            let failure = destination(url, &systems()).expect_err(url);
            assert_eq!(failure.code, "bad_params", "{url}: {failure}");
        }
    }
}
