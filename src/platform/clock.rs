//! Clocks and id sources: the system's, and ones that a test or the demo moves by hand.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{oneshot, watch};

use crate::base::clock::{Clock, Sleep};
use crate::base::id::Ids;
use crate::base::time::Timestamp;

/// A wall clock that is set forward is noticed after this time.
const PIECE: Duration = Duration::from_secs(2);
/// A wall clock that lags by more than this when a sleep should be over was set back.
const SET_BACK: Duration = Duration::from_secs(2);

/// The machine's clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    fn sleep_until(&self, at: Timestamp) -> Sleep {
        Box::pin(sleep_by(|| Self.now(), at))
    }
}

/// Sleeps until the wall clock `now` shows `at`. When that clock is set back meanwhile, only for as long
/// as it would have taken otherwise.
#[allow(clippy::disallowed_methods, reason = "the one place that sleeps by the machine's clock")]
async fn sleep_by(now: impl Fn() -> Timestamp, at: Timestamp) {
    let began = tokio::time::Instant::now();
    let wanted = at.since(now());
    loop {
        let shown = now();
        if shown >= at {
            return;
        }
        let (left, passed) = (at.since(shown), began.elapsed());
        if passed >= wanted && left > SET_BACK {
            return;
        }
        // No longer than what is left by either clock; by the monotonic one nothing may be left.
        let monotonic = wanted.checked_sub(passed).filter(|d| !d.is_zero()).unwrap_or(left);
        tokio::time::sleep(left.min(monotonic).min(PIECE)).await;
    }
}

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct ManualClock {
    state: Mutex<Manual>,
}

#[derive(Debug)]
struct Manual {
    now: Timestamp,
    order: u64,
    sleepers: BTreeMap<(Timestamp, u64), oneshot::Sender<()>>,
}

impl ManualClock {
    /// A clock that shows `now`.
    pub fn at(now: Timestamp) -> Self {
        Self { state: Mutex::new(Manual { now, order: 0, sleepers: BTreeMap::new() }) }
    }

    /// Shows `to` from now on and wakes every sleeper that is due, the earliest first.
    pub fn set(&self, to: Timestamp) {
        let due = {
            let mut state = self.lock();
            state.now = to;
            let later = state.sleepers.split_off(&(to, u64::MAX));
            std::mem::replace(&mut state.sleepers, later)
        };
        for (_, wake) in due {
            // A sleeper that was dropped needs no waking.
            let _ = wake.send(());
        }
    }

    /// Moves forward by `by`.
    pub fn advance(&self, by: Duration) {
        let to = self.lock().now.plus(by);
        self.set(to);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Manual> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.lock().now
    }

    fn sleep_until(&self, at: Timestamp) -> Sleep {
        let woken = {
            let mut state = self.lock();
            if state.now >= at {
                return Box::pin(std::future::ready(()));
            }
            let (wake, woken) = oneshot::channel();
            state.order += 1;
            let order = state.order;
            state.sleepers.insert((at, order), wake);
            woken
        };
        Box::pin(async move {
            let _ = woken.await;
        })
    }
}

/// The machine's clock, shifted: it runs on, and can be moved forward. For `tenure demo`.
#[derive(Debug)]
pub struct ShiftedClock {
    shift_ms: watch::Sender<i64>,
}

impl Default for ShiftedClock {
    fn default() -> Self {
        Self { shift_ms: watch::Sender::new(0) }
    }
}

impl ShiftedClock {
    /// Makes this clock show `to` now; sleepers that are due wake.
    pub fn set(&self, to: Timestamp) {
        let shift = to.as_millis().saturating_sub(SystemClock.now().as_millis());
        self.shift_ms.send_replace(shift);
    }
}

impl Clock for ShiftedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(SystemClock.now().as_millis().saturating_add(*self.shift_ms.borrow()))
    }

    fn sleep_until(&self, at: Timestamp) -> Sleep {
        let mut moved = self.shift_ms.subscribe();
        Box::pin(async move {
            loop {
                let shift = *moved.borrow_and_update();
                let real = Timestamp::from_millis(at.as_millis().saturating_sub(shift));
                tokio::select! {
                    () = SystemClock.sleep_until(real) => return,
                    changed = moved.changed() => if changed.is_err() { return },
                }
            }
        })
    }
}

/// Ids from the operating system's randomness.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemIds;

impl Ids for SystemIds {
    #[allow(clippy::disallowed_methods, reason = "the one place that asks the operating system for randomness")]
    fn next_random(&self) -> u128 {
        let mut bytes = [0_u8; 16];
        getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
        u128::from_be_bytes(bytes)
    }
}

/// Ids that are the same in every run with the same seed; for tests.
#[derive(Debug)]
pub struct SeededIds {
    next: AtomicU64,
}

impl SeededIds {
    /// Starts counting at `seed`.
    pub fn new(seed: u64) -> Self {
        Self { next: AtomicU64::new(seed) }
    }
}

impl Ids for SeededIds {
    fn next_random(&self) -> u128 {
        u128::from(self.next.fetch_add(1, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicI64;

    use super::*;

    /// The machine's clock, as if somebody set it.
    #[derive(Clone, Default)]
    struct Wall(Arc<AtomicI64>);

    impl Wall {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(SystemClock.now().as_millis() + self.0.load(Ordering::SeqCst))
        }

        /// Sleeps by this clock for `sleep`, and sets it by `set` meanwhile; answers what it shows then,
        /// less what was slept for.
        async fn sleep_while_set(&self, sleep: Duration, set: i64) -> i64 {
            let (at, wall) = (self.now().plus(sleep), self.clone());
            let mut sleep = Box::pin(sleep_by(move || wall.now(), at));
            assert!(futures::poll!(&mut sleep).is_pending());
            self.0.fetch_add(set, Ordering::SeqCst);
            tokio::time::timeout(Duration::from_secs(15), sleep).await.expect("wakes");
            self.now().as_millis() - at.as_millis()
        }
    }

    const HOUR_MS: i64 = 3_600_000;

    /// Or whoever waits a moment between two attempts would wait an hour.
    #[tokio::test]
    async fn a_sleep_goes_on_no_longer_because_the_clock_was_set_back() {
        let early = Wall::default().sleep_while_set(Duration::from_millis(100), -HOUR_MS).await;
        assert!((-HOUR_MS..-HOUR_MS + 10_000).contains(&early), "{early}");
    }

    #[tokio::test]
    async fn a_clock_that_is_set_forward_ends_a_sleep_within_seconds() {
        let late = Wall::default().sleep_while_set(Duration::from_secs(1_800), HOUR_MS).await;
        assert!((HOUR_MS / 2..HOUR_MS / 2 + 10_000).contains(&late), "{late}");
    }

    /// Clocks are corrected by little all the time; an instant does not come early by that.
    #[tokio::test]
    async fn a_correction_of_the_clock_wakes_nobody_early() {
        assert!(Wall::default().sleep_while_set(Duration::from_millis(100), -300).await >= 0);
    }

    #[tokio::test]
    async fn sleepers_wake_when_the_clock_reaches_their_instant() {
        let clock = ManualClock::at(Timestamp::from_millis(1_000));
        let mut sleep = clock.sleep_until(Timestamp::from_millis(2_000));
        clock.set(Timestamp::from_millis(1_999));
        assert!(futures::poll!(&mut sleep).is_pending());
        clock.set(Timestamp::from_millis(2_000));
        assert!(futures::poll!(&mut sleep).is_ready());
    }
}
