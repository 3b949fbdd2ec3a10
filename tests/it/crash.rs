//! `kill -9` at random moments of the sample story: it still ends right, and nothing happens twice.
//!
//! The story provisions in three systems: the directory inside Tenure, an HTTP service that counts the
//! calls for each idempotency key, and a real LDAP server that logs what it carried out.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tenure::app::demo::story::{self, Cast};
use tenure::base::problem::Problem;
use tenure::base::time::Timestamp;

use crate::support::counter::Counter;
use crate::support::slapd::{BASE_DN, Slapd};
use crate::support::{Server, command, http};

const START: &str = "2031-03-01T12:00:00Z";
const AFTER_THE_END: &str = "2032-02-29T12:00:01Z";
/// The most kills while access comes, and while it goes, in one story.
const MOST_KILLS: [u32; 2] = [8, 4];
const SEED: u64 = 2031;

/// A seeded sequence, so that a failure can be repeated.
struct Moments(u64);

impl Moments {
    /// A moment before `end`.
    fn next(&mut self, end: Duration) -> Duration {
        // SplitMix64 (Steele, Lea, Flood 2014).
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Duration::from_micros((z ^ (z >> 31)) % u64::try_from(end.as_micros()).expect("a short time").max(1))
    }
}

/// Where the next kill comes, and what the kills so far hit.
struct Chance {
    moments: Moments,
    hits: Hits,
}

/// What the kills hit.
#[derive(Debug, Default)]
struct Hits {
    kills: u32,
    /// The part of the story was not through.
    in_flight: u32,
    /// A run was on its way.
    running: u32,
    /// An attempt of a job was being made.
    in_a_job: u32,
}

impl Hits {
    /// Reads what the dead process left.
    fn note(&mut self, data: &Path, cut: bool) {
        self.kills += 1;
        self.in_flight += u32::from(cut);
        self.running += u32::from(count(data, "run WHERE status IN ('pending', 'running', 'waiting')") > 0);
        self.in_a_job += u32::from(count(data, "job WHERE active = 1") > 0);
    }
}

/// How many rows there are; none in a database that was not made yet.
fn count(data: &Path, rows: &str) -> u32 {
    let Ok(db) = Connection::open_with_flags(data.join("tenure.db"), rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE) else {
        return 0;
    };
    match db.query_row(&format!("SELECT count(*) FROM {rows}"), [], |row| row.get(0)) {
        Ok(count) => count,
        Err(e) if e.to_string().contains("no such table") => 0,
        Err(e) => panic!("{rows}: {e}"),
    }
}

/// The world of one story.
struct World {
    folder: tempfile::TempDir,
    counter: Counter,
    slapd: Slapd,
}

impl World {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self { folder, counter: Counter::start().await, slapd: Slapd::start().await }
    }

    fn data(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }

    fn spawn(&self, now: &str) -> Server {
        let args = ["demo", "--lab-url", &self.counter.url, "--ldap-url", &self.slapd.url, "--now", now];
        Server::spawn(&args, &self.data(), &[("RATE_LIMIT_SIGN_IN_PER_MIN", "0")])
    }

    /// Goes through a part of the story against a server that is killed at random moments, until the
    /// part is through before the kill comes or there were `most` kills; then once more undisturbed.
    /// Answers how long the start and the rest of that last time took.
    async fn through_kills<F, Fut>(&self, part: &Part<F>, most: u32, chance: &mut Chance) -> Pace
    where
        F: Fn(Cast) -> Fut,
        Fut: Future<Output = Result<(), Problem>>,
    {
        for _ in 0..most {
            let mut server = self.spawn(part.now);
            let cut = part.cut(&server, chance).await;
            server.kill();
            chance.hits.note(&self.data(), cut);
            if !cut {
                break;
            }
        }
        let server = self.spawn(part.now);
        let began = Instant::now();
        let cast = sign_in(&server).await.expect("the cast signs in after the last restart");
        let start = began.elapsed();
        (part.act)(cast).await.expect("the story goes on after the last restart");
        let pace = Pace { start, rest: began.elapsed().saturating_sub(start) };
        assert_eq!(server.terminate(), 0);
        pace
    }

    /// In each of the three systems: whether Ada is in it, how often she was put in, how often taken out.
    fn outside(&self) -> [(bool, usize, usize); 3] {
        let data = self.data();
        let calls = |command: &str| {
            let done = format!("directory_call WHERE command = '{command}' AND json_extract(output, '$.changed')");
            count(&data, &done) as usize
        };
        let inside = count(&data, "directory_member WHERE account_name = 'ada'") == 1;
        let dn = format!("uid=ada,ou=people,{BASE_DN}");
        [
            (inside, calls("add_member"), calls("remove_member")),
            (self.counter.present("ada"), self.counter.keys("PUT", "ada"), self.counter.keys("DELETE", "ada")),
            (self.slapd.find(&dn), self.slapd.carried_out("ADD", &dn), self.slapd.carried_out("DEL", &dn)),
        ]
    }
}

/// How long a part takes undisturbed: until everybody is signed in, and from there.
#[derive(Debug, Default, Clone, Copy)]
struct Pace {
    start: Duration,
    rest: Duration,
}

/// A part of the story, told from `now` on.
struct Part<F> {
    now: &'static str,
    pace: Pace,
    act: F,
}

impl<F, Fut> Part<F>
where
    F: Fn(Cast) -> Fut,
    Fut: Future<Output = Result<(), Problem>>,
{
    /// Goes through the part until a random moment; whether it was cut there.
    async fn cut(&self, server: &Server, chance: &mut Chance) -> bool {
        let whole = async { (self.act)(sign_in(server).await?).await };
        if chance.moments.next(Duration::from_micros(2)).is_zero() {
            // Anywhere, the start of the server included.
            let fuse = chance.moments.next(self.pace.start + self.pace.rest);
            return tokio::time::timeout(fuse, whole).await.is_err();
        }
        // While the story goes on; a third of it at a time, so that the next kill finds something left.
        let fuse = chance.moments.next(self.pace.rest / 3);
        match sign_in(server).await {
            Ok(cast) => tokio::time::timeout(fuse, (self.act)(cast)).await.is_err(),
            Err(problem) => panic!("the cast signs in after a restart: {problem:?}"),
        }
    }
}

async fn sign_in(server: &Server) -> Result<Cast, Problem> {
    server.healthy().await;
    Cast::sign_in(&http(), &server.base).await
}

async fn to_the_grant(cast: Cast) -> Result<(), Problem> {
    let now: Timestamp = START.parse().expect("an instant");
    let run = story::request_access(&cast).await?;
    story::hand_in_documents(&cast, now).await?;
    let decided = cast.rosa.list("/api/approvals?state=decided&mine=true").await?;
    if decided.is_empty() {
        story::approve(&cast).await?;
    }
    let ended = story::wait_for_end(&cast.ada, &run).await?;
    assert_eq!(ended["status"], "completed", "{ended}");
    story::wait_for_assignment(&cast.ada, &["active"]).await.map(drop)
}

async fn to_the_end(cast: Cast) -> Result<(), Problem> {
    story::wait_for_assignment(&cast.ada, &["expired", "revoked"]).await.map(drop)
}

/// One story with kills before the grant and around the end; answers how long its two parts took when
/// nothing disturbs them.
async fn one_story(most: [u32; 2], paces: [Pace; 2], chance: &mut Chance) -> [Pace; 2] {
    let world = World::start().await;
    let grant = Part { now: START, pace: paces[0], act: to_the_grant };
    let first = world.through_kills(&grant, most[0], chance).await;
    assert_eq!(world.outside(), [(true, 1, 0); 3], "directory, HTTP, LDAP after the grant; {:?}", chance.hits);

    let end = Part { now: AFTER_THE_END, pace: paces[1], act: to_the_end };
    let second = world.through_kills(&end, most[1], chance).await;
    assert_eq!(world.outside(), [(false, 1, 1); 3], "directory, HTTP, LDAP after the end; {:?}", chance.hits);
    assert_eq!(count(&world.data(), "run"), 1, "one request is one run");
    assert_eq!(count(&world.data(), "assignment"), 1, "one run grants one role");

    let verified = command(&["audit", "verify", "--db"]).arg(world.data().join("tenure.db")).output().expect("runs");
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    [first, second]
}

/// 50 kills; `make soak` makes 500 of them. `TENURE_SEED` sets other moments.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_the_story_ends_right_and_nothing_is_done_twice() {
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse().ok());
    let (kills, seed) = (number("TENURE_KILLS").unwrap_or(50), number("TENURE_SEED").unwrap_or(SEED));
    let mut chance = Chance { moments: Moments(seed), hits: Hits::default() };
    let (mut stories, began) = (0, Instant::now());
    println!("seed {seed}");
    // The moments lie in the time that the story takes on this machine.
    let paces = one_story([0, 0], [Pace::default(); 2], &mut chance).await;
    while u64::from(chance.hits.kills) < kills {
        let left = u32::try_from(kills).expect("a small number") - chance.hits.kills;
        let most = [MOST_KILLS[0].min(left), MOST_KILLS[1].min(left.saturating_sub(MOST_KILLS[0]))];
        one_story(most, paces, &mut chance).await;
        stories += 1;
    }
    let hits = chance.hits;
    println!("seed {seed}, {stories} stories, {hits:?}, undisturbed {paces:?}, in all {:?}", began.elapsed());
    assert_eq!(u64::from(hits.kills), kills);
    assert!(hits.in_flight > 0 && hits.running > 0, "no kill hit the run on its way: {hits:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminated_server_ends_with_zero_within_its_grace() {
    let dir = tempfile::tempdir().expect("a folder");
    let server = Server::start(&["serve"], &dir.path().join("data"), &[("SHUTDOWN_GRACE_SECONDS", "10")]).await;
    let ended = tokio::task::spawn_blocking(move || server.terminate());
    let code = tokio::time::timeout(Duration::from_secs(10), ended).await.expect("within the grace").expect("joins");
    assert_eq!(code, 0);
}
