//! Generated workflows on the real store, with a process that is lost between any two transactions.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::task::Poll;

use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, RngAlgorithm, RngSeed, TestRng, TestRunner};

use super::*;
use crate::base::Clock as _;
use crate::features::workflow::approvals::Approval;
use crate::features::workflow::definitions::{Workflow, WorkflowStatus, store as definition_store};
use crate::features::workflow::engine::properties::any_definition;

/// Lets go of a future after so many polls, as a killed process does; what it had committed stays.
async fn cut<F: Future>(future: F, polls: u32) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    let mut left = polls;
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

/// How many attempts run before the dice fall again; each goes through a burst of steps at most.
const ATTEMPTS: usize = 5;

/// A run that went through more steps than this goes round for ever: more of the same shows nothing new.
const VISITS: u32 = 1_000;

/// A connected system that answers at once, well or badly, the same for each key.
#[derive(Debug, Default)]
struct Whimsical {
    asked: Mutex<BTreeMap<String, u32>>,
}

impl Calls for Whimsical {
    fn call<'a>(&'a self, _: &'a ConnectorId, _: &'a str, _: &'a Value, key: &'a str) -> CallOut<'a> {
        Box::pin(async move {
            let count = {
                let mut asked = self.asked.lock().unwrap();
                let count = asked.entry(key.to_owned()).or_default();
                *count += 1;
                *count
            };
            tokio::task::yield_now().await;
            match key.bytes().map(u32::from).sum::<u32>() % 5 {
                0 => Err(CallFailure::lasting("no", "it said no")),
                1 if count == 1 => Err(CallFailure { message: "busy".into(), code: "busy".into(), retryable: true }),
                _ => Ok(CallAnswer { output: json!({ "assignmentId": "none" }) }),
            }
        })
    }

    fn http<'a>(&'a self, _: PlainCall, _: &'a str) -> CallOut<'a> {
        Box::pin(async { Err(CallFailure::lasting("no_http", "this system speaks no HTTP")) })
    }
}

/// Numbers that follow from a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

struct World {
    f: Fixture,
    system: Arc<Whimsical>,
    queue: InlineQueue,
    crashes: u32,
}

impl World {
    async fn new() -> Self {
        let f = fixture().await;
        f.connector_named("c").await;
        let system = Arc::new(Whimsical::default());
        let queue = Self::process(&f, &system).await;
        Self { f, system, queue, crashes: 0 }
    }

    async fn process(f: &Fixture, system: &Arc<Whimsical>) -> InlineQueue {
        let handler: Arc<dyn JobHandler> = Arc::new(AdvanceRun::new(system.clone()));
        InlineQueue::start(f.store.clone(), Registry::new([handler])).await.unwrap()
    }

    async fn crash(&mut self, polls: u32) {
        if cut(self.queue.run_at_most(ATTEMPTS), polls).await.is_some() {
            return;
        }
        self.crashes += 1;
        self.queue = Self::process(&self.f, &self.system).await;
        let boot = self.f.clock.now();
        while self.f.store.write(move |tx| runs::resume_page(tx, boot)).await.unwrap() > 0 {}
    }

    async fn active(&self, definition: Definition) -> WorkflowId {
        let boss = self.f.boss.clone();
        let made = self.f.store.write(move |tx| definitions::create(tx, &boss, definition.clone())).await.unwrap();
        // Not published: some of these a person would be told to mend first, and they must not harm either.
        let active = Workflow { status: WorkflowStatus::Active, version: 1, ..made };
        let id = active.id.clone();
        self.f.store.write(move |tx| definition_store::update_workflow(tx, &active)).await.unwrap();
        id
    }

    async fn pending(&self, run: &Run) -> Vec<Approval> {
        let id = run.id.clone();
        // A run that forks may wait for more people than a page of a list has.
        self.f.store.read(move |tx| approval_store::list_open(tx, &id)).await.unwrap()
    }

    async fn decide_one(&self, run: &Run, approve: bool) {
        let Some(approval) = self.pending(run).await.pop() else { return };
        let by = self.f.rosa.clone();
        self.f.store.write(move |tx| approvals::decide(tx, &by, &approval.id, approve, Some("by the dice"))).await.unwrap();
    }

    async fn anything(&mut self, run: &Run, dice: &mut Dice) {
        match dice.roll(8) {
            0 | 1 if self.crashes < 3 => self.crash(u32::try_from(dice.roll(9)).unwrap()).await,
            2 => self.decide_one(run, dice.roll(3) > 0).await,
            3 | 4 => self.f.clock.advance(Duration::from_millis(dice.roll(9_000))),
            _ => {
                self.queue.run_at_most(ATTEMPTS).await.unwrap();
            }
        }
    }

    /// Whether there is nothing more to see: the run is over, or it goes round for ever.
    async fn is_settled(&self, run: &Run) -> bool {
        let run = self.f.run(run).await;
        run.status.is_over() || run.state.visits > VISITS
    }

    async fn check(&self, run: &Run, seed: u64) {
        let run = self.f.run(run).await;
        let id = run.id.clone();
        let (steps, events) = self
            .f
            .store
            .read(move |tx| Ok((run_store::list_steps(tx, &id)?, run_store::list_events(tx, &id, 0, u32::MAX)?)))
            .await
            .unwrap();
        let what = format!("seed {seed}, run {}, {}", run.id, run.status.as_str());
        assert_eq!(steps.len(), run.state.visits as usize, "{what}: each visit has one row");
        let whole = events.iter().map(|e| e.seq).eq(1..=run.events);
        assert!(whole, "{what}: of {} events {} are there, or not in their order", run.events, events.len());
        let mut outcomes = BTreeSet::new();
        for event in events.iter().filter(|e| e.kind == "effect.completed" || e.kind == "effect.failed") {
            let place = (event.data["visit"].to_string(), event.data["attempt"].to_string());
            assert!(outcomes.insert(place.clone()), "{what}: the outcome of {place:?} counted twice");
        }
        let open: Vec<&str> = steps.iter().filter(|s| s.ended_at.is_none()).map(|s| s.status.as_str()).collect();
        let pending = self.pending(&run).await;
        if run.status.is_over() {
            assert!(open.is_empty() && pending.is_empty(), "{what}: {open:?}, {} approvals open", pending.len());
            return;
        }
        assert_eq!(open.len(), run.state.tokens.len(), "{what}: every place has an open step");
        for (token, wait) in run.state.waits() {
            if let crate::features::workflow::engine::Wait::Approval { id } = wait {
                assert!(pending.iter().any(|a| a.id.to_string() == *id), "{what}: {} waits for nobody", token.step);
            }
        }
    }
}

#[tokio::test]
async fn a_lost_process_loses_no_run_and_doubles_no_outcome() {
    let cases = u64::from(Config::default().cases.max(256)) / 4;
    // `PROPTEST_RNG_SEED` gives other workflows, and other moments at which they are cut.
    let from = match Config::default().rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => 31,
    };
    let mut bytes = [31; 32];
    bytes[..8].copy_from_slice(&from.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let mut world = World::new().await;
    let (mut crashes, mut over) = (0, 0);
    for seed in 0..cases {
        let text = serde_json::to_string(&any_definition().new_tree(&mut runner).unwrap().current()).unwrap();
        let definition: Definition = serde_json::from_str(&text.replace(r#""group":"g""#, r#""group":"reviewers""#)).unwrap();
        let workflow = world.active(definition).await;
        let run = world.f.started(&workflow).await;
        let mut dice = Dice(from.wrapping_add(seed));
        world.crashes = 0;
        for _ in 0..25 {
            if world.f.run(&run).await.state.visits > VISITS {
                break;
            }
            world.anything(&run, &mut dice).await;
        }
        world.check(&run, seed).await;
        for _ in 0..25 {
            if world.is_settled(&run).await {
                break;
            }
            world.queue.run_at_most(ATTEMPTS).await.unwrap();
            world.decide_one(&run, true).await;
            world.f.clock.advance(Duration::from_secs(10));
        }
        world.queue.run_at_most(ATTEMPTS).await.unwrap();
        world.check(&run, seed).await;
        crashes += world.crashes;
        over += u32::from(world.f.run(&run).await.status.is_over());
        world.stop(&run).await;
    }
    println!("{cases} workflows, {crashes} lost processes, {over} runs over");
    assert!(u64::from(crashes) > cases / 2 && u64::from(over) > cases / 2, "{crashes} lost processes, {over} runs over");
}

impl World {
    /// What loops for ever is not taken along to the next case.
    async fn stop(&self, run: &Run) {
        let (boss, id) = (self.f.boss.clone(), run.id.clone());
        if !self.f.run(run).await.status.is_over() {
            self.f.store.write(move |tx| runs::cancel(tx, &boss, &id, "the test is over")).await.unwrap();
        }
    }
}
