//! TLS to the servers of the distributed profile, with certificates that both sides show.

use std::path::Path;
use std::time::{Duration, Instant};

use orderly_domain::port::Peers as _;
use orderly_sinks::analytics::clickhouse;
use orderly_sinks::tls::{ClientTls, Identity};
use orderly_sinks::{log, peers, store};
use prometheus::Registry;
use serde_json::{Value, json};

use crate::program::{check_once_idle, complaint, orderly, output};
use crate::server::Server;
use crate::stack::{CONFIG, Servers};

/// Long enough for any machine; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Books a place for a patient, again until there is an outcome, and returns it.
pub(crate) async fn book(server: &Server, patient: &str) -> Value {
    let http = reqwest::Client::new();
    let at = |path: &str| format!("{}{path}", server.url());
    let body = json!({ "sub": patient, "role": "patient" });
    let token = http.post(at("/v1/demo/token")).json(&body).send().await.expect("answered");
    let token: Value = token.json().await.expect("JSON");
    let deadline = Instant::now() + PATIENCE;
    let open = loop {
        let sessions = http.get(at("/v1/sessions?state=open")).send().await.expect("answered");
        let sessions: Value = sessions.json().await.expect("JSON");
        if let Some(open) = sessions["sessions"].as_array().and_then(|open| open.first()) {
            break open["session_id"].clone();
        }
        assert!(Instant::now() < deadline, "the demo hospital has no session");
    };
    loop {
        let request = http.post(at("/v1/bookings")).bearer_auth(token["access_token"].as_str().expect("a token"));
        let request = request.header("idempotency-key", patient).header("prefer", "wait=10");
        let answer = request.json(&json!({ "session_id": open })).send().await.expect("answered");
        if answer.status() == 200 {
            return answer.json().await.expect("JSON");
        }
        assert!(Instant::now() < deadline, "{}", answer.text().await.unwrap_or_default());
    }
}

/// New certificates of a new root, in place of those before.
fn replace_certificates(folder: &Path) {
    std::fs::remove_file(folder.join("certs/roots.key")).expect("it is there");
    output(orderly(folder).args(["certs", "dev"]));
}

/// No server is of use to whoever comes with these certificates.
async fn refused_by_all(servers: &Servers, tls: &ClientTls) {
    let registry = Registry::new();
    let urls = vec![servers.redis.tls_url().expect("it takes TLS")];
    let peers = peers::redis::Options { urls, tls: tls.clone(), ..peers::redis::Options::default() };
    let told = peers::redis::Peers::new(peers).expect("readable").share(1.0).await.expect_err("not let in");
    assert!(told.to_string().contains("cannot connect to Redis"), "{told}");

    let url = servers.postgres.tls_url("orderly").expect("it takes TLS");
    let store = store::postgres::Options { tls: tls.clone(), ..store::postgres::Options::new(url) };
    assert!(store::postgres::Store::open(store, &registry).await.is_err());

    let url = servers.clickhouse.tls_url().expect("it takes TLS");
    let analytics = clickhouse::Options { url, tls: tls.clone(), ..clickhouse::Options::default() };
    assert!(clickhouse::Analytics::open(analytics, &registry).await.is_err());

    let name = |path: &Path| path.display().to_string();
    let mut properties = vec![("security.protocol".to_owned(), "ssl".to_owned())];
    properties.extend(tls.roots.as_deref().map(|path| ("ssl.ca.location".to_owned(), name(path))));
    if let Some(Identity { certificate, key }) = &tls.identity {
        properties.push(("ssl.certificate.location".to_owned(), name(certificate)));
        properties.push(("ssl.key.location".to_owned(), name(key)));
    }
    let brokers = servers.kafka.tls_brokers().expect("they take TLS");
    let request_timeout = Duration::from_secs(2);
    let log = log::kafka::Options { brokers, properties, request_timeout, ..log::kafka::Options::default() };
    assert!(log::kafka::Log::open(log, &registry).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_servers_are_spoken_to_by_tls_with_certificates_that_can_be_replaced() {
    let mut servers = tokio::task::block_in_place(Servers::start_with_tls);
    let server = tokio::task::block_in_place(|| servers.node_with("serve", &["--demo"]));
    assert_eq!(book(&server, "amy").await["status"], "booked");
    tokio::task::block_in_place(|| check_once_idle(servers.path(), CONFIG));

    // Whoever has no certificate is not let in, and nobody believes a server of other roots.
    let certs = servers.path().join("certs");
    let identity = Identity { certificate: certs.join("certificate.pem"), key: certs.join("key.pem") };
    let nobody = ClientTls { roots: Some(certs.join("roots.pem")), identity: None };
    let stranger = ClientTls { roots: None, identity: Some(identity) };
    for tls in [nobody, stranger] {
        refused_by_all(&servers, &tls).await;
    }

    // The servers come back with certificates of a new root, which the running process reads from its files.
    tokio::task::block_in_place(|| {
        replace_certificates(servers.path());
        servers.redis.restart().expect("Redis starts");
        servers.postgres.restart().expect("PostgreSQL starts");
        servers.clickhouse.restart().expect("ClickHouse starts");
    });
    assert_eq!(book(&server, "bob").await["status"], "booked");
    assert!(server.terminate().success());
}

#[test]
fn a_server_in_clear_beside_certificates_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    output(orderly(folder.path()).args(["certs", "dev"]));
    std::fs::write(folder.path().join("a.keys"), "1 x\n").expect("written");
    let mut settings = vec![
        ("ORDERLY_PROFILE", "distributed"),
        ("ORDERLY_TICKET__KEYS_FILE", "a.keys"),
        ("ORDERLY_PERSONAL__KEYS_FILE", "a.keys"),
        ("ORDERLY_SERVERS_TLS__CERTIFICATE_FILE", "certs/certificate.pem"),
    ];
    let told = |settings: &[(&str, &str)]| {
        complaint(orderly(folder.path()).args(["config", "--print"]).envs(settings.iter().copied()), 1)
    };
    assert!(told(&settings).contains("servers_tls.key_file"));
    settings.push(("ORDERLY_SERVERS_TLS__KEY_FILE", "certs/key.pem"));
    for (key, variable, value) in [
        ("kafka.tls", "ORDERLY_KAFKA__TLS", "true"),
        ("redis.urls", "ORDERLY_REDIS__URLS", "rediss://127.0.0.1:6379"),
        ("postgres.url", "ORDERLY_POSTGRES__URL", "postgres://orderly@127.0.0.1/orderly?sslmode=require"),
        ("clickhouse.url", "ORDERLY_CLICKHOUSE__URL", "https://127.0.0.1:8443"),
    ] {
        let told = told(&settings);
        assert!(told.contains(&format!("`{key}` would be spoken to in clear")), "{told}");
        settings.push((variable, value));
    }
    output(orderly(folder.path()).args(["config", "--print"]).envs(settings));
}

/// Shows the command line's certificate, and trusts what signed it.
const SHOWN: [(&str, &str); 3] = [
    ("ORDERLY_CA_FILE", "certs/roots.pem"),
    ("ORDERLY_CERTIFICATE_FILE", "certs/certificate.pem"),
    ("ORDERLY_KEY_FILE", "certs/key.pem"),
];

#[test]
fn a_server_that_asks_for_certificates_is_asked_by_the_command_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    output(orderly(path).args(["certs", "dev"]));
    let config = "[tls]\ncertificate_file = 'certs/certificate.pem'\nkey_file = 'certs/key.pem'\n\
                  client_roots_file = 'certs/roots.pem'\n";
    std::fs::write(path.join("orderly.toml"), config).expect("written");
    let server = Server::start_with(path, &["--config", "orderly.toml"]);
    assert!(server.url().starts_with("https://"), "{}", server.url());

    let get = ["policy", "get"];
    let policy = output(server.asked(path, &get).envs(SHOWN));
    std::fs::write(path.join("policy.toml"), &policy).expect("written");
    for command in [
        &["policy", "diff", "policy.toml"][..],
        &["policy", "set", "policy.toml"],
        &["policy", "history"],
        &["breakers", "list"],
        &["suspects"],
    ] {
        output(server.asked(path, command).envs(SHOWN));
    }
    let options = SHOWN.map(|(variable, file)| {
        [
            variable.trim_start_matches("ORDERLY").replace('_', "-").to_lowercase().replacen('-', "--", 1),
            file.to_owned(),
        ]
    });
    let policy = output(server.asked(path, &get).envs(SHOWN));
    assert_eq!(output(server.asked(path, &get).args(options.as_flattened())), policy);

    // Nobody else is let in, and nobody else is believed.
    let told = complaint(&mut server.asked(path, &get), 1);
    assert!(told.contains("cannot be reached") && told.contains("--ca-file"), "{told}");
    let told = complaint(server.asked(path, &get).env("ORDERLY_CA_FILE", "certs/roots.pem"), 1);
    assert!(told.contains("--certificate-file"), "{told}");
    output(orderly(path).args(["certs", "dev", "--out", "others"]));
    for (variable, file) in
        [("ORDERLY_CA_FILE", "others/roots.pem"), ("ORDERLY_CERTIFICATE_FILE", "others/certificate.pem")]
    {
        let key = if variable == "ORDERLY_CA_FILE" { "certs/key.pem" } else { "others/key.pem" };
        complaint(server.asked(path, &get).envs(SHOWN).env(variable, file).env("ORDERLY_KEY_FILE", key), 1);
    }
    // What cannot be used is named.
    complaint(server.asked(path, &get).env("ORDERLY_CERTIFICATE_FILE", "certs/certificate.pem"), 2);
    for (variable, file, expected) in [
        ("ORDERLY_CA_FILE", "nowhere.pem", "nowhere.pem cannot be read"),
        ("ORDERLY_CA_FILE", "policy.toml", "policy.toml (--ca-file)"),
        ("ORDERLY_CERTIFICATE_FILE", "policy.toml", "policy.toml (--certificate-file)"),
    ] {
        let told = complaint(server.asked(path, &get).envs(SHOWN).env(variable, file), 1);
        assert!(told.contains(expected), "{told}");
    }
    assert!(server.terminate().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ops_and_what_watches_come_by_a_listener_of_their_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    output(orderly(path).args(["certs", "dev"]));
    let config = "[ops]\nlisten = '127.0.0.1:0'\ncertificate_file = 'certs/certificate.pem'\n\
                  key_file = 'certs/key.pem'\nclient_roots_file = 'certs/roots.pem'\n";
    std::fs::write(path.join("orderly.toml"), config).expect("written");
    let mut server = Server::start_with(path, &["--config", "orderly.toml"]);
    let told = server.says();
    let ops = told.split_whitespace().find(|word| word.starts_with("https://")).expect("an address");
    let ops = ops.trim_end_matches(',');
    output(server.asked(path, &["policy", "get", "--url", ops]).envs(SHOWN));
    let told = complaint(&mut server.asked(path, &["policy", "get"]), 1);
    assert!(told.contains("404"), "{told}");

    // The auditor asks for the same certificates.
    let auditor = Server::start_role(path, &["audit-run", "--config", "orderly.toml"]);
    let pem = |name: &str| std::fs::read(path.join("certs").join(name)).expect("it is there");
    let roots = reqwest::Certificate::from_pem_bundle(&pem("roots.pem")).expect("certificates");
    let identity = reqwest::Identity::from_pem(&[pem("certificate.pem"), pem("key.pem")].concat()).expect("a pair");
    let trusting = || reqwest::Client::builder().tls_certs_only(roots.clone());
    let shows = trusting().identity(identity).build().expect("a client");
    for url in [ops, auditor.url()] {
        let metrics = shows.get(format!("{url}/metrics")).send().await.expect("answered");
        assert_eq!(metrics.status(), 200, "{url}");
        let nobody = trusting().build().expect("a client").get(format!("{url}/metrics")).send().await;
        assert!(nobody.is_err(), "{url}");
    }
    let report = shows.get(format!("{}/report", auditor.url())).send().await.expect("answered");
    assert_eq!(report.status(), 200);
    assert!(auditor.terminate().success() && server.terminate().success());
}

#[test]
fn a_listener_for_ops_without_its_certificates_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut settings = vec![("ORDERLY_OPS__LISTEN", "127.0.0.1:0")];
    let told =
        |settings: &[(&str, &str)]| complaint(orderly(folder.path()).arg("config").envs(settings.iter().copied()), 1);
    assert!(told(&settings).contains("ops.client_roots_file"), "{}", told(&settings));
    settings.push(("ORDERLY_OPS__CLIENT_ROOTS_FILE", "roots.pem"));
    assert!(told(&settings).contains("tls.certificate_file"), "{}", told(&settings));
    settings.push(("ORDERLY_OPS__CERTIFICATE_FILE", "certificate.pem"));
    assert!(told(&settings).contains("ops.key_file"), "{}", told(&settings));
    settings.push(("ORDERLY_OPS__KEY_FILE", "key.pem"));
    output(orderly(folder.path()).arg("config").envs(settings));
}

/// The auditor has a listener of its own, and reads the section without an address.
#[test]
fn certificates_for_ops_without_an_address_are_refused_where_it_is_served() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = "[ops]\ncertificate_file = 'certificate.pem'\nkey_file = 'key.pem'\nclient_roots_file = 'roots.pem'\n";
    std::fs::write(folder.path().join("orderly.toml"), config).expect("written");
    std::fs::write(
        folder.path().join("auth.key"),
        "the secret of a small hospital: 0123456789-ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    )
    .expect("written");
    output(orderly(folder.path()).args(["config", "--config", "orderly.toml"]));
    let mut serve = orderly(folder.path());
    let told =
        complaint(serve.args(["serve", "--config", "orderly.toml"]).env("ORDERLY_AUTH__KEY_FILE", "auth.key"), 1);
    assert!(told.contains("set ops.listen"), "{told}");
}
