//! `orderly plan`.

use std::collections::HashMap;

use crate::program::{complaint, orderly, output};

#[test]
fn presets_print_what_they_need_and_how_it_is_computed() {
    let folder = tempfile::tempdir().expect("a folder");
    for (preset, intents) in [("hospital", "120,000"), ("city", "1,800,000"), ("country", "18,000,000")] {
        let text = output(orderly(folder.path()).args(["plan", "--preset", preset]));
        let needs =
            ["ingress nodes: ", "pipeline nodes: ", "partitions: ", "memory of Redis: ", "disk of PostgreSQL: "];
        for needed in
            needs.into_iter().chain(["backlog at its end: ", "until the last patient knows: ", "costs measured on"])
        {
            assert!(text.contains(needed), "{needed} is missing:\n{text}");
        }
        assert!(text.contains(&format!("intents a day: {intents}")), "{text}");
        let again = output(orderly(folder.path()).args(["plan", "--preset", preset]));
        assert_eq!(text, again, "a plan is the same every time");
    }
}

#[test]
fn json_has_every_line_and_the_simulation() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut plan = orderly(folder.path());
    let text = output(plan.args(["plan", "--doctors", "60", "--peak-rps", "500", "--p99-ms", "2000", "--json"]));
    let plan: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let lines = plan["lines"].as_array().expect("lines");
    let results: HashMap<_, _> =
        lines.iter().filter_map(|line| Some((line["what"].as_str()?, line["result"].as_f64()?))).collect();
    assert!(results["ingress nodes"] >= 2.0 && results["pipeline nodes"] >= 2.0, "{text}");
    assert!(plan["simulated"]["last_outcome_s"].as_f64().is_some_and(|seconds| seconds >= 60.0), "{text}");
}

#[test]
fn what_cannot_be_met_is_said_with_what_would_help() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = output(orderly(folder.path()).args(["plan", "--preset", "hospital", "--p99-ms", "0.1"]));
    assert!(text.contains("NOT met") && text.contains("cannot be met by more nodes"), "{text}");
}

#[test]
fn bad_input_is_told_with_2() {
    let folder = tempfile::tempdir().expect("a folder");
    for (wrong, named) in [
        (&["--preset", "planet"][..], "hospital"),
        (&["--peak-rps", "10"], "--doctors"),
        (&["--doctors", "0", "--peak-rps", "10", "--p99-ms", "100"], "--doctors"),
        (&["--preset", "city", "--peak-rps", "-5"], "-5"),
        (&["--preset", "city", "--peak-rps", "0"], "greater than 0"),
        (&["--preset", "city", "--p99-ms", "soon"], "not a number"),
        (&["--preset", "city", "--booked-share", "2"], "0 to 1"),
        (&["--preset", "city", "--peak-seconds", "1e9"], "3600"),
    ] {
        let told = complaint(orderly(folder.path()).arg("plan").args(wrong), 2);
        assert!(told.contains(named), "{wrong:?}: {told}");
    }
}

#[test]
fn costs_that_cannot_be_read_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("costs.json"), "{}").expect("written");
    for file in ["costs.json", "nowhere.json"] {
        let told = complaint(orderly(folder.path()).args(["plan", "--preset", "city", "--costs", file]), 1);
        assert!(told.contains(file), "{told}");
    }
}
