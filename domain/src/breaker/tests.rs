use futures::FutureExt as _;
use proptest::prelude::*;

use super::*;
use crate::clock::Manual;
use crate::port::Error;

const MS: Duration = Duration::from_millis(1);

struct Kit {
    clock: Arc<Manual>,
    breaker: Breaker,
}

fn kit() -> Kit {
    let clock = Arc::new(Manual::at(Timestamp::from_millis(1_700_000_000_000)));
    let breaker = Breaker::new("store", Settings::default(), Arc::clone(&clock) as _, None);
    Kit { clock, breaker }
}

impl Kit {
    fn enter(&self, caller: Caller) -> port::Result<Call<'_>> {
        self.breaker.enter(caller)
    }

    /// A call that takes so long and ends so; whether it was let through.
    fn call(&self, caller: Caller, took: Duration, answer: &port::Result<()>) -> bool {
        let Ok(call) = self.enter(caller) else { return false };
        self.clock.advance(took);
        call.end(answer);
        true
    }

    fn state(&self) -> State {
        self.breaker.snapshot().state
    }

    fn fail(&self) -> bool {
        self.call(Caller::Crowd, MS, &Err(Error::DidNotHappen("the disk is gone".into())))
    }

    fn succeed(&self) -> bool {
        self.call(Caller::Crowd, MS, &Ok(()))
    }

    fn open(&self) {
        while self.fail() {}
        assert_eq!(self.state(), State::Open);
    }

    fn until_probe(&self) {
        self.clock.set(self.breaker.snapshot().probe_at.expect("it is open"));
    }
}

#[test]
fn opens_when_too_many_calls_fail_and_says_why() {
    let kit = kit();
    for _ in 0..4 {
        assert!(kit.fail());
    }
    assert_eq!(kit.state(), State::Closed, "nothing is concluded from four calls");
    assert!(kit.fail());
    let snapshot = kit.breaker.snapshot();
    assert_eq!((snapshot.state, snapshot.opened_total), (State::Open, 1));
    assert_eq!(&*snapshot.cause, "5 of 5 calls within 10 s failed, the last: did not happen: the disk is gone");
    let Err(Error::BreakerOpen { breaker: "store", retry_after, .. }) = kit.enter(Caller::Worker).map(drop) else {
        panic!("it is refused");
    };
    assert!(retry_after >= Settings::default().pause && retry_after <= Settings::default().pause.mul_f64(1.25));
    assert_eq!(kit.breaker.snapshot().refused_total, 1);
}

#[test]
fn some_failures_among_many_calls_are_borne() {
    let kit = kit();
    for round in 0..1_000 {
        assert!(if round % 3 == 0 { kit.fail() } else { kit.succeed() });
    }
    assert_eq!(kit.state(), State::Closed);
}

#[test]
fn opens_when_the_mean_passes_the_bound_and_lets_workers_go_on() {
    let kit = kit();
    for _ in 0..5 {
        assert!(kit.call(Caller::Worker, MS * 900, &Ok(())));
    }
    let snapshot = kit.breaker.snapshot();
    assert_eq!((snapshot.state, &*snapshot.cause), (State::Open, "the mean response time is 900 ms, more than 800 ms"));
    assert!(!kit.succeed(), "the crowd waits");
    assert!(kit.call(Caller::Worker, MS * 900, &Ok(())), "a worker goes on, however slowly");
    for _ in 0..3 {
        assert_ne!(kit.state(), State::Closed);
        assert!(kit.call(Caller::Worker, MS, &Ok(())));
    }
    assert_eq!(kit.state(), State::Closed, "it was seen to be fast again");
}

#[test]
fn calls_without_an_answer_open_it_before_they_end() {
    let kit = kit();
    let calls: Vec<_> = (0..5).map(|_| kit.enter(Caller::Crowd).expect("closed")).collect();
    kit.clock.advance(MS * 801);
    assert_eq!(kit.state(), State::Open);
    assert!(kit.enter(Caller::Crowd).is_err());
    drop(calls);
    assert_eq!(kit.state(), State::Open, "what began before says nothing about the present");
}

/// A worker has one call in flight: it would take a long time to gather five that fail after a long timeout.
#[test]
fn one_call_that_does_not_answer_is_enough_and_failures_tell_that_it_is_away() {
    let kit = kit();
    let call = kit.enter(Caller::Worker).expect("closed");
    kit.clock.advance(MS * 3_999);
    assert_eq!(kit.state(), State::Closed);
    kit.clock.advance(MS);
    assert_eq!(kit.state(), State::Open);
    assert!(!kit.breaker.is_closed() && !kit.breaker.is_away(), "as far as is known it is only slow");
    drop(call);
    let timeout = || Err(Error::MayHaveHappened("no answer".into()));
    assert!(kit.call(Caller::Worker, MS * 5_000, &timeout()));
    assert!(kit.breaker.is_away());
    let mut tried = 0;
    for _ in 0..30 {
        kit.clock.advance(MS * 100);
        tried += u32::from(kit.call(Caller::Worker, MS, &timeout()));
    }
    assert!((2..=3).contains(&tried), "a worker probes once a second, however long it lasts: {tried}");
    assert_eq!(kit.breaker.snapshot().opened_total, 1, "it was not closed meanwhile");
}

#[test]
fn callers_who_go_away_early_are_no_failures() {
    let kit = kit();
    for _ in 0..100 {
        drop(kit.enter(Caller::Crowd).expect("closed"));
    }
    assert_eq!((kit.state(), kit.breaker.snapshot().calls), (State::Closed, 0));
    for _ in 0..5 {
        let call = kit.enter(Caller::Crowd).expect("closed");
        kit.clock.advance(MS * 801);
        drop(call);
    }
    assert_eq!(kit.state(), State::Open, "those who lost patience are");
}

#[test]
fn refusals_that_a_healthy_dependency_gives_are_no_failures() {
    let kit = kit();
    for _ in 0..50 {
        for error in [
            Error::Fenced { partition: 1 },
            Error::Lost("restarted".into()),
            Error::Conflict { expected: 1, found: 2 },
            Error::Overloaded("its queue is full".into()),
            Error::StorageFull("the disk is full".into()),
        ] {
            assert!(kit.call(Caller::Crowd, MS, &Err(error)));
        }
    }
    assert_eq!(kit.state(), State::Closed);
}

#[test]
fn probes_one_at_a_time_and_backs_off_longer_after_each_bad_one() {
    let kit = kit();
    kit.open();
    let mut pauses = Vec::new();
    for _ in 0..5 {
        let opened = kit.clock.now();
        kit.until_probe();
        pauses.push(kit.clock.now().since(opened));
        assert_eq!(kit.state(), State::HalfOpen, "it waits for a probe");
        let probe = kit.enter(Caller::Crowd).expect("the probe");
        assert!(kit.enter(Caller::Crowd).is_err() && kit.enter(Caller::Worker).is_err(), "one at a time");
        probe.end::<()>(&Err(Error::MayHaveHappened("timeout".into())));
        assert_eq!(kit.state(), State::Open);
    }
    let steps = [1, 2, 4, 5, 5];
    for (pause, seconds) in pauses.iter().zip(steps) {
        let base = Duration::from_secs(seconds);
        assert!(*pause >= base && *pause <= base.mul_f64(1.25), "{pauses:?}");
    }
    kit.until_probe();
    assert!(kit.succeed() && kit.succeed());
    assert_eq!(kit.state(), State::HalfOpen);
    assert!(kit.succeed());
    assert_eq!(kit.state(), State::Closed);
    assert_eq!(&*kit.breaker.snapshot().cause, "3 probes went well");
    kit.open();
    let pause = kit.breaker.snapshot().probe_at.expect("open").since(kit.clock.now());
    assert!(pause <= Duration::from_millis(1_250), "a recovery forgets the back-off");
}

#[test]
fn a_probe_whose_caller_goes_away_makes_room_for_another() {
    let kit = kit();
    kit.open();
    kit.until_probe();
    drop(kit.enter(Caller::Crowd).expect("the probe"));
    assert!(kit.succeed(), "the next one probes");
}

#[test]
fn hands_have_the_last_word() {
    let kit = kit();
    let held = kit.breaker.hold(Held::Open, "amy: the database moves");
    assert_eq!((held.state, held.held, &*held.cause), (State::Open, Held::Open, "amy: the database moves"));
    kit.clock.advance(Duration::from_secs(3_600));
    assert!(!kit.succeed() && kit.enter(Caller::Worker).is_err(), "for as long as it is held");
    assert_eq!(kit.breaker.hold(Held::Closed, "amy: let them through").state, State::Closed);
    for _ in 0..100 {
        assert!(kit.fail());
    }
    assert_eq!(kit.breaker.hold(Held::Automatic, "amy: done").state, State::Closed);
    kit.open();
    kit.breaker.hold(Held::Automatic, "amy: it was mended");
    assert!(kit.succeed(), "letting go is a reset");
}

#[test]
fn old_calls_leave_the_window() {
    let kit = kit();
    for _ in 0..4 {
        kit.fail();
    }
    kit.clock.advance(Duration::from_secs(11));
    for _ in 0..4 {
        kit.fail();
    }
    assert_eq!(kit.state(), State::Closed);
    assert_eq!(kit.breaker.snapshot().calls, 4);
}

#[test]
fn guards_a_call() {
    let kit = kit();
    let failing = || async { Err::<(), _>(Error::DidNotHappen("away".into())) };
    for _ in 0..5 {
        assert!(matches!(
            kit.breaker.guard(Caller::Crowd, failing()).now_or_never(),
            Some(Err(Error::DidNotHappen(_)))
        ));
    }
    assert!(!kit.breaker.is_closed());
    let refused = kit.breaker.guard(Caller::Crowd, failing()).now_or_never();
    assert!(matches!(refused, Some(Err(Error::BreakerOpen { .. }))));
}

#[derive(Clone, Debug)]
enum Step {
    Enter(Caller),
    Leave(usize, Option<bool>),
    Wait(u64),
    Hold(Held),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let caller = prop_oneof![Just(Caller::Crowd), Just(Caller::Worker)];
    let held = prop_oneof![Just(Held::Automatic), Just(Held::Open), Just(Held::Closed)];
    let step = prop_oneof![
        8 => caller.prop_map(Step::Enter),
        8 => (any::<usize>(), any::<Option<bool>>()).prop_map(|(index, ok)| Step::Leave(index, ok)),
        4 => (0_u64..3_000).prop_map(Step::Wait),
        1 => held.prop_map(Step::Hold),
    ];
    proptest::collection::vec(step, 0..200)
}

proptest! {
    /// Whatever happens: a closed breaker refuses nobody, one that is held open refuses everybody, a half-open one has one
    /// probe of the crowd at most, and once the dependency is well again it closes.
    #[test]
    fn keeps_its_promises(steps in steps()) {
        let kit = kit();
        let mut calls: Vec<Call<'_>> = Vec::new();
        for step in steps {
            match step {
                Step::Enter(caller) => {
                    let before = kit.breaker.snapshot();
                    let refused_total = before.refused_total;
                    match kit.enter(caller) {
                        Ok(call) => {
                            prop_assert!(before.held != Held::Open);
                            prop_assert!(before.state != State::Open || caller == Caller::Worker, "{before:?}");
                            calls.push(call);
                        }
                        Err(error) => {
                            let is_refusal = matches!(error, Error::BreakerOpen { .. });
                            prop_assert!(is_refusal);
                            prop_assert!(before.state != State::Closed, "{before:?}");
                            prop_assert_eq!(kit.breaker.snapshot().refused_total, refused_total + 1);
                        }
                    }
                }
                Step::Leave(index, ok) if !calls.is_empty() => {
                    let call = calls.swap_remove(index % calls.len());
                    match ok {
                        Some(true) => call.end(&Ok(())),
                        Some(false) => call.end::<()>(&Err(Error::DidNotHappen("no".into()))),
                        None => drop(call),
                    }
                }
                Step::Leave(..) => {}
                Step::Wait(ms) => kit.clock.advance(MS * u32::try_from(ms).unwrap()),
                Step::Hold(held) => drop(kit.breaker.hold(held, "test")),
            }
            let now = kit.breaker.snapshot();
            prop_assert!(now.failed_share.is_none_or(|share| (0.0..=1.0).contains(&share)));
            prop_assert!(now.state != State::Open || !now.cause.is_empty());
            prop_assert_eq!(kit.breaker.is_closed(), now.state == State::Closed || kit.breaker.is_closed());
        }
        calls.clear();
        if kit.breaker.snapshot().held != Held::Automatic {
            kit.breaker.hold(Held::Automatic, "test");
        }
        for _ in 0..100 {
            kit.clock.advance(MS * 500);
            kit.succeed();
        }
        prop_assert_eq!(kit.state(), State::Closed, "{:?}", kit.breaker.snapshot());
    }
}
