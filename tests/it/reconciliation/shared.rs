//! Two roles that give the same, while their system goes down and is compared: it is taken away exactly when
//! the last of them ends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tenure::base::clock::Clock as _;
use tenure::base::id::{AssignmentId, PersonId, RoleId};
use tenure::base::time::Timestamp;
use tenure::features::access::entitlements::Policy;
use tenure::features::access::reconciliation::{Kind, ops};
use tenure::platform::queue::names;

use super::world::{World, by};
use crate::soak::size;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Grant(usize),
    End(usize),
    Down,
    Up,
    Reconcile,
}

/// Every order in which nothing ends before it began.
fn orders() -> Vec<Vec<Event>> {
    use Event::{Down, End, Grant, Reconcile, Up};
    fn go_on(order: &mut Vec<Event>, left: &[Event], all: &mut Vec<Vec<Event>>) {
        if left.is_empty() {
            all.push(order.clone());
        }
        for (i, event) in left.iter().enumerate() {
            let before = match event {
                End(which) => Some(Grant(*which)),
                Up => Some(Down),
                _ => None,
            };
            if before.is_some_and(|before| !order.contains(&before)) {
                continue;
            }
            let mut rest = left.to_vec();
            rest.remove(i);
            order.push(*event);
            go_on(order, &rest, all);
            order.pop();
        }
    }
    let mut all = Vec::new();
    go_on(&mut Vec::new(), &[Grant(0), End(0), Grant(1), End(1), Down, Up, Reconcile], &mut all);
    all
}

/// Which of the two roles an account needs, by its name.
type Needs = Arc<Mutex<BTreeMap<String, [bool; 2]>>>;

struct Case<'a> {
    world: &'a World,
    roles: &'a [RoleId; 2],
    needs: &'a Needs,
    account: String,
    person: PersonId,
    held: [Option<AssignmentId>; 2],
    /// When each ends by itself, if it does.
    ends: [Option<Timestamp>; 2],
    up: bool,
}

impl Case<'_> {
    async fn happen(&mut self, event: Event) {
        match event {
            Event::Grant(which) => {
                self.need(which, true);
                let made = self.world.grant(&self.person, &self.roles[which], self.ends[which]).await;
                self.held[which] = Some(made);
            }
            Event::End(which) => {
                self.need(which, false);
                match self.ends[which] {
                    Some(end) => assert!(end <= self.world.clock.now(), "its time is over"),
                    None => self.world.revoke(self.held[which].as_ref().expect("granted")).await,
                }
            }
            Event::Down => {
                self.up = false;
                self.world.system.is_down();
            }
            Event::Up => {
                self.up = true;
                self.world.system.is_up();
            }
            Event::Reconcile => {
                self.world.write(|tx| ops::start(tx, &by(), Kind::Manual, None).map(drop)).await.unwrap();
            }
        }
    }

    fn need(&self, which: usize, needed: bool) {
        self.needs.lock().unwrap().entry(self.account.clone()).or_default()[which] = needed;
    }

    fn is_needed(&self) -> bool {
        self.needs.lock().unwrap().get(&self.account).is_some_and(|needs| needs.contains(&true))
    }

    async fn catch_up(&self) {
        self.world.queue.run_job(names::ROLE_EXPIRY_CHECK).await.unwrap();
        for _ in 0..4 {
            self.world.run().await;
            self.world.clock.advance(Duration::from_secs(15));
        }
    }
}

/// In every order of granting, ending, an outage and a reconciliation; each of the two ends by somebody's
/// hand or by its time, and the jobs run after a step or only after one that follows. `TENURE_SOAK=full`
/// takes all of them, else each sixth order.
#[tokio::test]
async fn what_two_roles_give_goes_exactly_when_the_last_of_them_ends() {
    const HOUR: Duration = Duration::from_secs(3600);
    let world = World::start(Policy::RevokeUnknown).await;
    world.lift_threshold().await;
    let roles = [world.role.clone(), world.role_of("writer", std::slice::from_ref(&world.entitlement)).await];
    let needs = Needs::default();
    let wrong = Arc::new(Mutex::new(Vec::new()));
    let (known, told) = (Arc::clone(&needs), Arc::clone(&wrong));
    *world.system.witness.lock().unwrap() = Some(Box::new(move |account| {
        if known.lock().unwrap().get(account).is_none_or(|needs| needs.contains(&true)) {
            told.lock().unwrap().push(format!("{account} was removed while somebody needs it"));
        }
    }));
    let orders = orders();
    assert_eq!(orders.len(), 630, "7 events of which 3 are before 3 others");
    for (n, order) in orders.iter().enumerate().step_by(size(6, 1) as usize) {
        for variant in 0..size(1, 8) as usize {
            // In the short run the variants take turns.
            let variant = variant + n / 6;
            let began = world.clock.now();
            let time_of = |step: usize| began.plus(HOUR * (step as u32 + 1));
            let end_of = |which: usize| {
                let step = order.iter().position(|e| *e == Event::End(which)).expect("it ends");
                (variant >> which & 1 == 1).then(|| time_of(step))
            };
            let account = format!("n{n}v{variant}");
            let person = world.person(&account).await;
            let (held, ends) = ([None, None], [end_of(0), end_of(1)]);
            let mut case = Case { world: &world, roles: &roles, needs: &needs, account, person, held, ends, up: true };
            for (step, event) in order.iter().enumerate() {
                world.clock.set(time_of(step));
                case.happen(*event).await;
                let last = step + 1 == order.len();
                if !last && variant >> 2 & 1 == 1 && step % 3 != 2 {
                    continue;
                }
                case.catch_up().await;
                assert_eq!(*wrong.lock().unwrap(), [""; 0], "{order:?} variant {variant} step {step}");
                if case.up {
                    let there = world.system.has(&case.account);
                    assert_eq!(there, case.is_needed(), "{order:?} variant {variant} step {step}");
                }
            }
            for id in case.held.iter().flatten() {
                let state = world.assignment(id).await.state;
                assert!(state.is_ended(), "{order:?} variant {variant}: {state:?}");
            }
        }
    }
}
