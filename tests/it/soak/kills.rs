//! `kill -9` under load: no job is lost, nothing happens twice, and what was in flight goes on at once.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::{
    Moments, PROMISED_ACTIVE, PROMISED_PICK_UP, PROMISED_RATE, RATE, World, ledger, size, spread, the_machine,
};
use crate::support::load::Load;
use crate::support::redis::RedisServer;
use crate::support::Server;

/// What a kill cut.
struct Cut {
    /// Every job in the middle of an attempt.
    jobs: Vec<String>,
}

/// What was measured over all kills.
#[derive(Default)]
struct Figures {
    /// Active jobs at each kill that counts.
    active: Vec<usize>,
    /// Kills that hit fewer jobs than promised.
    thin: u32,
    /// From each restart to the first new attempt of what was in flight, and to the last.
    first: Vec<Duration>,
    last: Vec<Duration>,
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_millis()).expect("before the year 584556019")
}

/// When a job's last attempt began, in ms since 1970; nothing while it runs.
fn began(job: &Value) -> Option<u64> {
    let at: jiff::Timestamp = job["processedOn"].as_str()?.parse().ok()?;
    u64::try_from(at.as_millisecond()).ok().filter(|_| job["state"] != "active")
}

/// When each of the jobs was begun again after `restart`, in ms since 1970; waits until those attempts
/// are over, so that the next kill cuts others.
async fn begun_again(world: &World, server: &Server, cut: &Cut, restart: u64) -> Vec<u64> {
    let (mut begun, until) = (Vec::new(), Instant::now() + Duration::from_secs(10));
    for id in &cut.jobs {
        let path = format!("/api/jobs/{id}");
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        begun.push(loop {
            tick.tick().await;
            let job = world.get(server, &path).await.unwrap_or_default();
            if let Some(at) = began(&job).filter(|at| *at >= restart) {
                break at;
            }
            assert!(Instant::now() < until, "a job that was cut is not over: {job}");
        });
    }
    begun
}

/// Loads the server, kills it at a moment when enough jobs are active; answers what that cut.
async fn load_and_kill(
    world: &mut World,
    server: &mut Server,
    moment: Duration,
    before: Option<(&Cut, u64)>,
    figures: &mut Figures,
) -> Cut {
    let load = Load::start(&world.target(server), RATE, &world.numbers);
    if let Some((cut, restart)) = before {
        let begun = begun_again(world, server, cut, restart).await;
        let after = |at: Option<&u64>| Duration::from_millis(at.map_or(0, |at| at - restart));
        if !begun.is_empty() {
            figures.first.push(after(begun.iter().min()));
            figures.last.push(after(begun.iter().max()));
        }
    }
    tokio::time::sleep(moment).await;
    world.until_busy(server).await;
    server.kill();
    world.tally.add(load.stop().await);
    let sql = "SELECT id FROM job WHERE active = 1 AND state = 'handed'";
    let jobs = ledger::texts(&ledger::open(&world.data()), sql);
    if jobs.len() >= PROMISED_ACTIVE { figures.active.push(jobs.len()) } else { figures.thin += 1 }
    Cut { jobs }
}

async fn killed(mode: &str, vars: &[(&str, &str)]) {
    let _machine = the_machine().await;
    let (kills, mut moments, began) = (size(25, 200), Moments::seeded(), Instant::now());
    let mut world = World::start(vars).await;
    let mut figures = Figures::default();
    let mut cut: Option<Cut> = None;
    while figures.active.len() < kills as usize {
        assert!(figures.thin <= 10 + kills / 2, "the load keeps too few jobs active: {} thin kills", figures.thin);
        let restart = now_ms();
        let mut server = world.spawn();
        server.healthy().await;
        let before = cut.as_ref().map(|c| (c, restart));
        let moment = moments.next(50, 450);
        cut = Some(load_and_kill(&mut world, &mut server, moment, before, &mut figures).await);
    }
    world.settle().await;
    let (work, calls) = world.service.figures();
    let jobs_a_second = 2.0 * world.tally.rate();
    println!(
        "{mode}: {kills} kills, {} thin, at least {:?} jobs active; {work} runs, {} repeated calls, {} starts cut, \
         {jobs_a_second:.0} jobs/s; begun again after the restart: first {}; last {}; in all {:?}",
        figures.thin,
        figures.active.iter().min(),
        calls - work as u64,
        world.tally.cut.len(),
        spread(&mut figures.first),
        spread(&mut figures.last),
        began.elapsed()
    );
    assert!(world.tally.other.is_empty(), "{:?}", world.tally.other);
    assert!(jobs_a_second >= PROMISED_RATE, "the load was only {jobs_a_second:.0} jobs/s");
    let slowest = figures.last.iter().max().copied().unwrap_or_default();
    assert!(slowest <= PROMISED_PICK_UP, "what was in flight was begun again {slowest:?} after a restart");
}

/// 25 kills; `make soak` makes 200.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_under_load_it_loses_nothing_doubles_nothing_and_goes_on_at_once() {
    killed("embedded", &[]).await;
}

/// The same in full-spec mode.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_under_load_with_redis_it_loses_nothing_doubles_nothing_and_goes_on_at_once() {
    let redis = RedisServer::start().await;
    killed("redis", &[("REDIS_URL", &redis.url())]).await;
}
