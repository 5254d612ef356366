use std::net::{IpAddr, Ipv4Addr};

use governor::clock::FakeRelativeClock;
use proptest::prelude::*;

use super::*;

const NAMES: [&str; 4] = ["global", "address", "doctor", "patient"];

fn rate(rate_per_s: f64, burst: u32) -> Option<Rate> {
    Some(Rate { rate_per_s, burst })
}

fn only(name: &str, limit: Option<Rate>) -> Policy {
    let mut limits = Limits::default();
    match name {
        "global" => limits.global = limit,
        "address" => limits.address = limit,
        "doctor" => limits.doctor = limit,
        _ => limits.patient = limit,
    }
    Policy { limits, keys_max: 1_000 }
}

struct Bench {
    throttle: Throttle<FakeRelativeClock>,
    clock: FakeRelativeClock,
    registry: prometheus::Registry,
}

impl Bench {
    fn new(policy: Policy) -> Self {
        let (clock, registry) = (FakeRelativeClock::default(), prometheus::Registry::new());
        let throttle = Throttle::with_clock(policy, &registry, clock.clone()).expect("a valid policy");
        Self { throttle, clock, registry }
    }

    fn ask(&self, address: IpAddr, patient: &str, doctor: &str) -> Result<Admitted, Throttled> {
        let (patient, doctor) = (patient.parse().expect("valid"), doctor.parse().expect("valid"));
        self.throttle.check(Subject { address, patient: &patient, doctor: &doctor })
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

const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[test]
fn every_limit_limits_its_own_key_and_says_so() {
    for name in NAMES {
        let bench = Bench::new(only(name, rate(0.5, 2)));
        for _ in 0..2 {
            bench.ask(HOME, "ann", "li").expect("within the burst");
        }
        let throttled = bench.ask(HOME, "ann", "li").expect_err("beyond the burst");
        assert_eq!((throttled.limit, throttled.rate_per_s, throttled.burst), (name, 0.5, 2));
        assert_eq!(throttled.retry_after, Duration::from_secs(2));
        assert_eq!(bench.metric(crate::metrics::THROTTLED_TOTAL, name), 1.0);

        let elsewhere = IpAddr::from([10, 0, 0, 1]);
        let other = match name {
            "address" => bench.ask(elsewhere, "ann", "li"),
            "doctor" => bench.ask(HOME, "ann", "wang"),
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
        assert_eq!(bench.ask(HOME, "ann", "li").expect_err("the doctor's limit").limit, "doctor");
    }
    bench.ask(HOME, "ann", "wang").expect("ann and her address were not charged for the refusals, nor the hospital");
    let admitted = bench.ask(HOME, "ann", "chen").expect("the last of all");
    assert_eq!(admitted.patient.map(|allowance| allowance.remaining), Some(2));
    assert_eq!(bench.ask(HOME, "ann", "zhao").expect_err("all are used up").limit, "global");
    bench
        .throttle
        .swap(Policy { limits: Limits { global: None, ..bench.throttle.policy().limits.clone() }, keys_max: 1_000 })
        .expect("valid");
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
fn a_swap_keeps_what_it_does_not_change() {
    let mut policy = only("patient", rate(0.001, 1));
    policy.limits.global = rate(0.001, 2);
    let bench = Bench::new(policy.clone());
    bench.patient("ann").expect("the first");

    policy.limits.global = None;
    bench.throttle.swap(policy.clone()).expect("valid");
    assert_eq!(bench.patient("ann").expect_err("the patient's limit is as it was").limit, "patient");
    assert_eq!(*bench.throttle.policy(), policy);

    policy.limits.patient = rate(0.001, 3);
    bench.throttle.swap(policy.clone()).expect("valid");
    for _ in 0..3 {
        bench.patient("ann").expect("the new limit starts full");
    }
    assert_eq!(bench.metric(crate::metrics::THROTTLE_KEYS, "patient"), 1.0);

    policy.limits.patient = rate(f64::NAN, 0);
    let refused = bench.throttle.swap(policy).expect_err("not a rate").to_string();
    assert!(refused.contains("limits.patient.rate_per_s") && refused.contains("limits.patient.burst"), "{refused}");
    assert_eq!(bench.throttle.policy().limits.patient, rate(0.001, 3));
    bench.patient("ann").expect_err("nothing changed");
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
fn documents_round_trip_and_mistakes_are_named() {
    let policy = Policy::default();
    policy.validate().expect("the default is valid");
    let text = toml::to_string(&policy).expect("serializable");
    assert_eq!(Policy::from_toml(&text).expect("valid"), policy);
    let text = serde_json::to_string(&policy).expect("serializable");
    assert_eq!(Policy::from_json(&text).expect("valid"), policy);

    let wrong = |document: &str| Policy::from_toml(document).expect_err("refused").join("\n");
    assert!(wrong("[limits]\npatiant = {rate_per_s = 1, burst = 1}").contains("unknown field `patiant`"));
    assert!(wrong("[limits]\npatient = {rate_per_s = 0, burst = 1}").contains("limits.patient.rate_per_s is 0"));
    assert!(wrong("[limits]\npatient = {rate_per_s = 1, burst = 0}").contains("limits.patient.burst is 0"));
    assert!(wrong("keys_max = 0\n[limits]").contains("keys_max is 0"));
    assert!(wrong("").contains("missing field `limits`"));
    assert_eq!(Policy::from_json(r#"{"limits":{}}"#).expect("valid").limits, Limits::default());
}

#[test]
fn one_registry_takes_one_throttle() {
    let bench = Bench::new(Policy::default());
    let again = Throttle::new(Policy::default(), &bench.registry);
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
}
