//! A policy is replaced while its schedule moves on and while requests pass.

use std::sync::Arc;

use orderly_domain::Timestamp;
use orderly_interleave::explore;
use orderly_interleave::thread::{self, JoinHandle};
use prometheus::Registry;

use crate::throttle::{Limits, Policy, Rate, Scheduled, Subject, Throttle};

const EXECUTIONS: usize = 1_000;

/// 2026-11-23T00:00:00Z: eight in the morning in Shanghai.
const NOW: Timestamp = Timestamp::from_millis(1_795_392_000_000);
const AN_HOUR_LATER: Timestamp = Timestamp::from_millis(1_795_395_600_000);

/// So slow that nothing is refilled while a test runs.
fn burst(burst: u32) -> Option<Rate> {
    Some(Rate { rate_per_s: 0.001, burst })
}

fn policy(doctor: Option<Rate>, patient: Option<Rate>) -> Policy {
    Policy::of(Limits { doctor, patient, ..Limits::default() })
}

fn throttle(policy: Policy) -> Arc<Throttle> {
    Arc::new(Throttle::new(policy, NOW, &Registry::new()).expect("a valid policy"))
}

/// How many of so many requests of one patient for one doctor get in.
fn admitted(throttle: &Throttle, requests: usize) -> usize {
    let patient = "ann".parse().expect("valid");
    let doctor = "li".parse().expect("valid");
    let department = "eyes".parse().expect("valid");
    let ask = || {
        let subject = Subject {
            address: None,
            patient: &patient,
            client: None,
            level: None,
            doctor: &doctor,
            department: &department,
            campus: None,
            release_at: None,
            now: NOW,
        };
        throttle.check(subject).is_ok()
    };
    (0..requests).filter(|_| ask()).count()
}

fn beside<T: Send + 'static>(
    throttle: &Arc<Throttle>,
    run: impl FnOnce(&Throttle) -> T + Send + 'static,
) -> JoinHandle<T> {
    let throttle = Arc::clone(throttle);
    thread::spawn(move || run(&throttle))
}

fn join<T>(thread: JoinHandle<T>) -> T {
    thread.join().expect("it does not panic")
}

fn swap(throttle: &Throttle, policy: Policy) {
    throttle.swap(policy, NOW).expect("a valid policy");
}

#[test]
fn a_schedule_that_moves_on_brings_no_old_policy_back() {
    let mut old = policy(burst(5), None);
    old.schedule = vec![Scheduled {
        name: "later".into(),
        days: Vec::new(),
        from: "08:30".parse().expect("a time"),
        to: "10:00".parse().expect("a time"),
        timezone: "Asia/Shanghai".into(),
        limits: Limits { doctor: burst(1), ..Limits::default() },
        lanes: None,
        shed: None,
        suspicion: None,
    }];
    let mut new = old.clone();
    new.limits.patient = burst(7);
    explore(EXECUTIONS, move || {
        let throttle = throttle(old.clone());
        let moving_on = beside(&throttle, |throttle| throttle.keep_time(AN_HOUR_LATER));
        let setting = beside(&throttle, {
            let new = new.clone();
            |throttle| swap(throttle, new)
        });
        join(setting);
        join(moving_on);
        assert_eq!(*throttle.policy(), new);
    });
}

#[test]
fn what_was_drawn_stays_drawn_whoever_swaps() {
    // Two nodes' changes, heard at once: their limit of doctors is the same.
    let (one, other) = (policy(burst(2), burst(50)), policy(burst(2), burst(60)));
    explore(EXECUTIONS, move || {
        let throttle = throttle(policy(burst(1), burst(40)));
        let asking = beside(&throttle, |throttle| admitted(throttle, 5));
        let swapping: Vec<_> =
            [one.clone(), other.clone()].map(|policy| beside(&throttle, |throttle| swap(throttle, policy))).into();
        swapping.into_iter().for_each(join);
        let admitted = join(asking) + admitted(&throttle, 5);
        assert!(
            (1..=2).contains(&admitted),
            "1, and 1 more that was under way when the limit was replaced: {admitted}"
        );
    });
}

#[test]
fn a_request_is_measured_by_one_policy() {
    let next = policy(None, burst(1));
    explore(EXECUTIONS, move || {
        let throttle = throttle(policy(burst(1), None));
        let asking: Vec<_> = (0..2).map(|_| beside(&throttle, |throttle| admitted(throttle, 3))).collect();
        swap(&throttle, next.clone());
        let admitted: usize = asking.into_iter().map(join).sum();
        assert!(admitted <= 2, "one by each policy: {admitted}");
    });
}
