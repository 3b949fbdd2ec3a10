//! No connection to a forbidden address, whatever it is called: observed at the socket that would take it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::StatusCode;
use serde_json::json;
use tenure::features::connectors::{ConnectorSettings, Kind};
use tenure::platform::outbound::{Lookup, LookupFuture, Origin, Outbound, OutboundSettings, Request};
use tokio::net::TcpListener;

use crate::support::connectors::Bench;

/// A socket that counts who connects.
struct Trap {
    port: u16,
    taken: Arc<AtomicUsize>,
}

impl Trap {
    /// On every address of this machine, of both families where it has them.
    async fn everywhere() -> Self {
        let listener = match TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).await {
            Ok(both) => both,
            Err(_) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await.expect("a port"),
        };
        Self::on(listener)
    }

    fn on(listener: TcpListener) -> Self {
        let port = listener.local_addr().expect("an address").port();
        let taken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&taken);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                drop(stream);
            }
        });
        Self { port, taken }
    }

    fn taken(&self) -> usize {
        self.taken.load(Ordering::SeqCst)
    }
}

/// `NAME.at.example` is where its first labels say: `127-0-0-1.at.example`, `v6-0--1.at.example`.
struct Names;

impl Lookup for Names {
    fn lookup<'a>(&'a self, name: &'a str) -> LookupFuture<'a> {
        Box::pin(async move {
            let Some(label) = name.trim_end_matches('.').strip_suffix(".at.example") else { return Vec::new() };
            match label.strip_prefix("v6-") {
                Some(text) => text.replace('-', ":").parse().map(IpAddr::V6).into_iter().collect(),
                None => label.replace('-', ".").parse().map(IpAddr::V4).into_iter().collect(),
            }
        })
    }
}

fn door(allow_loopback: bool) -> Outbound {
    tenure::app::install_crypto();
    Outbound::with_lookup(OutboundSettings { allow_loopback, extra_ca_pem: None }, Arc::new(Names)).expect("opens")
}

/// What an IPv4 address is called by whoever hopes that nobody recognises it.
fn spellings(ip: Ipv4Addr) -> Vec<String> {
    let [a, b, c, d] = ip.octets();
    let whole = u32::from(ip);
    let (high, low) = (whole >> 16, whole & 0xffff);
    let other = |zero: char| -> String {
        ip.to_string().chars().map(|c| c.to_digit(10).map_or(c, |n| char::from_u32(zero as u32 + n).expect("a digit"))).collect()
    };
    vec![
        ip.to_string(),
        format!("{ip}."),
        format!("{whole}"),
        format!("0x{whole:x}"),
        format!("0X{whole:08X}"),
        format!("0{whole:o}"),
        format!("0x{a:x}.0x{b:x}.0x{c:x}.0x{d:x}"),
        format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
        format!("0000{a:o}.{b}.{c}.0x{d:x}"),
        format!("{a}.{b}.{}", u32::from(c) << 8 | u32::from(d)),
        format!("{a}.{}", whole & 0x00ff_ffff),
        format!("0x{a:x}.0{:o}", whole & 0x00ff_ffff),
        format!("{a}%2e{b}%2E{c}.{d}"),
        ip.to_string().bytes().map(|b| format!("%{b:02x}")).collect(),
        other('\u{ff10}'),
        ip.to_string().replace('.', "\u{3002}"),
        format!("[::ffff:{ip}]"),
        format!("[::FFFF:{high:X}:{low:X}]"),
        format!("[0:0:0:0:0:ffff:{high:x}:{low:x}]"),
        format!("[::{ip}]"),
        format!("[::ffff:0:{ip}]"),
        format!("[64:ff9b::{high:x}:{low:x}]"),
        format!("[64:ff9b:1::{ip}]"),
        format!("[2002:{high:x}:{low:x}::1]"),
        format!("[2001:db8::5efe:{ip}]"),
        format!("{}.at.example", ip.to_string().replace('.', "-")),
        format!("{}.AT.Example.", ip.to_string().replace('.', "-")),
        format!("v6-0-0-0-0-0-ffff-{high:x}-{low:x}.at.example"),
    ]
}

/// What is never called on this machine unless that is allowed, and what is never called at all.
const FORBIDDEN: [&str; 10] = [
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "169.254.169.254", "169.254.170.2", "100.100.100.200",
    "168.63.129.16", "224.0.0.1", "255.255.255.255",
];

const OTHERS: [&str; 20] = [
    "localhost", "LOCALHOST", "localhost.", "a.localhost", "a.localhost.", "l%6fcalhost", "\u{ff4c}ocalhost", "[::1]",
    "[0:0:0:0:0:0:0:1]", "[0000:0000:0000:0000:0000:0000:0000:0001]", "[::]", "[fe80::1]", "[fe80::5efe:10.0.0.1]",
    "[fd00:ec2::254]", "[fd00:ec2::23]", "[fd20:ce::254]", "[ff02::1]", "[fec0::1]", "[2001:0:7f00:1::]", "v6-0-0-0-0-0-0-0-1.at.example",
];

#[tokio::test]
async fn two_hundred_ways_to_write_a_forbidden_address_reach_no_socket() {
    let trap = Trap::everywhere().await;
    let mut hosts: Vec<String> = FORBIDDEN.iter().flat_map(|ip| spellings(ip.parse().expect("an address"))).collect();
    hosts.extend(OTHERS.map(str::to_owned));
    assert!(hosts.len() >= 200, "{}", hosts.len());
    let door = door(false);
    let mut reached_the_rule = 0;
    for host in &hosts {
        let Ok(url) = format!("http://{host}:{}/latest/", trap.port).parse::<url::Url>() else { continue };
        // As if an administrator had listed it: the address itself is what is refused.
        let listed: Vec<Origin> = Origin::of(&url).into_iter().collect();
        let error = door.send(&listed, Request::get(url)).await.expect_err(host);
        assert_eq!(error.code(), "address_refused", "{host}: {error}");
        reached_the_rule += 1;
        let plain = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let origin = Origin { scheme: "ldap".to_owned(), host: plain, port: trap.port };
        let error = door.connect(&origin, std::time::Duration::from_secs(5)).await.expect_err(host);
        // A name that only HTTP takes for an address is no name.
        assert!(["address_refused", "no_such_name"].contains(&error.code()), "{host}: {error}");
    }
    assert!(reached_the_rule >= 200, "only {reached_the_rule} were addresses at all");
    assert_eq!(trap.taken(), 0);
    // The trap does take whoever is let through.
    let url: url::Url = format!("http://127.0.0.1:{}/", trap.port).parse().expect("a URL");
    let open = self::door(true).send(&[Origin::of(&url).expect("an origin")], Request::get(url)).await;
    assert!(open.is_err() && trap.taken() > 0, "{open:?}");
}

/// An address that is written so that one reader finds another host in it than the next one.
#[tokio::test]
async fn an_address_that_can_be_read_in_two_ways_reaches_no_socket() {
    let trap = Trap::everywhere().await;
    let port = trap.port;
    let door = door(false);
    let good = Origin { scheme: "http".to_owned(), host: "good.at.example".to_owned(), port };
    for text in [
        format!("http://good.at.example@127.0.0.1:{port}/"),
        format!("http://good.at.example:{port}@127.0.0.1:{port}/"),
        format!("http://127.0.0.1:{port}\\@good.at.example:{port}/"),
        format!("http://127.0.0.1:{port}#@good.at.example:{port}/"),
        format!("http://127.0.0.1:{port}?@good.at.example:{port}/"),
        format!("http:\\\\127.0.0.1:{port}\\good.at.example"),
        format!("http:127.0.0.1:{port}/"),
        format!("http:/127.0.0.1:{port}/"),
        format!("http:////127.0.0.1:{port}/"),
        format!("http://127.0.0.1\t:{port}/"),
        format!(" http://127.0.0.1:{port}/"),
        format!("http://127.0.0.1:{port}/http://good.at.example:{port}/"),
        format!("https://good.at.example:{port}/"),
        format!("http://good.at.example.evil.at.example:{port}/"),
        format!("http://good.at.example%00.127-0-0-1.at.example:{port}/"),
        format!("ftp://127.0.0.1:{port}/"),
        format!("file://127.0.0.1:{port}/etc/passwd"),
        format!("gopher://127.0.0.1:{port}/_GET"),
        format!("dict://127.0.0.1:{port}/"),
        format!("http://good.at.example:{port}/"),
    ] {
        let Ok(url) = text.parse::<url::Url>() else { continue };
        let error = door.send(std::slice::from_ref(&good), Request::get(url)).await.expect_err(&text);
        assert!(["not_listed", "no_such_name"].contains(&error.code()), "{text}: {error}");
    }
    assert_eq!(trap.taken(), 0);
}

/// Gives a good address at one time and a forbidden one at the next, or both at once.
struct Flipping {
    asked: AtomicUsize,
}

const GOOD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

impl Lookup for Flipping {
    fn lookup<'a>(&'a self, name: &'a str) -> LookupFuture<'a> {
        let asked = self.asked.fetch_add(1, Ordering::SeqCst);
        let (good, bad) = (IpAddr::V4(GOOD), IpAddr::V4(Ipv4Addr::LOCALHOST));
        let found = match name {
            "both.example" => vec![bad, good],
            "gone.example" => vec![IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3)), bad],
            _ if asked.is_multiple_of(2) => vec![good],
            _ => vec![bad],
        };
        Box::pin(std::future::ready(found))
    }
}

/// Tenure's own listener is forbidden, another server on the same port is not: a name that leads to the one and
/// then to the other reaches only the good one, because what is connected to is what was checked.
#[tokio::test]
async fn a_name_that_changes_its_address_reaches_no_forbidden_socket() {
    tenure::app::install_crypto();
    let good = TcpListener::bind((GOOD, 0)).await.expect("a port");
    let port = good.local_addr().expect("an address").port();
    let forbidden = Trap::on(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.expect("the same port"));
    let served = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&served);
    let app = Router::new().fallback(move || {
        count.fetch_add(1, Ordering::SeqCst);
        // Each call resolves anew.
        std::future::ready(([("connection", "close")], "hello"))
    });
    tokio::spawn(axum::serve(good, app).into_future());
    let names = Arc::new(Flipping { asked: AtomicUsize::new(0) });
    let door = Outbound::with_lookup(OutboundSettings { allow_loopback: true, extra_ca_pem: None }, names).expect("opens");
    door.set_own_listeners(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))]);
    let mut refused = 0;
    for n in 0..60 {
        let name = ["rebind.example", "both.example", "gone.example"][n % 3];
        let url: url::Url = format!("http://{name}:{port}/").parse().expect("a URL");
        let origin = Origin::of(&url).expect("an origin");
        let answer = door.send(std::slice::from_ref(&origin), Request::get(url)).await;
        if let Err(error) = &answer {
            assert!(["address_refused", "unreachable"].contains(&error.code()), "{name}: {error}");
            refused += 1;
        }
        drop(door.connect(&origin, std::time::Duration::from_secs(5)).await);
    }
    assert_eq!(forbidden.taken(), 0);
    assert!(served.load(Ordering::SeqCst) >= 20 && refused >= 20, "{refused} refused");
}

/// Whatever a system answers, it sends Tenure nowhere.
#[tokio::test]
async fn no_redirect_is_followed() {
    let trap = Trap::everywhere().await;
    let port = trap.port;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    let app = Router::new().fallback(move |uri: axum::http::Uri| async move {
        let mut parts = uri.path().trim_start_matches('/').split('/');
        let status = parts.next().and_then(|s| s.parse().ok()).unwrap_or(StatusCode::FOUND);
        let host = parts.next().unwrap_or("127.0.0.1");
        (status, [("location", format!("http://{host}:{port}/")), ("refresh", format!("0; url=http://{host}:{port}/"))], "{}")
    });
    tokio::spawn(axum::serve(listener, app).into_future());
    let bench = Bench::start(None).await;
    let http = bench.connector(Kind::Http, json!({ "baseUrl": base }), &[]).await;
    for status in [300, 301, 302, 303, 307, 308] {
        for host in ["127.0.0.1", "localhost", "2130706433", "[::1]", "169.254.169.254"] {
            let params = json!({ "method": "POST", "path": format!("{status}/{host}"), "body": { "a": 1 } });
            let failure = bench.call(&http, "request", &params).await.expect_err("a redirect");
            assert_eq!(failure.code, format!("http_{status}"), "{host}");
        }
    }
    let scim = bench.connector(Kind::Scim, json!({ "baseUrl": base, "auth": "none" }), &[]).await;
    assert_eq!(bench.call(&scim, "has_user", &json!({ "userName": "ada" })).await.expect_err("a redirect").code, "http_302");
    assert_eq!(trap.taken(), 0);
}

/// Every kind of connector goes through the one door.
#[tokio::test]
async fn no_kind_of_connector_calls_a_forbidden_address() {
    let trap = Trap::everywhere().await;
    let bench = Bench::with(door(false), ConnectorSettings::default()).await;
    let statements = json!({ "s": "VALUES (1)" });
    for host in ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "127-0-0-1.at.example", "169.254.169.254", "0.0.0.0"] {
        let at = format!("{host}:{}", trap.port);
        let sql = |engine: &str| json!({ "engine": engine, "url": format!("{engine}://{at}/hr"), "user": "t", "statements": statements });
        for (kind, config, command, params) in [
            (Kind::Http, json!({ "baseUrl": format!("http://{at}") }), "request", json!({ "method": "GET", "path": "x" })),
            (Kind::Scim, json!({ "baseUrl": format!("http://{at}"), "auth": "none" }), "has_user", json!({ "userName": "a" })),
            (Kind::Ldap, json!({ "url": format!("ldap://{at}") }), "has_entry", json!({ "dn": "dc=x" })),
            (Kind::Sql, sql("postgresql"), "check", json!({ "statement": "s" })),
            (Kind::Sql, sql("mysql"), "check", json!({ "statement": "s" })),
        ] {
            let secrets: &[(&str, &str)] = if kind == Kind::Sql { &[("password", "x")] } else { &[] };
            let id = bench.connector(kind, config, secrets).await;
            let failure = bench.call(&id, command, &params).await.expect_err(host);
            assert_eq!((failure.code.as_str(), failure.retryable), ("address_refused", false), "{kind:?} {host}");
            assert!(bench.connectors.test(&id).await.is_err(), "{kind:?} {host}");
        }
    }
    assert_eq!(trap.taken(), 0);
}
