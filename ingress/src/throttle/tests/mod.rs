mod documents;
mod rehearsal;
mod schedule;
mod swaps;

use std::net::{IpAddr, Ipv4Addr};

use governor::clock::FakeRelativeClock;
use proptest::prelude::*;

use super::*;

const NAMES: [&str; 7] = ["global", "client", "campus", "department", "doctor", "address", "patient"];

/// 2026-11-23T00:00:00Z, a Monday: eight in the morning in Shanghai.
const NOW: Timestamp = Timestamp::from_millis(1_795_392_000_000);

fn rate(rate_per_s: f64, burst: u32) -> Option<Rate> {
    Some(Rate { rate_per_s, burst })
}

fn only(name: &str, limit: Option<Rate>) -> Policy {
    let mut limits = Limits::default();
    match name {
        "global" => limits.global = limit,
        "client" => limits.client = limit,
        "campus" => limits.campus = limit,
        "department" => limits.department = limit,
        "doctor" => limits.doctor = limit,
        "address" => limits.address = limit,
        _ => limits.patient = limit,
    }
    Policy { keys_max: 1_000, ..Policy::of(limits) }
}

struct Bench {
    throttle: Throttle<FakeRelativeClock>,
    clock: FakeRelativeClock,
    registry: prometheus::Registry,
}

impl Bench {
    fn new(policy: Policy) -> Self {
        let (clock, registry) = (FakeRelativeClock::default(), prometheus::Registry::new());
        let throttle = Throttle::with_clock(policy, NOW, &registry, clock.clone()).expect("a valid policy");
        Self { throttle, clock, registry }
    }

    fn ask(&self, address: IpAddr, patient: &str, doctor: &str) -> Result<Admitted, Throttled> {
        self.request(&arrival(address, patient, doctor))
    }

    fn request(&self, arrival: &Arrival) -> Result<Admitted, Throttled> {
        self.throttle.check(super::rehearsal::subject(arrival, arrival.at))
    }

    fn patient(&self, patient: &str) -> Result<Admitted, Throttled> {
        self.ask(HOME, patient, "li")
    }

    fn metric(&self, name: &str, limit: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name).expect("registered");
        let metric = family.get_metric().iter().find(|metric| metric.get_label()[0].value() == limit);
        metric.map_or(0.0, |metric| metric.get_counter().get_value() + metric.get_gauge().get_value())
    }
}

/// A request of the day's rush. Whatever the doctor's name is, their department, campus and API client have too.
fn arrival(address: IpAddr, patient: &str, doctor: &str) -> Arrival {
    Arrival {
        at: NOW,
        patient: patient.parse().expect("valid"),
        doctor: doctor.parse().expect("valid"),
        department: doctor.parse().expect("valid"),
        campus: Some(doctor.parse().expect("valid")),
        release_at: Some(NOW),
        address: Some(address),
        client: Some(doctor.to_owned()),
        level: None,
    }
}

const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[test]
fn every_limit_limits_its_own_key_and_says_so() {
    for name in NAMES {
        let bench = Bench::new(only(name, rate(0.5, 2)));
        for _ in 0..2 {
            bench.ask(HOME, "ann", "li").expect("within the burst");
        }
        let throttled = bench.ask(HOME, "ann", "li").expect_err("beyond the burst");
        assert_eq!((throttled.limit.as_str(), throttled.rate_per_s, throttled.burst), (name, 0.5, 2));
        assert_eq!(throttled.retry_after, Duration::from_secs(2));
        assert_eq!(bench.metric(crate::metrics::THROTTLED_TOTAL, name), 1.0);

        let elsewhere = IpAddr::from([10, 0, 0, 1]);
        let other = match name {
            "address" => bench.ask(elsewhere, "ann", "li"),
            "doctor" | "department" | "campus" | "client" => bench.ask(HOME, "ann", "wang"),
            "patient" => bench.ask(HOME, "bob", "li"),
            _ => bench.ask(elsewhere, "bob", "wang"),
        };
        assert_eq!(other.is_ok(), name != "global", "{name}");

        bench.clock.advance(throttled.retry_after);
        bench.ask(HOME, "ann", "li").expect("as promised by retry_after");
    }
}

#[test]
fn what_is_refused_costs_nothing() {
    let mut policy = only("patient", rate(0.001, 5));
    policy.limits.address = rate(0.001, 5);
    policy.limits.doctor = rate(0.001, 1);
    policy.limits.global = rate(0.001, 3);
    let bench = Bench::new(policy);
    bench.ask(HOME, "ann", "li").expect("the first of this doctor");
    for _ in 0..50 {
        assert_eq!(bench.ask(HOME, "ann", "li").expect_err("the doctor's limit").limit, Kind::Doctor);
    }
    bench.ask(HOME, "ann", "wang").expect("ann and her address were not charged for the refusals, nor the hospital");
    let admitted = bench.ask(HOME, "ann", "chen").expect("the last of all");
    assert_eq!(admitted.patient.map(|allowance| allowance.remaining), Some(2));
    assert_eq!(bench.ask(HOME, "ann", "zhao").expect_err("all are used up").limit, Kind::Global);
    let mut policy = Policy::clone(&bench.throttle.policy());
    policy.limits.global = None;
    bench.throttle.swap(policy, NOW).expect("valid");
    bench.ask(HOME, "ann", "zhao").expect("the doctor was not charged for what the hospital refused");
}

#[test]
fn an_ipv6_client_has_one_allowance_for_its_network() {
    let bench = Bench::new(only("address", rate(0.001, 1)));
    let address = |text: &str| text.parse::<IpAddr>().expect("an address");
    bench.ask(address("2001:db8::1"), "ann", "li").expect("the first");
    bench.ask(address("2001:db8::ffff:2"), "ann", "li").expect_err("the same /64");
    bench.ask(address("2001:db8:0:1::1"), "ann", "li").expect("another /64");
    bench.ask(address("::ffff:10.0.0.1"), "ann", "li").expect("an IPv4 address");
    bench.ask(address("10.0.0.1"), "ann", "li").expect_err("the same, written plainly");
}

#[test]
fn a_flood_of_keys_is_bounded_and_resets_nobody() {
    let policy = Policy { keys_max: 100, ..only("patient", rate(0.1, 1)) };
    let bench = Bench::new(policy);
    bench.patient("ann").expect("the first");
    let mut admitted = 0;
    for number in 0..20_000 {
        admitted += usize::from(bench.patient(&format!("bot-{number}")).is_ok());
    }
    assert!(admitted <= 99 + SHARED_CELLS, "{admitted} strangers were let in");
    assert_eq!(bench.metric(crate::metrics::THROTTLE_KEYS, "patient"), 100.0);
    assert!(bench.metric(crate::metrics::THROTTLE_KEYS_OVERFLOWED_TOTAL, "patient") > 10_000.0);
    bench.patient("ann").expect_err("the flood did not push her allowance out");

    // Ten seconds refill everybody, ten more make them stale; three sweeps reach every limit once.
    bench.clock.advance(Duration::from_secs(20));
    for _ in 0..3 {
        bench.clock.advance(SWEEP_INTERVAL);
        bench.patient("bob").ok();
    }
    assert_eq!(bench.metric(crate::metrics::THROTTLE_KEYS, "patient"), 1.0, "idle keys are forgotten");
}

#[test]
fn a_key_takes_its_debt_along_when_it_gets_an_allowance_of_its_own() {
    let bench = Bench::new(Policy { keys_max: 1, ..only("patient", rate(0.1, 10)) });
    bench.patient("ann").expect("takes the only place");
    for _ in 0..10 {
        bench.patient("bob").expect("from a shared allowance");
    }
    bench.patient("bob").expect_err("it is used up");
    // Long enough for two requests to refill and for ann to be forgotten.
    bench.clock.advance(Duration::from_secs(20));
    for _ in 0..2 {
        bench.patient("bob").expect("refilled");
    }
    assert_eq!(bench.metric(crate::metrics::THROTTLE_KEYS_OVERFLOWED_TOTAL, "patient"), 11.0);
    bench.patient("bob").expect_err("not a fresh burst");
}

#[test]
fn a_session_has_other_limits_before_and_soon_after_its_release() {
    let mut policy = only("doctor", rate(0.001, 10));
    policy.phases.rush_s = 60;
    policy.phases.before.doctor = rate(0.001, 1);
    policy.phases.rush.doctor = rate(0.001, 2);
    let bench = Bench::new(policy);
    let at = |seconds: i64| Arrival {
        at: Timestamp::from_millis(NOW.as_millis() + seconds * 1_000),
        ..arrival(HOME, "ann", "li")
    };
    let admitted = |seconds: i64| (0..20).filter(|_| bench.request(&at(seconds)).is_ok()).count();
    assert_eq!((admitted(-1), admitted(0), admitted(59), admitted(60)), (1, 2, 0, 10));
    let past = Arrival { release_at: None, ..arrival(HOME, "ann", "wang") };
    assert_eq!((0..20).filter(|_| bench.request(&past).is_ok()).count(), 10);
}

#[test]
fn phases_of_the_same_numbers_share_what_was_drawn() {
    let mut policy = only("patient", rate(0.001, 3));
    policy.phases.rush.patient = rate(0.001, 3);
    policy.phases.before.patient = rate(0.001, 3);
    let bench = Bench::new(policy);
    for seconds in [-5, 5, 5_000] {
        let at = Timestamp::from_millis(NOW.as_millis() + seconds * 1_000);
        bench.request(&Arrival { at, ..arrival(HOME, "ann", "li") }).expect("three in all");
    }
    bench.patient("ann").expect_err("used up in every phase");
}

#[test]
fn members_have_a_lane_and_what_they_leave_goes_to_everybody() {
    let mut policy = only("global", rate(100.0, 100));
    policy.lanes = vec![Lane { name: "members".into(), levels: vec!["gold".into()], share: 0.2 }];
    policy.validate().expect("valid");
    let bench = Bench::new(policy);
    let everybody = arrival(HOME, "ann", "li");
    let member = Arrival { level: Some("gold".into()), ..everybody.clone() };
    let other = Arrival { level: Some("tin".into()), ..everybody.clone() };
    let admitted = |who: &Arrival, count: usize| (0..count).filter(|_| bench.request(who).is_ok()).count();
    assert_eq!(admitted(&everybody, 200), 90, "80 of everybody's, 10 of what lies idle in the lane");
    assert_eq!(admitted(&other, 10), 0, "another level is nobody special");
    assert_eq!(admitted(&member, 200), 10, "the rest of the lane was kept");
    bench.clock.advance(Duration::from_millis(500));
    assert_eq!(admitted(&member, 200), 50, "their own 10 first, then 40 like everybody");
    assert_eq!(admitted(&everybody, 200), 0);
    bench.clock.advance(Duration::from_secs(60));
    let together = admitted(&member, 100) + admitted(&everybody, 200);
    assert_eq!(together, 100, "the global limit holds whoever asks");
    let a_tenth_of_a_second = |_| {
        bench.clock.advance(Duration::from_millis(100));
        admitted(&everybody, 100)
    };
    let alone: usize = (0..100).map(a_tenth_of_a_second).sum();
    assert!((990..=1_000).contains(&alone), "in ten seconds without members everybody gets all of the rate: {alone}");
}

#[test]
fn a_share_of_the_limit_is_that_much_of_it() {
    let mut policy = only("global", rate(1_000.0, 1_000));
    policy.limits.patient = rate(1_000.0, 400);
    let bench = Bench::new(policy);
    bench.throttle.set_share(0.25);
    let admitted = |patient: &str| (0..2_000).filter(|_| bench.patient(patient).is_ok()).count();
    assert_eq!(admitted("ann"), 250, "a quarter of the burst");
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(admitted("ann"), 250, "a quarter of the rate");
    bench.throttle.set_share(1.0);
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(admitted("bob"), 400, "a patient's own limit is not shared");
    assert_eq!(admitted("ann"), 400);
    for useless in [0.0, -1.0, f64::NAN] {
        bench.throttle.set_share(useless);
        bench.clock.advance(Duration::from_secs(10));
        assert!(admitted("ann") > 0, "{useless}");
    }
}

#[test]
fn one_registry_takes_one_throttle() {
    let bench = Bench::new(Policy::default());
    let again = Throttle::new(Policy::default(), NOW, &bench.registry);
    assert!(matches!(again, Err(Error::Metrics(_))));
}

#[test]
fn threads_together_get_no_more_than_one() {
    let bench = Bench::new(only("doctor", rate(0.001, 1_000)));
    let admitted: usize = std::thread::scope(|scope| {
        let ask = |thread: usize| {
            let bench = &bench;
            move || (0..1_000).filter(|_| bench.patient(&format!("patient-{thread}")).is_ok()).count()
        };
        let threads: Vec<_> = (0..4).map(|thread| scope.spawn(ask(thread))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    });
    assert_eq!(admitted, 1_000);
}

proptest! {
    /// In any stretch of time, no key is let in more often than its burst and what refills meanwhile: whatever the
    /// others do, however few keys are kept, and whenever they are swept.
    #[test]
    fn nobody_gets_more_than_burst_and_refill(
        limit in prop::sample::select(NAMES.to_vec()),
        rate_per_s in 0.1_f64..200.0, burst in 1_u32..20, keys_max in 1_u32..6,
        steps in prop::collection::vec((0_u8..8, 0_u64..3_000), 1..400),
    ) {
        let bench = Bench::new(Policy { keys_max, ..only(limit, rate(rate_per_s, burst)) });
        let mut now = Duration::ZERO;
        let mut admitted = vec![Vec::new(); 8];
        for (key, wait_ms) in steps {
            let wait = Duration::from_millis(wait_ms.saturating_sub(2_000));
            now += wait;
            bench.clock.advance(wait);
            let name = format!("key-{key}");
            if bench.ask(IpAddr::from([10, 0, 0, key]), &name, &name).is_ok() {
                admitted[if limit == "global" { 0 } else { usize::from(key) }].push(now);
            }
        }
        for times in admitted {
            for (first, from) in times.iter().enumerate() {
                for (last, to) in times.iter().enumerate().skip(first) {
                    let count = (last - first + 1) as f64;
                    let most = f64::from(burst) + rate_per_s * (*to - *from).as_secs_f64();
                    prop_assert!(count <= most + 1e-3, "{count} in {:?}", *to - *from);
                }
            }
        }
    }

    /// Whoever keeps to the rate is always let in.
    #[test]
    fn whoever_keeps_to_the_rate_is_let_in(rate_per_s in 0.1_f64..200.0, burst in 1_u32..20, count in 1_usize..100) {
        let bench = Bench::new(only("patient", rate(rate_per_s, burst)));
        for _ in 0..count {
            prop_assert!(bench.patient("ann").is_ok());
            bench.clock.advance(Duration::from_secs_f64(1.0 / rate_per_s) + Duration::from_nanos(1));
        }
    }

    /// Nodes that share a limit, each by what it is asked for, let in together what one node would, within 5 %.
    #[test]
    fn nodes_together_keep_a_shared_limit(
        rate_per_s in 50.0_f64..5_000.0, weights in prop::collection::vec(1_u32..10, 1..5),
    ) {
        let total = f64::from(weights.iter().sum::<u32>());
        let nodes: Vec<_> = weights.iter().map(|weight| {
            let bench = Bench::new(only("global", rate(rate_per_s, 100)));
            bench.throttle.set_share(f64::from(*weight) / total);
            bench
        }).collect();
        // Everybody's burst is drawn first; what counts is the rate.
        let drain = |bench: &Bench| (0..100_000).take_while(|_| bench.patient("ann").is_ok()).count();
        nodes.iter().for_each(|bench| { drain(bench); });
        let mut admitted = 0;
        for _ in 0..200 {
            for bench in &nodes {
                bench.clock.advance(Duration::from_millis(10));
                admitted += drain(bench);
            }
        }
        let expected = rate_per_s * 2.0;
        let slack = expected * 0.05 + nodes.len() as f64;
        prop_assert!((admitted as f64 - expected).abs() <= slack, "{admitted} of {expected}");
    }
}
