//! What changes of a policy leave of what was drawn.

use super::*;

#[test]
fn a_swap_keeps_what_it_does_not_change() {
    let mut policy = only("patient", rate(0.001, 1));
    policy.limits.global = rate(0.001, 2);
    let bench = Bench::new(policy.clone());
    bench.patient("ann").expect("the first");

    policy.limits.global = None;
    bench.throttle.swap(policy.clone(), NOW).expect("valid");
    assert_eq!(bench.patient("ann").expect_err("the patient's limit is as it was").limit, Kind::Patient);
    assert_eq!(*bench.throttle.policy(), policy);

    policy.limits.patient = rate(0.001, 3);
    bench.throttle.swap(policy.clone(), NOW).expect("valid");
    bench.patient("ann").expect_err("a larger burst has to be filled first");
    bench.patient("bob").expect("what everybody had");
    bench.patient("bob").expect_err("and no more");
    bench.clock.advance(Duration::from_secs(2_000));
    for _ in 0..2 {
        bench.patient("ann").expect("filled meanwhile");
    }
    bench.patient("ann").expect_err("to that moment");

    policy.limits.patient = rate(f64::NAN, 0);
    let refused = bench.throttle.swap(policy, NOW).expect_err("not a rate").to_string();
    assert!(refused.contains("limits.patient.rate_per_s") && refused.contains("limits.patient.burst"), "{refused}");
    assert_eq!(bench.throttle.policy().limits.patient, rate(0.001, 3));
    bench.patient("ann").expect_err("nothing changed");
}

#[test]
fn one_doctor_can_be_tightened_and_loosened_while_requests_pass() {
    let mut policy = only("doctor", rate(0.001, 3));
    let bench = Bench::new(policy.clone());
    bench.ask(HOME, "ann", "li").expect("within the burst");
    bench.ask(HOME, "ann", "wang").expect("within the burst");
    policy.exceptions = vec![Exception { limit: Kind::Doctor, key: "li".into(), rate_per_s: 0.001, burst: 1 }];
    bench.throttle.swap(policy.clone(), NOW).expect("valid");
    bench.ask(HOME, "ann", "li").expect("one of the two that were left");
    let throttled = bench.ask(HOME, "ann", "li").expect_err("beyond the exception");
    assert_eq!((throttled.limit, throttled.burst), (Kind::Doctor, 1));
    policy.exceptions.push(Exception { limit: Kind::Patient, key: "bob".into(), rate_per_s: 0.001, burst: 1 });
    bench.throttle.swap(policy.clone(), NOW).expect("valid");
    bench.ask(HOME, "ann", "li").expect_err("an exception keeps its state when others come");
    bench.ask(HOME, "bob", "wang").expect("bob's only one");
    assert_eq!(bench.ask(HOME, "bob", "wang").expect_err("bob alone is limited").limit, Kind::Patient);
    bench.ask(HOME, "ann", "wang").expect("the other doctor's last: what bob was refused cost nothing");
    policy.exceptions.clear();
    bench.throttle.swap(policy, NOW).expect("valid");
    bench.ask(HOME, "ann", "li").expect_err("the exception left nothing, and its end gives nothing");
    bench.clock.advance(Duration::from_secs(1_000));
    bench.ask(HOME, "ann", "li").expect("refilled by the limit that holds for all");
}

/// How many of many requests at once are let in.
fn admitted(bench: &Bench, patient: &str, doctor: &str) -> usize {
    (0..200).filter(|_| bench.ask(HOME, patient, doctor).is_ok()).count()
}

fn swap(bench: &Bench, policy: &Policy) {
    bench.throttle.swap(policy.clone(), NOW).expect("valid");
}

#[test]
fn other_numbers_leave_what_was_left() {
    for name in NAMES {
        let bench = Bench::new(only(name, rate(1.0, 10)));
        for _ in 0..4 {
            bench.ask(HOME, "ann", "li").expect("within the burst");
        }
        swap(&bench, &only(name, rate(2.0, 50)));
        swap(&bench, &only(name, rate(0.5, 5)));
        assert_eq!(admitted(&bench, "ann", "li"), 5, "{name}: 6 were left, and the burst is 5");
        swap(&bench, &only(name, rate(2.0, 20)));
        assert_eq!(admitted(&bench, "ann", "li"), 0, "{name}: nothing is left of any burst");
        bench.clock.advance(Duration::from_secs(4));
        assert_eq!(admitted(&bench, "ann", "li"), 8, "{name}: refilled at the new rate");
        swap(&bench, &Policy { keys_max: 7, ..only(name, rate(2.0, 20)) });
        assert_eq!(admitted(&bench, "ann", "li"), 0, "{name}: another number of keys is no other allowance");
        bench.clock.advance(Duration::from_secs(60));
        assert_eq!(admitted(&bench, "ann", "li"), 20, "{name}: full after a pause");
    }
}

#[test]
fn what_is_replaced_is_let_go_when_it_is_refilled() {
    let bench = Bench::new(only("patient", rate(1.0, 10)));
    let keys = || bench.metric(crate::metrics::THROTTLE_KEYS, "patient");
    for patient in 0..50 {
        assert_eq!(admitted(&bench, &format!("patient-{patient}"), "li"), 10);
    }
    swap(&bench, &only("patient", rate(1.0, 5)));
    assert_eq!(keys(), 50.0, "nothing is copied");
    assert_eq!(admitted(&bench, "patient-0", "li"), 0);
    assert_eq!(keys(), 51.0, "who comes is known to both");
    swap(&bench, &only("patient", rate(1.0, 6)));
    assert_eq!(keys(), 50.0, "of two that are replaced, one is kept");
    assert_eq!(admitted(&bench, "patient-0", "li") + admitted(&bench, "patient-1", "li"), 0);
    bench.clock.advance(Duration::from_secs(7));
    bench.patient("patient-0").expect("refilled");
    assert_eq!(keys(), 1.0, "whoever came since");
}

#[test]
fn a_flood_across_a_change_resets_nobody() {
    let small = |burst| Policy { keys_max: 3, ..only("patient", rate(0.1, burst)) };
    let bench = Bench::new(small(4));
    for patient in ["ann", "bob", "eve", "dan", "fay"] {
        assert_eq!(admitted(&bench, patient, "li"), 4, "{patient}");
    }
    swap(&bench, &small(8));
    let bots = (0..100).filter(|number| bench.patient(&format!("bot-{number}")).is_ok()).count();
    assert!(bots > 0, "strangers are let in");
    for patient in ["ann", "bob", "eve", "dan", "fay"] {
        assert_eq!(admitted(&bench, patient, "li"), 0, "{patient}");
    }
}

#[test]
fn a_phase_that_loses_its_own_numbers_gives_nothing() {
    let mut policy = only("doctor", rate(0.001, 20));
    policy.phases.rush.doctor = rate(0.001, 5);
    let bench = Bench::new(policy.clone());
    assert_eq!(admitted(&bench, "ann", "li"), 5, "the rush's");
    policy.phases.rush.doctor = None;
    swap(&bench, &policy);
    assert_eq!(admitted(&bench, "ann", "li"), 0, "not the others' on top of it");
    assert_eq!(admitted(&bench, "ann", "wang"), 20, "who did not ask has what everybody has");
}

#[test]
fn a_phase_that_loses_its_numbers_after_others_gives_nothing_to_who_was_away() {
    let mut policy = only("doctor", rate(0.001, 20));
    policy.phases.rush.doctor = rate(0.001, 5);
    let bench = Bench::new(policy.clone());
    assert_eq!(admitted(&bench, "ann", "li"), 5, "the rush's");
    for numbers in [rate(0.001, 6), None] {
        policy.phases.rush.doctor = numbers;
        swap(&bench, &policy);
    }
    assert_eq!(admitted(&bench, "ann", "li"), 0, "what was drawn two changes ago is drawn");
}

#[test]
fn a_phase_that_gets_its_own_numbers_loses_nothing_to_the_others() {
    let mut policy = only("doctor", rate(0.001, 10));
    let bench = Bench::new(policy.clone());
    policy.phases.after.doctor = rate(0.001, 5);
    swap(&bench, &policy);
    assert_eq!(admitted(&bench, "ann", "li"), 10, "the rush's");
    let released = Timestamp::from_millis(NOW.as_millis() - 86_400_000);
    let late = Arrival { release_at: Some(released), ..arrival(HOME, "ann", "li") };
    assert_eq!((0..20).filter(|_| bench.request(&late).is_ok()).count(), 5, "what was left at the change");
}

#[test]
fn what_strangers_share_is_owed_over_two_changes() {
    let small = |burst| Policy { keys_max: 1, ..only("patient", rate(0.001, burst)) };
    let bench = Bench::new(small(4));
    for patient in ["ann", "bob"] {
        assert_eq!(admitted(&bench, patient, "li"), 4, "{patient}");
    }
    swap(&bench, &small(5));
    swap(&bench, &small(6));
    for patient in ["ann", "bob"] {
        assert_eq!(admitted(&bench, patient, "li"), 0, "{patient}");
    }
}

#[test]
fn lanes_that_come_and_go_give_nothing() {
    let lane = |share| Lane { name: "members".into(), levels: vec!["gold".into()], share };
    let with = |lanes| Policy { lanes, ..only("global", rate(10.0, 100)) };
    let bench = Bench::new(with(Vec::new()));
    let everybody = arrival(HOME, "ann", "li");
    let member = Arrival { level: Some("gold".into()), ..everybody.clone() };
    let together = || {
        let count = |who: &Arrival| (0..200).filter(|_| bench.request(who).is_ok()).count();
        count(&member) + count(&everybody)
    };
    assert_eq!(together(), 100);
    for lanes in [vec![lane(0.2)], vec![lane(0.5)], Vec::new(), vec![lane(0.1)]] {
        swap(&bench, &with(lanes));
        assert_eq!(together(), 0);
    }
    bench.clock.advance(Duration::from_secs(60));
    assert_eq!(together(), 100, "full after a pause");
}

/// What happens in a history of changes.
#[derive(Clone, Copy, Debug)]
enum Step {
    Ask(u8),
    Wait(u64),
    /// Other numbers for everybody, for one key alone (or none), and how many keys are told apart.
    Swap(usize, Option<usize>, u32),
}

/// Rates whose intervals are whole nanoseconds, and bursts.
const NUMBERS: [(f64, u32); 5] = [(1.0, 4), (10.0, 4), (0.5, 12), (4.0, 7), (2.0, 1)];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let numbers = 0..NUMBERS.len();
    let step = prop_oneof![
        6 => (0_u8..6).prop_map(Step::Ask),
        2 => (0_u64..2_500).prop_map(Step::Wait),
        1 => (numbers.clone(), prop::option::of(numbers), 1_u32..8).prop_map(|(all, one, keys)| Step::Swap(all, one, keys)),
    ];
    prop::collection::vec(step, 1..300)
}

/// The longest run above what a burst and the refill allow: `earned` is what had been refilled at each admission.
fn excess(earned: &[f64], burst_max: u32) -> f64 {
    let windows = earned.iter().enumerate().flat_map(|(first, from)| {
        earned[first..].iter().enumerate().map(move |(more, to)| (more + 1) as f64 - (to - from))
    });
    windows.fold(0.0, f64::max) - f64::from(burst_max)
}

proptest! {
    /// Whatever is changed, and however often: in any stretch of time no key is let in more often than the largest burst
    /// and what refilled meanwhile at the rates that held.
    #[test]
    fn nobody_gains_by_changes(name in prop::sample::select(vec!["patient", "doctor", "campus", "client"]), steps in steps()) {
        let kind = Kind::KEYED.into_iter().find(|kind| kind.as_str() == name).expect("a kind");
        let of = |index: usize| rate(NUMBERS[index].0, NUMBERS[index].1);
        let bench = Bench::new(only(name, of(0)));
        let mut earned = [0.0; 6];
        let mut admitted = vec![Vec::new(); 6];
        let (mut all, mut one) = (0, None);
        for step in steps {
            match step {
                Step::Ask(key) => {
                    let name = format!("key-{key}");
                    if bench.ask(HOME, &name, &name).is_ok() {
                        admitted[usize::from(key)].push(earned[usize::from(key)]);
                    }
                }
                Step::Wait(ms) => {
                    bench.clock.advance(Duration::from_millis(ms));
                    for (key, earned) in earned.iter_mut().enumerate() {
                        let numbers = if key == 0 { one.unwrap_or(all) } else { all };
                        *earned += NUMBERS[numbers].0 * Duration::from_millis(ms).as_secs_f64();
                    }
                }
                Step::Swap(next_all, next_one, keys_max) => {
                    (all, one) = (next_all, next_one);
                    let mut policy = Policy { keys_max, ..only(name, of(all)) };
                    policy.exceptions = one.into_iter().map(|one| {
                        let (rate_per_s, burst) = NUMBERS[one];
                        Exception { limit: kind, key: "key-0".into(), rate_per_s, burst }
                    }).collect();
                    swap(&bench, &policy);
                }
            }
        }
        for earned in admitted {
            prop_assert!(excess(&earned, 12) < 1e-6, "{earned:?}");
        }
    }

    /// The same of a schedule, which changes the policy at moments that are known to all.
    #[test]
    fn nobody_gains_by_a_schedule(
        entries in prop::collection::vec((0_i8..59, 1_i8..30, 0..NUMBERS.len()), 1..6),
        asks in prop::collection::vec((0_u8..3, 0_u64..40), 1..400),
    ) {
        let mut policy = only("doctor", rate(NUMBERS[0].0, NUMBERS[0].1));
        let at = |minute: i8| jiff::civil::time(8 + minute / 60, minute % 60, 0, 0);
        policy.schedule = entries.iter().map(|(from, length, numbers)| Scheduled {
            name: "some minutes".into(),
            days: Vec::new(),
            from: at(*from),
            to: at(from + length),
            timezone: "Asia/Shanghai".into(),
            limits: Limits { doctor: rate(NUMBERS[*numbers].0, NUMBERS[*numbers].1), ..Limits::default() },
            lanes: None,
            shed: None,
            suspicion: None,
        }).collect();
        let bench = Bench::new(policy);
        let (mut now, mut earned) = (NOW, 0.0);
        let mut admitted = vec![Vec::new(); 3];
        for (key, wait_s) in asks {
            for _ in 0..wait_s {
                let held = bench.throttle.in_force().limits.doctor.expect("a limit");
                earned += held.rate_per_s;
                bench.clock.advance(Duration::from_secs(1));
                now = now.plus(Duration::from_secs(1));
                bench.throttle.keep_time(now);
            }
            // As many as there are, so that nobody is ever full for want of asking.
            while bench.ask(HOME, "ann", &format!("key-{key}")).is_ok() {
                admitted[usize::from(key)].push(earned);
            }
        }
        for earned in admitted {
            prop_assert!(excess(&earned, 12) < 1e-6, "{earned:?}");
        }
    }

    /// The same of the global limit, which lanes divide.
    #[test]
    fn nobody_gains_by_lanes(steps in prop::collection::vec((0_u8..12, 0_u64..1_500, 0_usize..3, 0_usize..4), 1..300)) {
        let lane = |name: &str, share| Lane { name: name.into(), levels: vec![name.into()], share };
        let bench = Bench::new(only("global", rate(20.0, 20)));
        let everybody = arrival(HOME, "ann", "li");
        let member = Arrival { level: Some("gold".into()), ..everybody.clone() };
        let (mut rate_per_s, mut earned, mut admitted) = (20.0, 0.0, Vec::new());
        for (what, ms, numbers, lanes) in steps {
            match what {
                0 => {
                    let (next, burst) = [(20.0, 20), (4.0, 40), (40.0, 8)][numbers];
                    let mut policy = only("global", rate(next, burst));
                    policy.lanes = [vec![], vec![lane("gold", 0.25)], vec![lane("gold", 0.5)], vec![lane("tin", 0.25), lane("gold", 0.25)]][lanes].clone();
                    rate_per_s = next;
                    swap(&bench, &policy);
                }
                1 => {
                    bench.clock.advance(Duration::from_millis(ms));
                    earned += rate_per_s * Duration::from_millis(ms).as_secs_f64();
                }
                _ => {
                    let who = if what % 2 == 0 { &everybody } else { &member };
                    if bench.request(who).is_ok() {
                        admitted.push(earned);
                    }
                }
            }
        }
        prop_assert!(excess(&admitted, 40) < 1e-6, "{admitted:?}");
    }
}
