//! Starts whose clock does not fit the audit log, and restarts while it is in doubt.

use super::*;

/// The doubt is a row, not a memory: the new process sees no clock that was set.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_does_not_settle_a_doubt() {
    let world = World::start(None).await;
    let id = world.given(at(BEGIN), Some(at("2031-06-01T00:00:00Z")), None).await;
    world.clock.jump(at("2099-01-01T00:00:00Z"));
    world.counts("job stands back", STANDING_BACK, 1).await;
    let world = world.restart_at(at("2099-01-01T01:00:00Z")).await;
    assert_eq!(world.clock_shown().await["held"], true);
    world.run(names::ROLE_EXPIRY_CHECK).await;
    assert_eq!(world.state_of(&id).await, "active");
    let world = world.restart_at(at("2031-03-01T13:00:00Z")).await;
    assert_eq!(world.clock_shown().await["held"], true, "nor does a clock that is right again");
    assert_eq!(world.audited("clock.doubted").await, 1);
    world.confirm().await;
    world.counts("job stands back", STANDING_BACK, 0).await;
    world.clock.set(at("2031-06-01T00:00:30Z"));
    world.becomes(&id, "expired").await;
    world.running.stop().await;
}

/// Nothing of the start itself is newer than what it is compared with.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_before_the_newest_audit_entry_or_long_after_it_is_in_doubt() {
    let world = World::start(None).await;
    let id = world.given(at(BEGIN), Some(at("2031-03-20T00:00:00Z")), None).await;
    let world = world.restart_at(world_after(DAY * 29)).await;
    assert_eq!(world.clock_shown().await["held"], false, "Tenure may have been off for a while");
    world.becomes(&id, "expired").await;

    let late = world.given(world.clock.now(), Some(world.clock.now().plus(DAY)), None).await;
    let world = world.restart_at(world_after(DAY * 29 + DAY * 31)).await;
    let shown = world.clock_shown().await;
    assert_eq!((&shown["held"], &shown["kind"]), (&json!(true), &json!("ahead")), "{shown}");
    world.counts("job stands back", STANDING_BACK, 1).await;
    assert_eq!(world.state_of(&late).await, "active");
    world.confirm().await;
    world.becomes(&late, "expired").await;

    let world = world.restart_at(world_after(DAY)).await;
    let shown = world.clock_shown().await;
    assert_eq!((&shown["held"], &shown["kind"]), (&json!(true), &json!("behind")), "{shown}");
    assert_eq!(world.audited("clock.doubted").await, 2);
    world.running.stop().await;
}

fn world_after(time: Duration) -> Timestamp {
    at(BEGIN).plus(time)
}

/// By the stored doubt: the doctor's own clock is the machine's, of which nothing is known.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_doctor_says_of_a_clock_in_doubt_is_what_the_server_says() {
    let world = World::start(None).await;
    let config = config(&world.folder.path().join("data"), None);
    let found = || async { tenure::app::doctor::examine(&config, rustix_uid()).await };
    world.clock.jump(at("2099-01-01T00:00:00Z"));
    eventually("the doctor tells of the doubt", SOON, || async {
        let clock = found().await.into_iter().find(|f| f.check == "clock")?;
        clock.detail.contains("2099-01-01T00:00").then_some(())
    })
    .await;
    let clock = found().await.into_iter().find(|f| f.check == "clock").expect("a finding");
    assert_eq!(clock.status, tenure::features::health::CheckStatus::Warning, "{clock:?}");
    assert!(clock.mend.as_deref().is_some_and(|m| m.contains("confirm the time")), "{clock:?}");
    world.running.stop().await;
}

/// The user that runs the tests.
fn rustix_uid() -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").expect("this process").uid()
}
