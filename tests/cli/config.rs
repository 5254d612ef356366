//! The configuration, from files and from the environment.

use std::fs;

use crate::program::{complaint, orderly, output};

#[test]
fn a_mistyped_key_is_answered_with_the_nearest() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("orderly.toml"), "[log]\n\npartitons = 4\n").expect("writable");
    for command in ["serve", "config", "check"] {
        let told = complaint(orderly(folder.path()).args([command, "--config", "orderly.toml"]), 1);
        assert!(told.contains("orderly.toml") && told.contains("line 3"), "{told}");
        assert!(told.contains("`log.partitons`; the nearest is `log.partitions`"), "{told}");
    }
    let told = complaint(orderly(folder.path()).arg("config").env("ORDERLY_PIPELINE__WORKER", "2"), 1);
    assert!(told.contains("`ORDERLY_PIPELINE__WORKER`; the nearest is `ORDERLY_PIPELINE__WORKERS`"), "{told}");
    assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 1, "nothing was made");
}

#[test]
fn a_value_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("orderly.toml");
    for (text, expected) in [
        ("[log]\npartitions = 'many'", "partitions = 'many'"),
        ("listen = 'here'", "listen = 'here'"),
        ("[auth]\nalgorithm = 'none'", "algorithm = 'none'"),
        ("log = 3", "log = 3"),
        ("listen", "line 1"),
    ] {
        fs::write(&file, text).expect("writable");
        let told = complaint(orderly(folder.path()).args(["config", "--config", "orderly.toml"]), 1);
        assert!(told.contains("orderly.toml") && told.contains(expected), "{text}: {told}");
    }
    for (variable, value, expected) in [
        ("ORDERLY_LOG__PARTITIONS", "many", "ORDERLY_LOG__PARTITIONS"),
        ("ORDERLY_PIPELINE__WORKERS", "0", "`pipeline.workers` is 0; set at least 1"),
        ("ORDERLY_INGRESS__HEADER_BYTES_MAX", "10", "set at least 8192"),
        ("ORDERLY_INGRESS__POLICY_INTERVAL_MS", "501", "set at most 500, so that a policy is in force on every node"),
        ("ORDERLY_AUDIT__RETENTION_DAYS", "179", "set 0 (for ever) or at least 180"),
        ("ORDERLY_STORE__RETENTION_DAYS", "6", "set 0 (for ever) or at least 7"),
    ] {
        let told = complaint(orderly(folder.path()).arg("config").env(variable, value), 1);
        assert!(told.contains(expected), "{told}");
    }
    let mut distributed = orderly(folder.path());
    distributed.arg("config").env("ORDERLY_PROFILE", "distributed").env("ORDERLY_TICKET__KEYS_FILE", "t");
    let told = complaint(&mut distributed, 1);
    assert!(told.contains("`personal.keys_file`") && told.contains("orderly keys rotate"), "{told}");
    let told = complaint(orderly(folder.path()).args(["config", "--config", "nowhere.toml"]), 1);
    assert!(told.contains("nowhere.toml cannot be read"), "{told}");
}

#[test]
fn a_file_of_names_that_lacks_one_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("names.toml"), "[cardiology]\nen = 'Heart centre'\n").expect("writable");
    for (file, expected) in [("names.toml", "`zh`"), ("nowhere.toml", "check the path")] {
        let told = complaint(
            orderly(folder.path())
                .args(["serve", "--demo", "--listen", "127.0.0.1:0"])
                .env("ORDERLY_INGRESS__NAMES_FILE", file),
            1,
        );
        assert!(told.contains(file) && told.contains(expected), "{told}");
    }
}

#[test]
fn the_configuration_of_the_containers_can_be_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/orderly.toml");
    let printed = output(orderly(folder.path()).args(["config", "--config", file, "--print"]));
    assert!(printed.contains("brokers = \"kafka:19092\""), "{printed}");
}

#[test]
fn what_is_printed_is_a_configuration_of_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let printed = output(orderly(folder.path()).args(["config", "--print"]));
    for expected in ["listen = \"127.0.0.1:8080\"", "[pipeline]", "in milliseconds", "ORDERLY_LOG__RETENTION_HOURS"] {
        assert!(printed.contains(expected), "{expected}");
    }
    fs::write(folder.path().join("orderly.toml"), &printed).expect("writable");
    let with_file = ["config", "--print", "--config", "orderly.toml"];
    assert_eq!(output(orderly(folder.path()).args(with_file)), printed);

    let changed = output(orderly(folder.path()).args(with_file).env("ORDERLY_LOG__PARTITIONS", "3"));
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let differing: Vec<_> = lines(&printed).into_iter().zip(lines(&changed)).filter(|(a, b)| a != b).collect();
    assert_eq!(differing, [("partitions = 8".to_owned(), "partitions = 3".to_owned())], "the environment wins");
}

/// Where a password may stand in the configuration, with one in it.
fn addresses(password: &str) -> [(&'static str, String); 4] {
    [
        ("ORDERLY_POSTGRES__URL", format!("postgres://ann:{password}@127.0.0.1:1/orderly")),
        ("ORDERLY_POSTGRES__READ_URL", format!("postgres://ann@127.0.0.1:1/orderly?password={password}")),
        ("ORDERLY_REDIS__URLS", format!("redis://:{password}@127.0.0.1:1,redis://ann:{password}@127.0.0.1:2")),
        ("ORDERLY_AUTH__JWKS_URL", format!("http://ann:{password}@127.0.0.1:1/jwks.json")),
    ]
}

#[test]
fn a_password_in_an_address_is_told_nowhere() {
    const PASSWORD: &str = "gr3enF!nch";
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: String| fs::write(folder.path().join(name), text).expect("writable");
    let key = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY=";
    write("ticket.keys", format!("1 {key}\n"));
    write("personal.keys", format!("pseudonyms {key}\n1 {key}\n"));
    let told = |arguments: &[&str]| {
        let mut command = orderly(folder.path());
        command.args(arguments).envs(addresses(PASSWORD)).env("ORDERLY_TELEMETRY__LOG", "trace");
        command.env("ORDERLY_PROFILE", "distributed").env("ORDERLY_KAFKA__BROKERS", "127.0.0.1:1");
        command.env("ORDERLY_TICKET__KEYS_FILE", "ticket.keys").env("ORDERLY_PERSONAL__KEYS_FILE", "personal.keys");
        let output = command.output().expect("it runs");
        let told = [output.stdout, output.stderr].map(|told| String::from_utf8(told).expect("text")).concat();
        assert!(!told.contains(PASSWORD), "{arguments:?}: {told}");
        (output.status.success(), told)
    };
    let (done, printed) = told(&["config", "--print"]);
    assert!(done, "{printed}");
    for (_, address) in addresses("***") {
        assert!(printed.contains(&format!("{address:?}")), "{address}: {printed}");
    }
    // None of the servers is there.
    for (start, cause) in [
        (&["serve", "--listen", "127.0.0.1:0"][..], "orderly: the "),
        (&["audit", "head"], "audit trail"),
        (&["follow", "--group", "g"], "Redis"),
    ] {
        let (done, told) = told(start);
        assert!(!done && told.contains(cause), "{start:?}: {told}");
    }

    // A line that cannot be read is shown.
    for line in [format!("url = 'postgres://ann:{PASSWORD}@db"), format!("password = '{PASSWORD}")] {
        write("orderly.toml", format!("[postgres]\n{line}\n"));
        let told = complaint(orderly(folder.path()).args(["config", "--config", "orderly.toml"]), 1);
        assert!(told.contains("line 2") && !told.contains(PASSWORD), "{told}");
    }
    // What was printed is no configuration until the passwords are back.
    write("printed.toml", printed);
    let told = complaint(orderly(folder.path()).args(["config", "--config", "printed.toml"]), 1);
    assert!(told.contains("as `orderly config --print` writes it"), "{told}");
    let mut clickhouse = orderly(folder.path());
    clickhouse.arg("config").env("ORDERLY_CLICKHOUSE__URL", format!("http://ann:{PASSWORD}@127.0.0.1:1"));
    let told = complaint(&mut clickhouse, 1);
    assert!(told.contains("clickhouse.password_file") && !told.contains(PASSWORD), "{told}");
}

#[test]
fn without_a_key_it_does_not_start_and_says_how_to_set_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let told = complaint(orderly(folder.path()).args(["serve", "--listen", "127.0.0.1:0"]), 1);
    for expected in ["auth.key_file", "ORDERLY_AUTH__KEY_FILE", "--demo"] {
        assert!(told.contains(expected), "{told}");
    }
    fs::write(folder.path().join("auth.key"), "too short").expect("writable");
    let mut serve = orderly(folder.path());
    serve.args(["serve", "--listen", "127.0.0.1:0"]).env("ORDERLY_AUTH__KEY_FILE", "auth.key");
    let told = complaint(&mut serve, 1);
    assert!(told.contains("at least 32 bytes") && !told.contains("too short"), "{told}");
}

#[test]
fn a_policy_that_cannot_be_used_stops_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("writable");
    write("auth.key", "0123456789abcdef0123456789abcdef");
    let start = |policy: &str| {
        let mut serve = orderly(folder.path());
        serve.args(["serve", "--listen", "127.0.0.1:0", "--policy", policy]).env("ORDERLY_AUTH__KEY_FILE", "auth.key");
        complaint(&mut serve, 1)
    };
    write("policy.toml", "[limits]\npatient = { rate_per_s = 0, burst = 1 }");
    assert!(start("policy.toml").contains("limits.patient.rate_per_s is 0; set"), "{}", start("policy.toml"));
    write("policy.json", r#"{"limits":{"patiant":{"rate_per_s":1,"burst":1}}}"#);
    assert!(start("policy.json").contains("unknown field `patiant`"), "{}", start("policy.json"));
    assert!(start("missing.toml").contains("missing.toml cannot be read"), "{}", start("missing.toml"));
}
