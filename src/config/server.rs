//! Listener, public address, limits of requests.

use std::net::IpAddr;
use std::path::PathBuf;

use url::Url;

use super::{AppEnv, Reader, Secret};

/// How Tenure is reached.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// `HOST`.
    pub host: String,
    /// `PORT`; 0 only in tests.
    pub port: u16,
    /// `PUBLIC_URL`.
    pub public_url: Url,
    /// `TLS_CERT_FILE` and `TLS_KEY_FILE`.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// `EXTRA_CA_FILE`.
    pub extra_ca: Option<PathBuf>,
    /// `TRUST_PROXY`.
    pub trust_proxy: bool,
    /// `ALLOWED_ORIGINS`.
    pub allowed_origins: Vec<String>,
    /// `OUTBOUND_ALLOW_LOOPBACK`.
    pub outbound_allow_loopback: bool,
    /// `ORG_TIMEZONE`.
    pub timezone: jiff::tz::TimeZone,
    /// `RATE_LIMIT_*`.
    pub rates: RateConfig,
    /// `OIDC_*`, when all four are set.
    pub oidc: Option<OidcConfig>,
}

/// Requests per minute; 0 turns a limit off.
#[derive(Debug, Clone, Copy)]
pub struct RateConfig {
    /// `RATE_LIMIT_ACCOUNT_PER_MIN`.
    pub account: u32,
    /// `RATE_LIMIT_ADDRESS_PER_MIN`.
    pub address: u32,
    /// `RATE_LIMIT_SIGN_IN_PER_MIN`.
    pub sign_in: u32,
    /// `RATE_LIMIT_HOOKS_PER_MIN`.
    pub hooks: u32,
}

/// An OpenID provider.
#[derive(Debug, Clone)]
pub struct OidcConfig {
    /// `OIDC_ISSUER`.
    pub issuer: Url,
    /// `OIDC_CLIENT_ID`.
    pub client_id: String,
    /// `OIDC_CLIENT_SECRET`.
    pub client_secret: Secret,
    /// `OIDC_REDIRECT_URI`.
    pub redirect_uri: Url,
    /// `OIDC_NAME`.
    pub name: String,
}

pub(super) fn read(r: &mut Reader, env: AppEnv) -> ServerConfig {
    let host = r.text("HOST").unwrap_or_else(|| "127.0.0.1".to_owned());
    if host.parse::<IpAddr>().is_err() && !is_host_name(&host) {
        r.fault("HOST", Some(&host), "an IP address or a host name");
    }
    let port = r.number("PORT", 7070_u16, 1, u16::MAX);
    let tls = super::tls::own(r);
    let public_url = public_url(r, env, &host, port, tls.is_some());
    let extra_ca = super::tls::extra_ca(r);
    ServerConfig {
        allowed_origins: origins(r, &public_url),
        trust_proxy: r.flag("TRUST_PROXY", false),
        outbound_allow_loopback: r.flag("OUTBOUND_ALLOW_LOOPBACK", env == AppEnv::Development),
        timezone: timezone(r),
        rates: RateConfig {
            account: r.number("RATE_LIMIT_ACCOUNT_PER_MIN", 1200, 0, 1_000_000),
            address: r.number("RATE_LIMIT_ADDRESS_PER_MIN", 200, 0, 1_000_000),
            sign_in: r.number("RATE_LIMIT_SIGN_IN_PER_MIN", 20, 0, 1_000_000),
            hooks: r.number("RATE_LIMIT_HOOKS_PER_MIN", 30, 0, 1_000_000),
        },
        oidc: oidc(r),
        host,
        port,
        public_url,
        tls,
        extra_ca,
    }
}

fn is_host_name(text: &str) -> bool {
    text.len() <= 253
        && text.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
        && !text.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

fn http_url(r: &mut Reader, name: &str) -> Option<Url> {
    let text = r.text(name)?;
    match Url::parse(&text) {
        Ok(url) if is_plain(&url) => Some(url),
        _ => {
            r.fault(
                name,
                Some(&text),
                "an absolute http or https URL such as https://tenure.example.org, without user, query and fragment",
            );
            None
        }
    }
}

/// Whether it is an address and nothing more.
fn is_plain(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
        && url.host().is_some()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none()
}

fn public_url(r: &mut Reader, env: AppEnv, host: &str, port: u16, tls: bool) -> Url {
    let given = http_url(r, "PUBLIC_URL");
    let shown_url = given.as_ref().map(Url::to_string);
    let scheme = if tls { "https" } else { "http" };
    let shown = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let url = given.unwrap_or_else(|| {
        Url::parse(&format!("{scheme}://{shown}:{port}"))
            .unwrap_or_else(|_| Url::parse("http://127.0.0.1:7070").expect("a constant URL"))
    });
    if env == AppEnv::Production && url.scheme() != "https" && !is_loopback(&url) && !r.is_faulty("PUBLIC_URL") {
        r.fault(
            "PUBLIC_URL",
            shown_url.as_deref(),
            "the https address that people use, as this is production and the host is not loopback",
        );
    }
    url
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(a)) => a.is_loopback(),
        Some(url::Host::Ipv6(a)) => a.is_loopback(),
        Some(url::Host::Domain(d)) => d == "localhost",
        None => false,
    }
}

fn origins(r: &mut Reader, public: &Url) -> Vec<String> {
    let own = public.origin().ascii_serialization();
    let Some(text) = r.text("ALLOWED_ORIGINS") else { return vec![own] };
    let mut all = vec![own];
    for part in text.split(',').map(str::trim) {
        match Url::parse(part) {
            Ok(url)
                if matches!(url.scheme(), "http" | "https")
                    && url.origin().ascii_serialization() == part.trim_end_matches('/') =>
            {
                all.push(url.origin().ascii_serialization());
            }
            _ => {
                r.fault("ALLOWED_ORIGINS", Some(&text), "a comma list of origins such as https://intranet.example.org");
                break;
            }
        }
    }
    all
}

fn timezone(r: &mut Reader) -> jiff::tz::TimeZone {
    let Some(text) = r.text("ORG_TIMEZONE") else { return jiff::tz::TimeZone::UTC };
    jiff::tz::TimeZone::get(&text).unwrap_or_else(|_| {
        r.fault("ORG_TIMEZONE", Some(&text), "an IANA time zone such as Europe/Berlin");
        jiff::tz::TimeZone::UTC
    })
}

/// Where Tenure takes people back from the provider.
const CALLBACK: &str = "/api/auth/oidc/callback";

fn oidc(r: &mut Reader) -> Option<OidcConfig> {
    const NAMES: [&str; 4] = ["OIDC_ISSUER", "OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET", "OIDC_REDIRECT_URI"];
    let issuer = r.is_set(NAMES[0]).then(|| http_url(r, NAMES[0]));
    let client_id = r.word(NAMES[1]);
    let client_secret = r.secret(NAMES[2]);
    let redirect_uri = r.is_set(NAMES[3]).then(|| http_url(r, NAMES[3]));
    let name = r.word("OIDC_NAME");
    if let Some(Some(uri)) = redirect_uri.as_ref().filter(|uri| uri.as_ref().is_some_and(|u| !u.path().ends_with(CALLBACK))) {
        r.fault(NAMES[3], Some(uri.as_str()), "the address that people use, followed by /api/auth/oidc/callback");
    }
    let set = [issuer.is_some(), client_id.is_some(), client_secret.is_some(), redirect_uri.is_some()];
    if set.iter().any(|s| *s) {
        for (name, set) in NAMES.iter().zip(set) {
            if !set && !r.is_faulty(name) && !r.is_faulty(&format!("{name}_FILE")) {
                r.fault(name, None, "a value, because other OIDC_* variables are set: all or none");
            }
        }
    }
    let issuer = issuer??;
    Some(OidcConfig {
        name: name.unwrap_or_else(|| issuer.host_str().unwrap_or_default().to_owned()),
        issuer,
        client_id: client_id?,
        client_secret: client_secret?,
        redirect_uri: redirect_uri??,
    })
}
