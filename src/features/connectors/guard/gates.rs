//! One gate per connector: who calls at present, how many may, and whether anybody may at all.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::breaker::{Admission, Breaker, BreakerState, BreakerView};
use super::{Policy, Sign, sign};
use crate::base::clock::SharedClock;
use crate::base::id::ConnectorId;
use crate::base::time::Timestamp;
use crate::features::connectors::{CallFailure, Target};
use crate::platform::outbound::pause;

/// How long a call waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);

/// The gates of this process.
pub(in crate::features::connectors) struct Gates {
    clock: SharedClock,
    gates: Mutex<HashMap<ConnectorId, Arc<Gate>>>,
}

#[derive(Default)]
struct Gate {
    state: Mutex<State>,
    /// Told whenever a call ends.
    freed: Notify,
}

#[derive(Default)]
struct State {
    name: String,
    breaker: Breaker,
    running: u32,
    /// When the next call may begin, if calls are spread over the minute.
    next_at_ms: i64,
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to make one call; given back when dropped.
pub(in crate::features::connectors) struct Pass {
    gate: Arc<Gate>,
    clock: SharedClock,
    policy: Policy,
    admission: Admission,
    settled: bool,
}

impl Gates {
    pub(in crate::features::connectors) fn new(clock: SharedClock) -> Self {
        Self { clock, gates: Mutex::default() }
    }

    fn gate(&self, id: &ConnectorId) -> Arc<Gate> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(gates.entry(id.clone()).or_default())
    }

    /// Waits for the turn of a call; `by_hand` is somebody who wants to know whether the system is there.
    pub(in crate::features::connectors) async fn enter(&self, target: &Target, by_hand: bool) -> Result<Pass, CallFailure> {
        let (gate, policy) = (self.gate(&target.id), target.policy.clone());
        gate.lock().name.clone_from(&target.name);
        // Whoever is refused anyway neither waits nor takes a place from others.
        let refused = if by_hand { None } else { gate.lock().breaker.refuses(self.clock.now()) };
        if let Some(until) = refused {
            return Err(gate.circuit_open(until));
        }
        self.wait_for_minute(&gate, &policy).await?;
        let turn = async {
            loop {
                let mut freed = pin!(gate.freed.notified());
                // From here on: two that end between looking and waiting wake two.
                freed.as_mut().enable();
                if gate.begin(policy.max_concurrent) {
                    return;
                }
                freed.await;
            }
        };
        tokio::time::timeout(PATIENCE, turn).await.map_err(|_| {
            CallFailure::passing("busy", format!("{} calls of this connector are on their way already", policy.max_concurrent))
        })?;
        let admission = gate.lock().breaker.admit(self.clock.now(), by_hand);
        let pass = Pass { gate, clock: Arc::clone(&self.clock), policy, admission, settled: false };
        match admission {
            Admission::Refused(until) => Err(pass.refused(until)),
            _ => Ok(pass),
        }
    }

    /// Waits for the turn of a repetition: it is a call of the minute like any other.
    pub(in crate::features::connectors) async fn repeat(&self, target: &Target) -> Result<(), CallFailure> {
        self.wait_for_minute(&self.gate(&target.id), &target.policy).await
    }

    async fn wait_for_minute(&self, gate: &Gate, policy: &Policy) -> Result<(), CallFailure> {
        if policy.max_per_minute == 0 {
            return Ok(());
        }
        let wait = gate.lock().reserve(self.clock.now(), policy.max_per_minute);
        match wait {
            Some(wait) => {
                pause(wait).await;
                Ok(())
            }
            None => Err(CallFailure::passing(
                "rate_limited",
                format!("this connector makes {} calls in a minute, and they are spoken for", policy.max_per_minute),
            )),
        }
    }

    /// Where the breaker of a connector stands.
    pub(in crate::features::connectors) fn view(&self, id: &ConnectorId) -> BreakerView {
        self.gate(id).lock().breaker.view(self.clock.now())
    }

    /// The names of the connectors that nobody calls at present, or that are only tried.
    pub(in crate::features::connectors) fn list_open(&self) -> Vec<String> {
        let gates: Vec<_> = self.gates.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        let now = self.clock.now();
        let mut names: Vec<String> = gates
            .iter()
            .map(|gate| gate.lock())
            .filter(|state| state.breaker.view(now).state != BreakerState::Closed)
            .map(|state| state.name.clone())
            .collect();
        names.sort();
        names
    }
}

impl Gate {
    fn begin(&self, most: u32) -> bool {
        let mut state = self.lock();
        let free = state.running < most.max(1);
        if free {
            state.running += 1;
        }
        free
    }
}

impl Gate {
    fn circuit_open(&self, until: Timestamp) -> CallFailure {
        let why = self.lock().breaker.last_error.clone().unwrap_or_default();
        CallFailure::passing(
            "circuit_open",
            format!("nobody calls this system before {until}, because it failed several times in a row: {why}"),
        )
    }
}

impl State {
    /// Speaks for the next place in the minute; nothing when it is too far away. A tenth of the minute's
    /// calls may come at once.
    fn reserve(&mut self, now: Timestamp, per_minute: u32) -> Option<Duration> {
        let (now, step) = (now.as_millis(), (60_000 / i64::from(per_minute)).max(1));
        let burst = step * i64::from(per_minute / 10);
        // What a clock that was set back left behind holds nobody up.
        if self.next_at_ms > now + 60_000 {
            self.next_at_ms = now;
        }
        let at = self.next_at_ms.max(now - burst);
        let wait = Duration::from_millis(u64::try_from(at - now).unwrap_or_default());
        if wait > PATIENCE {
            return None;
        }
        self.next_at_ms = at + step;
        Some(wait)
    }
}

impl Pass {
    /// Takes in how the call went.
    pub(in crate::features::connectors) fn settle(mut self, outcome: Result<(), &CallFailure>) {
        self.tell(sign(outcome), outcome.err().map(|f| f.message.as_str()));
    }

    fn tell(&mut self, sign: Sign, why: Option<&str>) {
        self.settled = true;
        let now = self.clock.now();
        self.gate.lock().breaker.settle(self.admission, sign, why, now, &self.policy);
    }

    fn refused(mut self, until: Timestamp) -> CallFailure {
        // It was never a call.
        self.settled = true;
        self.gate.circuit_open(until)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if !self.settled {
            // Whoever called went away before the answer.
            self.tell(Sign::None, None);
        }
        {
            let mut state = self.gate.lock();
            state.running = state.running.saturating_sub(1);
        }
        self.gate.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_spread_over_the_minute_and_refused_when_it_is_spoken_for() {
        let mut state = State::default();
        let now = Timestamp::from_millis(1_000_000_000);
        // 60 in a minute: six at once, then one a second, and nobody waits for more than ten seconds.
        let waits: Vec<_> = (0..20).map(|_| state.reserve(now, 60).map(|w| w.as_secs())).collect();
        let expected: Vec<_> = [0; 6].into_iter().chain(0..=10).map(Some).chain([None; 3]).collect();
        assert_eq!(waits, expected);
        assert_eq!(state.reserve(now.plus(Duration::from_secs(60)), 60), Some(Duration::ZERO));
        assert_eq!(state.reserve(now.minus(Duration::from_secs(900)), 60), Some(Duration::ZERO));
    }
}
