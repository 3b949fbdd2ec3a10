//! Clocks and id sources: the system's, and ones that a test or the demo moves by hand.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
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

/// The machine's clock beside one that nobody sets, so that it is noticed when somebody sets the first.
///
/// The second one counts the time that the machine is suspended: a laptop that was closed for a night is
/// no wrong clock.
#[derive(Debug)]
pub struct WatchedClock {
    /// What the machine's clock shows beyond the steady one where nothing is wrong.
    ahead_ms: AtomicI64,
}

impl Default for WatchedClock {
    /// Takes what the machine's clock shows now for right.
    fn default() -> Self {
        Self { ahead_ms: AtomicI64::new(ahead_of_steady_ms()) }
    }
}

/// By how much the machine's clock is ahead of the time since the machine was started, in milliseconds.
fn ahead_of_steady_ms() -> i64 {
    let steady = clock_gettime(ClockId::Boottime);
    let steady_ms = steady.tv_sec.saturating_mul(1000).saturating_add(steady.tv_nsec / 1_000_000);
    SystemClock.now().as_millis().saturating_sub(steady_ms)
}

impl Clock for WatchedClock {
    fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    fn sleep_until(&self, at: Timestamp) -> Sleep {
        SystemClock.sleep_until(at)
    }

    fn drift_ms(&self) -> i64 {
        ahead_of_steady_ms().saturating_sub(self.ahead_ms.load(Ordering::Acquire))
    }

    fn accept_drift(&self, drift_ms: i64) {
        self.ahead_ms.fetch_add(drift_ms, Ordering::AcqRel);
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
    drift_ms: i64,
    order: u64,
    sleepers: BTreeMap<(Timestamp, u64), oneshot::Sender<()>>,
}

impl ManualClock {
    /// A clock that shows `now`.
    pub fn at(now: Timestamp) -> Self {
        Self { state: Mutex::new(Manual { now, drift_ms: 0, order: 0, sleepers: BTreeMap::new() }) }
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

    /// Shows `to` from now on, as if somebody had set it: it drifts from the time that really passes.
    pub fn jump(&self, to: Timestamp) {
        {
            let mut state = self.lock();
            state.drift_ms += to.as_millis() - state.now.as_millis();
        }
        self.set(to);
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

    fn drift_ms(&self) -> i64 {
        self.lock().drift_ms
    }

    fn accept_drift(&self, drift_ms: i64) {
        self.lock().drift_ms -= drift_ms;
    }
}

/// The machine's clock, shifted: it runs on, and can be moved forward. For `tenure demo`.
#[derive(Debug)]
pub struct ShiftedClock {
    shift_ms: watch::Sender<i64>,
    drift_ms: AtomicI64,
    story: bool,
}

impl Default for ShiftedClock {
    fn default() -> Self {
        Self { shift_ms: watch::Sender::new(0), drift_ms: AtomicI64::new(0), story: false }
    }
}

impl ShiftedClock {
    /// The clock of a story: it may begin at any time, and again at another one.
    pub fn of_a_story() -> Self {
        Self { story: true, ..Self::default() }
    }

    /// Makes this clock show `to` now; sleepers that are due wake.
    pub fn set(&self, to: Timestamp) {
        let shift = to.as_millis().saturating_sub(SystemClock.now().as_millis());
        self.shift_ms.send_replace(shift);
    }

    /// Makes this clock show `to` now, as if somebody had set it: it drifts from the time that really passes.
    pub fn jump(&self, to: Timestamp) {
        // The drift first: whoever sees the new time sees the drift, too.
        self.drift_ms.fetch_add(to.as_millis().saturating_sub(self.now().as_millis()), Ordering::AcqRel);
        self.set(to);
    }
}

impl Clock for ShiftedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(SystemClock.now().as_millis().saturating_add(*self.shift_ms.borrow()))
    }

    fn sleep_until(&self, at: Timestamp) -> Sleep {
        let mut moved = self.shift_ms.subscribe();
        Box::pin(async move {
            let mut real = Timestamp::from_millis(i64::MAX);
            loop {
                let shift = *moved.borrow_and_update();
                // As with the machine's clock, one that is moved back prolongs no sleep.
                real = real.min(Timestamp::from_millis(at.as_millis().saturating_sub(shift)));
                tokio::select! {
                    () = SystemClock.sleep_until(real) => return,
                    changed = moved.changed() => if changed.is_err() { return },
                }
            }
        })
    }

    fn tells_a_story(&self) -> bool {
        self.story
    }

    fn drift_ms(&self) -> i64 {
        self.drift_ms.load(Ordering::Acquire)
    }

    fn accept_drift(&self, drift_ms: i64) {
        self.drift_ms.fetch_sub(drift_ms, Ordering::AcqRel);
    }
}

/// Ids from the operating system's randomness.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemIds;

/// Bytes that are asked of the operating system at once.
const DRAWN: usize = 1024;

thread_local! {
    /// Random bytes that were asked for and not yet given, and how many of them were given.
    static DRAW: RefCell<([u8; DRAWN], usize)> = const { RefCell::new(([0; DRAWN], DRAWN)) };
}

impl Ids for SystemIds {
    /// Each byte is given once, and then is no longer in memory.
    #[allow(clippy::disallowed_methods, reason = "the one place that asks the operating system for randomness")]
    fn next_random(&self) -> u128 {
        DRAW.with_borrow_mut(|(bytes, given)| {
            if *given == DRAWN {
                getrandom::fill(bytes).expect("the operating system gives random bytes");
                *given = 0;
            }
            let (_, rest) = bytes.split_at_mut(*given);
            let mut own = [0_u8; 16];
            if let Some(next) = rest.first_chunk_mut::<16>() {
                std::mem::swap(next, &mut own);
            }
            *given += own.len();
            u128::from_be_bytes(own)
        })
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

    #[test]
    fn random_bits_are_given_once() {
        let draw = || (0..1_000).map(|_| SystemIds.next_random()).collect::<Vec<_>>();
        let other = std::thread::spawn(draw);
        let all: std::collections::BTreeSet<u128> = draw().into_iter().chain(other.join().expect("drawn")).collect();
        assert_eq!(all.len(), 2_000);
        assert!(!all.contains(&0));
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

    /// The machine's own clock drifts by less than the test takes, and what is accepted is where it counts from.
    #[test]
    fn a_drift_counts_from_where_it_was_accepted() {
        let machine = WatchedClock::default();
        assert!(machine.drift_ms().abs() < 1_000, "{}", machine.drift_ms());
        machine.accept_drift(HOUR_MS);
        assert!((machine.drift_ms() + HOUR_MS).abs() < 1_000, "{}", machine.drift_ms());
        let manual = ManualClock::at(Timestamp::from_millis(0));
        manual.advance(Duration::from_secs(86_400));
        assert_eq!(manual.drift_ms(), 0, "moved on purpose");
        manual.jump(manual.now().plus(Duration::from_secs(3_600)));
        assert_eq!(manual.drift_ms(), HOUR_MS);
        manual.accept_drift(HOUR_MS);
        assert_eq!(manual.drift_ms(), 0);
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
