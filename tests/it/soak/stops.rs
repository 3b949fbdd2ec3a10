//! SIGTERM under load: exit 0 in time, no request is cut, no job is left active.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{Moments, PROMISED_RATE, RATE, World, ledger, size, spread, the_machine};
use crate::support::load::Load;
use crate::support::redis::RedisServer;
use crate::support::{Server, eventually, free_port};

const GRACE: Duration = Duration::from_secs(10);

/// Ends the server with SIGTERM; answers how long that took.
async fn terminate(server: Server) -> Duration {
    let began = Instant::now();
    let code = tokio::task::spawn_blocking(move || server.terminate()).await.expect("joins");
    assert_eq!(code, 0, "the exit status after SIGTERM");
    began.elapsed()
}

async fn stopped(mode: &str, vars: &[(&str, &str)]) {
    let _machine = the_machine().await;
    let (stops, mut moments, began) = (size(15, 100), Moments::seeded(), Instant::now());
    let grace = GRACE.as_secs().to_string();
    let vars: Vec<(&str, &str)> = vars.iter().copied().chain([("SHUTDOWN_GRACE_SECONDS", grace.as_str())]).collect();
    let mut world = World::start(&vars).await;
    let mut times = Vec::new();
    for _ in 0..stops {
        let server = world.spawn();
        server.healthy().await;
        let load = Load::start(&world.target(&server), RATE, &world.numbers);
        tokio::time::sleep(moments.next(50, 450)).await;
        world.until_busy(&server).await;
        times.push(terminate(server).await);
        world.tally.add(load.stop().await);
        let db = ledger::open(&world.data());
        assert_eq!(ledger::number(&db, "SELECT count(*) FROM job WHERE active = 1"), 0, "jobs left active");
        let counted = "SELECT count(*) FROM job WHERE state = 'handed' AND attempts_made > 0";
        assert_eq!(ledger::number(&db, counted), 0, "attempts counted by a shutdown");
    }
    world.settle().await;
    let jobs_a_second = 2.0 * world.tally.rate();
    println!(
        "{mode}: {stops} times SIGTERM, {} runs, {} starts refused, {} cut, {jobs_a_second:.0} jobs/s; \
         ended after {}; in all {:?}",
        world.tally.accepted.len(),
        world.tally.refused,
        world.tally.cut.len(),
        spread(&mut times),
        began.elapsed()
    );
    assert!(world.tally.cut.is_empty(), "requests that were cut: {:#?}", world.tally.cut);
    assert!(world.tally.other.is_empty(), "{:?}", world.tally.other);
    assert!(jobs_a_second >= PROMISED_RATE, "the load was only {jobs_a_second:.0} jobs/s");
    assert!(times.iter().all(|t| *t <= GRACE), "{times:?}");
}

/// 15 times SIGTERM; `make soak` makes 100.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_under_load_cuts_no_request_and_leaves_no_job_active() {
    stopped("embedded", &[]).await;
}

/// The same in full-spec mode.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_under_load_with_redis_cuts_no_request_and_leaves_no_job_active() {
    let redis = RedisServer::start().await;
    stopped("redis", &[("REDIS_URL", &redis.url())]).await;
}

/// Nobody takes the mail: its job waits for the second attempt when the signal comes.
async fn stopped_between_attempts(mode: &str, vars: &[(&str, &str)]) {
    let smtp = format!("smtp://127.0.0.1:{}", free_port());
    let mail = [("SMTP_URL", smtp.as_str()), ("MAIL_FROM", "tenure@example.org")];
    let vars: Vec<(&str, &str)> = vars.iter().copied().chain(mail).collect();
    let world = World::start(&vars).await;
    let server = world.spawn();
    server.healthy().await;
    // The first start goes out at once, the next one a second later.
    let load = Load::start(&world.target(&server), 1, &world.numbers);
    let job = eventually("a mail waits for its second attempt", Duration::from_secs(10), || async {
        let jobs = world.get(&server, "/api/jobs?name=send-mail&state=delayed").await?;
        jobs["items"].as_array()?.iter().find(|j| j["attemptsMade"] == json!(1))?["id"].as_str().map(str::to_owned)
    })
    .await;
    load.stop().await;
    let row = format!("SELECT state || ' ' || active || ' ' || attempts_made FROM job WHERE id = '{job}'");
    let took = terminate(server).await;
    assert_eq!(ledger::texts(&ledger::open(&world.data()), &row), ["handed 0 1"]);
    println!("{mode}: SIGTERM between two attempts ended after {took:?}");
    assert!(took <= Duration::from_secs(1), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_between_two_attempts_ends_within_a_second() {
    let _machine = the_machine().await;
    stopped_between_attempts("embedded", &[]).await;
    let redis = RedisServer::start().await;
    stopped_between_attempts("redis", &[("REDIS_URL", &redis.url())]).await;
}

/// The kernel completes a connection before the server hears of it: on one thread it has not heard of
/// any of these when it is told to stop. Half of them send their request only then.
#[tokio::test]
async fn whoever_connected_before_the_stop_is_answered() {
    use std::io::{Read as _, Write as _};
    let router = axum::Router::new().route("/", axum::routing::get(|| async { "here" }));
    let server = tenure::platform::http::Server::start("127.0.0.1:0", None, router).await.expect("it listens");
    let request = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let mut sockets: Vec<_> = (0..20)
        .map(|_| std::net::TcpStream::connect(server.local_addr).expect("the kernel accepts"))
        .collect();
    let (late, early) = sockets.split_at_mut(10);
    early.iter_mut().for_each(|s| s.write_all(request).expect("the request is sent"));
    let address = server.local_addr;
    let finishing = server.stop_accepting();
    let finished = tokio::spawn(finishing.finish(Duration::from_secs(5)));
    eventually("nobody listens any more", Duration::from_secs(5), || async {
        tokio::net::TcpStream::connect(address).await.is_err().then_some(())
    })
    .await;
    late.iter_mut().for_each(|s| s.write_all(request).expect("the connection is open"));
    assert!(finished.await.expect("joins"), "something was cut");
    for (number, mut socket) in sockets.into_iter().enumerate() {
        let mut answer = String::new();
        socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a time limit");
        socket.read_to_string(&mut answer).unwrap_or_else(|e| panic!("connection {number}: {e}, after {answer:?}"));
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("here"), "connection {number}: {answer:?}");
    }
}
