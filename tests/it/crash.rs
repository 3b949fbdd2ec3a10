//! `kill -9` at random moments of the sample story: it still ends right, and nothing happens twice.

use std::path::Path;
use std::time::Duration;

use tenure::app::demo::lab::Lab;
use tenure::app::demo::story::{self, ADA_UID, Cast};
use tenure::base::problem::Problem;
use tenure::base::time::Timestamp;

use crate::support::{Server, command, http};

const START: &str = "2031-03-01T12:00:00Z";
const AFTER_THE_END: &str = "2032-02-29T12:00:01Z";

/// A seeded sequence, so that a failure can be repeated.
struct Moments(u64);

impl Moments {
    fn next_ms(&mut self, most: u64) -> u64 {
        // SplitMix64 (Steele, Lea, Flood 2014).
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % most
    }
}

async fn demo(data: &Path, lab: &str, now: &str) -> Server {
    Server::start(&["demo", "--lab-url", lab, "--now", now], data, &[("RATE_LIMIT_SIGN_IN_PER_MIN", "0")]).await
}

async fn to_the_grant(base: &str) -> Result<(), Problem> {
    let cast = Cast::sign_in(&http(), base).await?;
    let now: Timestamp = START.parse().expect("an instant");
    let run = story::request_access(&cast).await?;
    story::hand_in_documents(&cast, now).await?;
    let decided = cast.rosa.list("/api/approvals?state=decided&mine=true").await?;
    if decided.is_empty() {
        story::approve(&cast).await?;
    }
    story::wait_for_end(&cast.ada, &run).await?;
    story::wait_for_assignment(&cast.ada, &["active"]).await.map(drop)
}

async fn to_the_end(base: &str) -> Result<(), Problem> {
    let cast = Cast::sign_in(&http(), base).await?;
    story::wait_for_assignment(&cast.ada, &["expired", "revoked"]).await.map(drop)
}

/// Runs `act` against a server that is killed `kills` times at random moments, each time in the midst
/// of it, then once more undisturbed.
async fn through_kills<F, Fut>(data: &Path, lab: &str, now: &str, kills: u32, moments: &mut Moments, act: F)
where
    F: Fn(String) -> Fut,
    Fut: Future<Output = Result<(), Problem>>,
{
    for _ in 0..kills {
        let mut server = demo(data, lab, now).await;
        let fuse = Duration::from_millis(moments.next_ms(120));
        // The story is cut wherever it is, or has just got through; the process dies now.
        let _ = tokio::time::timeout(fuse, act(server.base.clone())).await;
        server.kill();
    }
    let server = demo(data, lab, now).await;
    act(server.base.clone()).await.expect("the story goes on after the last restart");
    assert_eq!(server.terminate(), 0);
}

/// One story with three kills before the grant and two around the end.
async fn one_story(moments: &mut Moments) {
    let dir = tempfile::tempdir().expect("a folder");
    let data = dir.path().join("data");
    let (lab, address) = Lab::start().await.expect("the laboratory starts");
    let url = format!("http://{address}");

    through_kills(&data, &url, START, 3, moments, |base| async move { to_the_grant(&base).await }).await;
    assert_eq!((lab.member(ADA_UID).present, lab.member(ADA_UID).added), (true, 1));

    through_kills(&data, &url, AFTER_THE_END, 2, moments, |base| async move { to_the_end(&base).await }).await;
    let member = lab.member(ADA_UID);
    assert_eq!((member.present, member.added, member.removed), (false, 1, 1));

    let verified = command(&["audit", "verify", "--db"]).arg(data.join("tenure.db")).output().expect("runs");
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

/// 50 kills, five in each story; `make soak` makes 500 of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_the_story_ends_right_and_nothing_is_done_twice() {
    let kills: u32 = std::env::var("TENURE_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(50);
    let mut moments = Moments(2031);
    for _ in 0..kills.div_ceil(5) {
        one_story(&mut moments).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminated_server_ends_with_zero_within_its_grace() {
    let dir = tempfile::tempdir().expect("a folder");
    let server = Server::start(&["serve"], &dir.path().join("data"), &[("SHUTDOWN_GRACE_SECONDS", "10")]).await;
    let ended = tokio::task::spawn_blocking(move || server.terminate());
    let code = tokio::time::timeout(Duration::from_secs(10), ended).await.expect("within the grace").expect("joins");
    assert_eq!(code, 0);
}
