//! A connector that does everything wrong, over random schedules: nothing is taken that somebody needs,
//! nothing that was granted is lost, and every difference is explained.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tenure::base::clock::Clock as _;
use tenure::base::id::{AssignmentId, PersonId, ReconciliationId, RoleId};
use tenure::base::problem::Problem;
use tenure::base::time::Timestamp;
use tenure::features::access::assignments::AssignmentState;
use tenure::features::access::entitlements::Policy;
use tenure::features::access::reconciliation::{Kind, PlanStatus, Status, ops, store as plans};
use tenure::features::connectors::{CallFailure, Found, ListPage, ListRequest};
use tenure::platform::queue::names;

use super::world::{Failure, World, by, page_of};
use crate::soak::size;

/// A seeded sequence of choices.
struct Dice(u64);

impl Dice {
    /// From 0 to `n` - 1.
    fn roll(&mut self, n: u64) -> u64 {
        // SplitMix64 (Steele, Lea, Flood 2014).
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.roll(from.len() as u64) as usize]
    }
}

/// What the test itself knows of an assignment.
struct Held {
    id: AssignmentId,
    account: String,
    end: Option<Timestamp>,
    revoked: bool,
}

type Book = Arc<Mutex<Vec<Held>>>;

fn needed(book: &Book, now: Timestamp) -> BTreeSet<String> {
    let live = |h: &&Held| !h.revoked && h.end.is_none_or(|end| end > now);
    book.lock().unwrap().iter().filter(live).map(|h| h.account.clone()).collect()
}

struct Schedule {
    world: World,
    dice: Dice,
    policy: Policy,
    people: Vec<(String, PersonId)>,
    roles: Vec<RoleId>,
    book: Book,
    /// What the system had and no assignment ever stood behind.
    wrong: Arc<Mutex<Vec<String>>>,
}

const ACCOUNTS: [&str; 6] = ["p0", "p1", "p2", "p3", "p4", "p5"];

impl Schedule {
    async fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let policy = *dice.pick(Policy::ALL);
        let world = World::start(policy).await;
        if dice.roll(2) == 0 {
            world.lift_threshold().await;
        }
        let second = world.role_of("writer", std::slice::from_ref(&world.entitlement)).await;
        let roles = vec![world.role.clone(), second];
        let mut people = Vec::new();
        for uid in ACCOUNTS {
            people.push((uid.to_owned(), world.person(uid).await));
        }
        let book = Book::default();
        let wrong = Arc::new(Mutex::new(Vec::new()));
        let (clock, known, told) = (Arc::clone(&world.clock), Arc::clone(&book), Arc::clone(&wrong));
        *world.system.witness.lock().unwrap() = Some(Box::new(move |account| {
            let ever = known.lock().unwrap().iter().any(|h| h.account == account);
            if needed(&known, clock.now()).contains(account) {
                told.lock().unwrap().push(format!("{account} was removed while somebody needs it"));
            } else if !ever && policy != Policy::RevokeUnknown {
                told.lock().unwrap().push(format!("{account} is unknown and was removed under {policy:?}"));
            }
        }));
        Self { world, dice, policy, people, roles, book, wrong }
    }

    fn storm(&mut self) {
        let mut calls = Dice(self.dice.roll(u64::MAX));
        let lost = move || match calls.roll(10) {
            0..3 => Some(Failure::Before(Problem::unavailable("500", 1))),
            3 => Some(Failure::After(Problem::unavailable("connection reset", 1))),
            _ => None,
        };
        *self.world.system.fails.lock().unwrap() = Some(Box::new(lost));
        let mut lists = Dice(self.dice.roll(u64::MAX));
        self.world.system.lies(move |members, request| weather(&mut lists, members, request));
    }

    fn calm(&self) {
        self.world.system.is_up();
    }

    async fn step(&mut self) {
        match self.dice.roll(12) {
            0..3 => self.grant().await,
            3 | 4 => self.revoke().await,
            5 => {
                let account = if self.dice.roll(2) == 0 { "stranger" } else { *self.dice.pick(&ACCOUNTS) };
                self.world.system.put(account);
            }
            6 => {
                let account = *self.dice.pick(&ACCOUNTS);
                self.world.system.drop_behind_our_back(account);
            }
            7 => {
                let kind = if self.dice.roll(4) == 0 { Kind::DryRun } else { Kind::Scheduled };
                self.world.write(move |tx| ops::start(tx, &by(), kind, None).map(drop)).await.unwrap();
            }
            8 => self.decide().await,
            9 => {
                if self.dice.roll(3) == 0 { self.calm() } else { self.storm() }
            }
            10 => self.world.clock.advance(Duration::from_secs(self.dice.roll(7200))),
            _ => {}
        }
        self.world.run().await;
        self.world.clock.advance(Duration::from_secs(self.dice.roll(12)));
    }

    async fn grant(&mut self) {
        let (account, person) = self.dice.pick(&self.people).clone();
        let role = self.dice.pick(&self.roles).clone();
        let hours = self.dice.roll(6);
        let end = (hours > 0).then(|| self.world.clock.now().plus(Duration::from_secs(hours * 1800)));
        let id = self.world.grant(&person, &role, end).await;
        self.book.lock().unwrap().push(Held { id, account, end, revoked: false });
    }

    async fn revoke(&mut self) {
        let n = self.book.lock().unwrap().len() as u64;
        if n == 0 {
            return;
        }
        let which = self.dice.roll(n) as usize;
        let id = {
            let mut book = self.book.lock().unwrap();
            book[which].revoked = true;
            book[which].id.clone()
        };
        self.world.revoke(&id).await;
    }

    async fn decide(&mut self) {
        let held = self
            .world
            .read(|tx| {
                let all = plans::list_reconciliations(tx, None, None, 50)?;
                let mut held = Vec::new();
                for one in all {
                    held.extend(plans::list_plans(tx, &one.id)?.into_iter().filter(|p| p.status == PlanStatus::Held));
                }
                Ok(held)
            })
            .await;
        let approve = self.dice.roll(2) == 0;
        if let Some(plan) = held.first() {
            // A conflict when it is being listed again: that is refused rightly.
            let _ = self.world.decide(plan, approve).await;
        }
    }

    /// Lets everything that is open come to rest.
    async fn settle(&mut self) {
        for _ in 0..40 {
            self.world.run().await;
            self.world.clock.advance(Duration::from_secs(10));
        }
    }

    async fn reconcile_calmly(&mut self, explained: bool) -> ReconciliationId {
        // What is due by now is over before the look.
        self.world.run().await;
        let now = self.world.clock.now();
        let there = self.world.system.members.lock().unwrap().clone();
        let id = self.world.begin(Kind::Manual).await;
        let status = self.world.rest(&id).await;
        let plan = self.world.plan(&id).await;
        if explained {
            let items = self.world.items(&plan).await;
            let told: BTreeMap<&str, &str> = items.iter().map(|i| (i.account.as_str(), i.reason.as_str())).collect();
            let should = needed(&self.book, now);
            for account in there.symmetric_difference(&should) {
                assert!(told.contains_key(account.as_str()), "{account} differs and is not explained: {told:?}");
            }
        }
        if status == Status::Held {
            self.world.decide(&plan, true).await.unwrap();
            assert_eq!(self.world.rest(&id).await, Status::Completed);
        } else {
            assert_eq!(status, Status::Completed, "{plan:?}");
        }
        id
    }

    /// In calm weather everything is caught up.
    async fn end(&mut self) {
        self.calm();
        self.settle().await;
        self.world.queue.run_job(names::ROLE_EXPIRY_CHECK).await.unwrap();
        self.settle().await;
        self.reconcile_calmly(true).await;
        self.settle().await;
        self.reconcile_calmly(true).await;
        assert_eq!(*self.wrong.lock().unwrap(), [""; 0]);
        let now = self.world.clock.now();
        let (there, should) = (self.world.system.members.lock().unwrap().clone(), needed(&self.book, now));
        if self.policy != Policy::Report {
            let lost: Vec<_> = should.difference(&there).collect();
            assert_eq!(lost, [""; 0], "granted and lost");
        }
        let known: BTreeSet<_> = self.book.lock().unwrap().iter().map(|h| h.account.clone()).collect();
        let left: Vec<_> = match self.policy {
            Policy::Report => Vec::new(),
            Policy::Repair => there.difference(&should).filter(|a| known.contains(*a)).collect(),
            Policy::RevokeUnknown => there.difference(&should).collect(),
        };
        assert_eq!(left, [""; 0], "still there");
        let ids: Vec<_> = self.book.lock().unwrap().iter().map(|h| (h.id.clone(), h.revoked, h.end)).collect();
        for (id, revoked, end) in ids {
            let state = self.world.assignment(&id).await.state;
            let over = revoked || end.is_some_and(|end| end <= now);
            assert_eq!(state == AssignmentState::Active, !over, "{id} is {state:?}");
            assert_eq!(state.is_ended(), over, "{id} is {state:?}");
        }
    }
}

/// One answer of a connector that does everything wrong.
fn weather(dice: &mut Dice, members: &BTreeSet<String>, request: &ListRequest) -> Result<ListPage, CallFailure> {
    let size = 1 + dice.roll(3) as usize;
    // An empty page leads on to the same place by another name.
    let cursor = request.cursor.as_deref().map(|c| c.trim_end_matches('\0'));
    let mut page = page_of(members, &BTreeMap::new(), cursor, size);
    match dice.roll(16) {
        0 => Err(CallFailure::passing("timeout", "no answer within 30 s")),
        1 => Err(CallFailure::passing("http_500", "500 Internal Server Error")),
        2 => Err(CallFailure::passing("reset", "connection reset")),
        3 => Ok(ListPage { items: page.items, next: None, complete: false }),
        4 => {
            page.items.truncate(page.items.len() / 2);
            Err(CallFailure::incomplete("the page is half"))
        }
        5 => Ok(ListPage::more(Vec::new(), format!("{}\0", request.cursor.as_deref().unwrap_or("")))),
        6 => {
            page.items.extend(page.items.clone());
            page.items.reverse();
            Ok(page)
        }
        7 => {
            page.items.push(Found { key: String::new(), attributes: json!(["no", "object"]) });
            Ok(page)
        }
        8 => Err(CallFailure::bad_answer("expected a list, found a text")),
        9 if request.cursor.is_none() => Ok(ListPage::last(Vec::new())),
        _ => Ok(page),
    }
}

/// 24 schedules of 30 steps; `TENURE_SOAK=full` takes 10,000. `TENURE_SEED` begins elsewhere.
#[tokio::test]
async fn a_chaotic_connector_takes_nothing_that_is_needed_and_loses_nothing() {
    let first: u64 = std::env::var("TENURE_SEED").ok().map_or(2031, |s| s.parse().expect("TENURE_SEED is a number"));
    for n in 0..u64::from(size(24, 10_000)) {
        let seed = first + n;
        println!("seed {seed}");
        let mut schedule = Schedule::new(seed).await;
        for _ in 0..30 {
            schedule.step().await;
            assert_eq!(*schedule.wrong.lock().unwrap(), [""; 0], "seed {seed}");
        }
        schedule.end().await;
    }
}
