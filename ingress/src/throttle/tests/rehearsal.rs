use super::*;

#[test]
fn a_rehearsal_tells_who_would_have_been_throttled() {
    let mut policy = only("patient", rate(1.0, 1));
    policy.limits.doctor = rate(2.0, 3);
    policy.schedule = vec![Scheduled {
        name: "closing".into(),
        days: Vec::new(),
        from: "08:01".parse().expect("a time"),
        to: "08:02".parse().expect("a time"),
        timezone: "Asia/Shanghai".into(),
        limits: Limits { doctor: rate(0.001, 1), ..Limits::default() },
        lanes: None,
        shed: None,
        suspicion: None,
    }];
    let at = |ms: i64, patient: &str| Arrival {
        at: Timestamp::from_millis(NOW.as_millis() + ms),
        address: None,
        ..arrival(HOME, patient, "li")
    };
    let arrivals: Vec<_> = [
        at(0, "ann"),
        at(0, "ann"),
        at(0, "bob"),
        at(0, "eve"),
        at(0, "dan"),
        at(0, "fay"),
        at(1_000, "ann"),
        at(1_000, "dan"),
        at(60_000, "ann"),
        at(60_000, "bob"),
    ]
    .into();
    let rehearsal = rehearse(&policy, &arrivals).expect("valid");
    let refused = |requests, patients, retry_after_max_ms| Refused { requests, patients, keys: 1, retry_after_max_ms };
    assert_eq!((rehearsal.arrived, rehearsal.admitted), (10, 6));
    assert_eq!(rehearsal.refused[&Kind::Patient], refused(1, 1, 1_000));
    assert_eq!(rehearsal.refused[&Kind::Doctor], refused(3, 3, 1_000_000));
    assert_eq!(rehearse(&policy, &[]).expect("valid"), Rehearsal::default());
}

#[test]
fn a_comparison_names_whom_the_limits_refuse_most() {
    let arrivals: Vec<_> = (0..15_u8)
        .flat_map(|doctor| (0..=doctor).map(move |patient| (doctor, patient)))
        .map(|(doctor, patient)| {
            arrival([10, 0, 0, patient].into(), &format!("patient-{patient}"), &format!("doctor-{doctor}"))
        })
        .collect();
    let [before, after] = [only("doctor", rate(0.001, 13)), only("doctor", rate(0.001, 2))];
    let [before, after] = [before, after].map(|policy| rehearse(&policy, &arrivals).expect("valid"));
    let doctors = |rehearsal: &Rehearsal| rehearsal.refused[&Kind::Doctor].keys;
    assert_eq!((doctors(&before), doctors(&after)), (2, 13));
    let affected = most_affected(&before, &after);
    assert_eq!(affected.keys().collect::<Vec<_>>(), [&Kind::Doctor]);
    let named = |key: &str, in_force, rehearsed| Affected { key: key.into(), in_force, rehearsed };
    let doctors = &affected[&Kind::Doctor];
    assert_eq!(doctors[..2], [named("doctor-14", 2, 13), named("doctor-13", 1, 12)]);
    assert_eq!((doctors.len(), doctors.last()), (10, Some(&named("doctor-5", 0, 4))));

    for name in ["department", "campus", "client"] {
        let strict = rehearse(&only(name, rate(0.001, 1)), &arrivals).expect("valid");
        let affected = most_affected(&Rehearsal::default(), &strict);
        assert_eq!(affected.values().next().map(|named| named[0].key.as_str()), Some("doctor-14"), "{name}");
    }
    for name in ["patient", "address", "global"] {
        let strict = rehearse(&only(name, rate(0.001, 1)), &arrivals).expect("valid");
        let refused = strict.refused.values().next().expect("some were");
        assert_eq!(refused.keys, if name == "global" { 1 } else { 14 }, "{name}");
        assert!(most_affected(&strict, &strict).is_empty(), "{name}: people are not named");
        let told = serde_json::to_string(&strict).expect("serializable");
        assert!(!told.contains("patient-") && !told.contains("doctor-"), "{told}");
    }
}

#[test]
fn what_no_request_tells_is_said() {
    let full = Arrival { level: Some("gold".into()), ..arrival(HOME, "ann", "li") };
    let bare = Arrival { level: None, client: None, address: None, ..full.clone() };
    assert_eq!(not_recorded(std::slice::from_ref(&bare)), ["address", "client", "member_level"]);
    assert_eq!(not_recorded(&[bare, full]), [""; 0]);
}
