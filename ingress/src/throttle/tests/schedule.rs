use super::*;

#[test]
fn a_schedule_holds_at_its_time_in_its_zone() {
    let mut policy = only("doctor", rate(0.001, 5));
    let entry = |name: &str, from: &str, to: &str, days: Vec<Day>, burst: u32| Scheduled {
        name: name.into(),
        days,
        from: from.parse().expect("a time"),
        to: to.parse().expect("a time"),
        timezone: "Asia/Shanghai".into(),
        limits: Limits { doctor: rate(0.001, burst), ..Limits::default() },
        lanes: None,
        shed: None,
        suspicion: None,
    };
    policy.schedule = vec![
        entry("rush", "07:55", "08:10", vec![Day::Mon], 1),
        entry("night", "22:00", "06:00", Vec::new(), 2),
        entry("sunday night", "23:00", "01:00", vec![Day::Sun], 3),
    ];
    policy.validate().expect("valid");
    let bench = Bench::new(policy);
    let minutes = |minutes: i64| Timestamp::from_millis(NOW.as_millis() + minutes * 60_000);
    assert_eq!(bench.throttle.scheduled(), ["rush"], "it is Monday, eight o'clock");
    bench.patient("ann").expect("the only one");
    bench.patient("ann").expect_err("scheduled");
    assert_eq!(bench.throttle.keep_time(minutes(9)), None, "nothing has changed");
    assert_eq!(bench.throttle.keep_time(minutes(10)), Some(Vec::new()));
    bench.patient("ann").expect_err("the end of the rush gives nothing");
    bench.clock.advance(Duration::from_secs(1_000));
    bench.patient("ann").expect("refilled as on any other minute");
    let holds = |at| {
        bench.throttle.keep_time(minutes(at));
        bench.throttle.scheduled()
    };
    let (hour, day) = (60, 24 * 60);
    assert_eq!(holds(14 * hour), ["night"]);
    assert_eq!(holds(22 * hour - 1), ["night"], "until six in the morning");
    assert_eq!(holds(22 * hour), [""; 0]);
    assert_eq!(holds(day), [""; 0], "on Tuesday there is no rush");
    assert_eq!(holds(6 * day + 15 * hour), ["night", "sunday night"]);
    assert_eq!(holds(6 * day + 16 * hour + 30), ["night", "sunday night"], "half past midnight, begun on Sunday");
}

#[test]
fn the_last_of_the_entries_that_hold_wins_section_by_section() {
    let lane = |name: &str| vec![Lane { name: name.into(), levels: vec![name.into()], share: 0.2 }];
    let shed = |undecided_max| Some(Shed { wait_max_ms: 1_000, undecided_max });
    let entry = |name: &str| Scheduled {
        name: name.into(),
        days: Vec::new(),
        from: "07:55".parse().expect("a time"),
        to: "08:10".parse().expect("a time"),
        timezone: "Asia/Shanghai".into(),
        limits: Limits::default(),
        lanes: None,
        shed: None,
        suspicion: None,
    };
    let mut policy = only("global", rate(100.0, 100));
    policy.lanes = lane("gold");
    policy.limits.doctor = rate(5.0, 5);
    policy.phases.rush.doctor = rate(3.0, 3);
    policy.suspicion = Some(Suspicion { half_life_s: 10.0, ..Suspicion::default() });
    let doctor = |burst| Limits { doctor: rate(1.0, burst), ..Limits::default() };
    policy.schedule = vec![
        Scheduled { limits: doctor(7), shed: shed(1), lanes: Some(lane("tin")), ..entry("first") },
        Scheduled { limits: doctor(8), shed: shed(2), suspicion: Some(Suspicion::default()), ..entry("second") },
        Scheduled { lanes: Some(Vec::new()), ..entry("third") },
        Scheduled { shed: shed(3), from: "08:09".parse().expect("a time"), ..entry("later") },
    ];
    policy.validate().expect("valid");
    let bench = Bench::new(policy.clone());
    assert_eq!(bench.throttle.scheduled(), ["first", "second", "third"]);
    let held = bench.throttle.in_force();
    assert_eq!((&held.limits.global, &held.limits.doctor), (&policy.limits.global, &rate(1.0, 8)));
    assert_eq!((&held.lanes, held.shed, &held.suspicion), (&Vec::new(), shed(2), &Some(Suspicion::default())));
    assert_eq!(*bench.throttle.policy(), policy, "the document is what was set");
    let admitted = |doctor: &str| (0..20).filter(|_| bench.ask(HOME, "ann", doctor).is_ok()).count();
    assert_eq!(admitted("li"), 3, "what the rush's phase says comes before the schedule");

    let later = Timestamp::from_millis(NOW.as_millis() + 9 * 60_000);
    bench.throttle.keep_time(later).expect("one more");
    assert_eq!(bench.throttle.in_force().shed, shed(3));
    let over = Timestamp::from_millis(NOW.as_millis() + 10 * 60_000);
    bench.throttle.keep_time(over).expect("all are over");
    assert_eq!(*bench.throttle.in_force(), policy);
}
