//! What `deploy/compose.yaml` starts is what this crate starts: versions and settings are compared, so that none drifts.
#![cfg(test)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use orderly_stack::{kafka, postgres, prometheus, redis};
use serde_json::Value;

/// What `rust-version` of this workspace is.
const RUST_VERSION: &str = env!("CARGO_PKG_RUST_VERSION");
const CHDB_VERSION: &str = include_str!("../clickhouse/chdb-version");
/// Orderly's own processes.
const PROCESSES: [&str; 4] = ["ingress", "pipeline-1", "pipeline-2", "relay"];

fn deploy(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(deploy(name)).expect("it is there")
}

fn compose() -> Value {
    serde_saphyr::from_str(&text("compose.yaml")).expect("it is YAML")
}

fn service(name: &str) -> Value {
    let service = compose()["services"][name].take();
    assert!(service.is_object(), "there is no service {name}");
    service
}

fn words(value: &Value) -> Vec<&str> {
    value.as_array().expect("a list").iter().map(|word| word.as_str().expect("text")).collect()
}

fn image(name: &str) -> (String, String) {
    let service = service(name);
    let (image, tag) = service["image"].as_str().and_then(|image| image.rsplit_once(':')).expect("a pinned image");
    (image.to_owned(), tag.to_owned())
}

#[test]
fn versions_are_those_that_are_tested() {
    let version = kafka::POM.split("<kafka.version>").nth(1).and_then(|rest| rest.split('<').next());
    assert_eq!(image("kafka"), ("apache/kafka".into(), version.expect("pom.xml names it").into()));
    let today = CHDB_VERSION.split('.').take(2).collect::<Vec<_>>().join(".");
    assert_eq!(image("clickhouse"), ("clickhouse/clickhouse-server".into(), today), "as the engine of the tests");
    for (name, version) in [("redis", redis::VERSION), ("postgres", postgres::VERSION)] {
        assert_eq!(image(name), (name.into(), format!("{version}-bookworm")));
    }
    assert_eq!(image("prometheus"), ("prom/prometheus".into(), format!("v{}", prometheus::VERSION)));
    let dockerfile = text("Dockerfile");
    assert!(dockerfile.contains(&format!("FROM rust:{RUST_VERSION}-bookworm AS build\n")), "{dockerfile}");
    assert!(dockerfile.contains("FROM debian:bookworm-slim\n"), "what it is built on and what it runs on go together");
}

#[test]
fn redis_is_set_as_here() {
    let mut expected = vec!["redis-server".to_owned()];
    for (name, value) in redis::Options::for_trying_out().settings() {
        expected.extend([format!("--{name}"), value]);
    }
    assert_eq!(words(&service("redis")["command"]), expected);
}

#[test]
fn postgres_is_set_as_here() {
    let mut expected = vec!["postgres".to_owned()];
    for (name, value) in postgres::Options::default().all_settings() {
        expected.extend(["-c".into(), format!("{name}={value}")]);
    }
    let service = service("postgres");
    assert_eq!(words(&service["command"]), expected);
    let environment = &service["environment"];
    assert_eq!(environment["POSTGRES_INITDB_ARGS"], postgres::INITDB.join(" "));
    assert_eq!(
        (&environment["POSTGRES_USER"], &environment["POSTGRES_DB"]),
        (&postgres::ROLE.into(), &"orderly".into())
    );
    assert_eq!(service["stop_signal"], "SIGINT", "as it is stopped here");
}

#[test]
fn kafka_is_set_as_here() {
    /// What depends on where it runs.
    const ELSEWHERE: [&str; 7] = [
        "KAFKA_NODE_ID",
        "KAFKA_CONTROLLER_QUORUM_VOTERS",
        "KAFKA_LISTENERS",
        "KAFKA_ADVERTISED_LISTENERS",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP",
        "KAFKA_LOG_DIRS",
        "KAFKA_HEAP_OPTS",
    ];
    let service = service("kafka");
    let mut environment: BTreeMap<_, _> = service["environment"]
        .as_object()
        .expect("a map")
        .iter()
        .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_else(|| panic!("{name} is no text")).to_owned()))
        .collect();
    for name in ELSEWHERE.into_iter().chain(["CLUSTER_ID"]) {
        assert!(environment.remove(name).is_some(), "{name}");
    }
    let expected: BTreeMap<_, _> = kafka::settings(1)
        .into_iter()
        .map(|(name, value)| (format!("KAFKA_{}", name.replace('.', "_").to_uppercase()), value))
        .collect();
    assert_eq!(environment, expected);
}

#[test]
fn prometheus_looks_at_every_process() {
    assert!(words(&service("prometheus")["command"]).contains(&prometheus::RETENTION));
    let targets: Value = serde_json::from_str(&text("targets.json")).expect("it is JSON");
    assert_eq!(words(&targets[0]["targets"]), PROCESSES.map(|name| format!("{name}:8080")));
}

#[test]
fn every_service_is_pinned_checked_and_keeps_its_data() {
    let compose = compose();
    let services = compose["services"].as_object().expect("a map");
    for (name, service) in services {
        let ours = PROCESSES.contains(&name.as_str()) || name == "keys";
        let image = service["image"].as_str().expect("an image");
        assert_eq!(image == "orderly", ours, "{name}");
        assert_eq!(service["profiles"][0] == "orderly", ours, "{name}: only the servers start by themselves");
        assert!(ours || image.rsplit(':').next().is_some_and(|tag| tag.contains(char::is_numeric)), "{image}");
        assert!(service["healthcheck"].is_object() || ["keys", "prometheus"].contains(&name.as_str()), "{name}");
        for port in service["ports"].as_array().into_iter().flatten() {
            assert!(port.as_str().is_some_and(|port| port.starts_with("127.0.0.1:")), "{name}: {port}");
        }
        let volumes = words(&service["volumes"]);
        assert!(volumes.iter().any(|volume| !volume.starts_with('.')), "{name} keeps nothing");
        for volume in volumes.iter().filter_map(|volume| volume.split(':').next()) {
            let known = match volume.strip_prefix("./") {
                Some(file) => deploy(file).is_file(),
                None if volume.starts_with("../") => deploy(volume).is_file(),
                None => compose["volumes"].as_object().is_some_and(|volumes| volumes.contains_key(volume)),
            };
            assert!(known, "{name}: {volume}");
        }
    }
    assert!(PROCESSES.iter().all(|name| services.contains_key(*name)));
}

#[test]
fn orderly_finds_the_servers() {
    let config = text("orderly.toml");
    let kafka = service("kafka");
    let listeners = kafka["environment"]["KAFKA_ADVERTISED_LISTENERS"].as_str().expect("text");
    let addresses =
        [("brokers", "kafka:19092"), ("urls", "redis:6379"), ("url", "postgres:5432"), ("url", "clickhouse:8123")];
    for (key, address) in addresses {
        let names_it = |line: &str| line.starts_with(&format!("{key} = ")) && line.contains(address);
        assert!(config.lines().any(names_it), "{key}: {address}");
    }
    assert!(listeners.contains("PLAINTEXT://kafka:19092"), "{listeners}");
    let dockerfile = text("Dockerfile");
    assert!(dockerfile.contains("ENV ORDERLY_CONFIG=/etc/orderly/orderly.toml\n"), "{dockerfile}");
    let mounts = service("relay")["volumes"].take();
    assert!(words(&mounts).contains(&"./orderly.toml:/etc/orderly/orderly.toml:ro"));
}
