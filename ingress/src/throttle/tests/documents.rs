use super::*;

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
fn mistakes_in_every_part_are_named() {
    let wrong = |document: &str| {
        let document = format!("[limits]\nglobal = {{rate_per_s = 10, burst = 10}}\n{document}");
        Policy::from_toml(&document).expect_err("refused").join("\n")
    };
    assert!(wrong("[phases.rush]\nglobal = {rate_per_s = 1, burst = 1}").contains("phases.rush.global is set"));
    assert!(wrong("[phases.after]\ndoctor = {rate_per_s = 1, burst = 0}").contains("phases.after.doctor.burst is 0"));
    let exception =
        |limit: &str| wrong(&format!("[[exceptions]]\nlimit = \"{limit}\"\nkey = \"x\"\nrate_per_s = 1\nburst = 1"));
    assert!(exception("global").contains("exceptions[0].limit is global"));
    assert!(exception("docter").contains("unknown variant `docter`"));
    assert!(wrong("[[lanes]]\nname = \"a\"\nlevels = [\"x\", \"x\"]\nshare = 0.9").contains("lanes[0].share is 0.9"));
    assert!(wrong("[[lanes]]\nname = \"a\"\nlevels = []\nshare = 0.1").contains("lanes[0].levels is empty"));
    let scheduled = |from: &str, to: &str, zone: &str| {
        wrong(&format!(
            "[[schedule]]\nname = \"a\"\nfrom = \"{from}\"\nto = \"{to}\"\ntimezone = \"{zone}\"\nlimits = {{}}"
        ))
    };
    assert!(scheduled("08:00", "08:00", "Asia/Shanghai").contains("ends when it begins"));
    assert!(scheduled("08:00", "09:00", "Asia/Shangai").contains("schedule[0].timezone \"Asia/Shangai\" is not known"));
    let scheduled = |what: &str| {
        let time = "from = \"08:00\"\nto = \"09:00\"\ntimezone = \"Asia/Shanghai\"";
        wrong(&format!("[[schedule]]\nname = \"a\"\n{time}\n{what}"))
    };
    assert!(scheduled("").contains("schedule[0] changes nothing"));
    assert!(scheduled("limits.doctor = {rate_per_s = 1, burst = 0}").contains("schedule[0].limits.doctor.burst is 0"));
    let lane = "lanes = [{name = \"a\", levels = [\"x\", \"x\"], share = 0.9}]";
    let told = scheduled(lane);
    assert!(told.contains("schedule[0].lanes[0].share is 0.9") && told.contains("leave at least half"), "{told}");
    assert!(told.contains("schedule[0].lanes[0].levels has \"x\", which is in a lane already"), "{told}");
    assert!(scheduled("shed = {wait_max_ms = 1, undecided_max = 0}").contains("schedule[0].shed.undecided_max is 0"));
    let suspicion = "suspicion = {work = {bits_min = 20, bits_max = 30}}";
    assert!(scheduled(suspicion).contains("schedule[0].suspicion.work.bits_max is 30"));
    assert!(wrong("[shed]\nwait_max_ms = 0\nundecided_max = 1").contains("shed.wait_max_ms is 0"));
}

#[test]
fn the_manual_shows_a_policy_that_can_be_set() {
    let manual = include_str!("../../../../docs/ops/throttle.md");
    let document = manual.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a document");
    let policy = Policy::from_toml(document).expect("valid");
    let entry = &policy.schedule[0];
    assert!(entry.lanes.is_some() && entry.shed.is_some() && entry.suspicion.is_some(), "it shows every section");
}
