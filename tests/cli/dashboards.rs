//! The dashboards and rules in `dashboards/`, on a real Prometheus that looks at a real server after a rush: every metric and
//! label that they name exists, every panel shows something, and every alert has its section in the runbook.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use orderly_stack::prometheus;
use serde_json::{Value, json};

use crate::server::Server;

/// Long enough for any machine; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(120);
/// What Grafana puts for it: longer than two scrapes.
const RATE_INTERVAL: &str = "30s";
/// What Prometheus itself exposes.
const OF_PROMETHEUS: [&str; 2] = ["up", "ALERTS"];
/// Present once something was refused; without it a panel shows 0.
const PRESENT_LATER: [&str; 1] = ["orderly_ingress_throttled_total"];

fn dashboards() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards")
}

fn text(name: &str) -> String {
    std::fs::read_to_string(dashboards().join(name)).expect("it is there")
}

/// A panel's title with one of its queries.
type Panel = (String, String);

fn panels() -> Vec<Panel> {
    let mut panels = Vec::new();
    for name in ["orderly-rush", "orderly-pipeline", "orderly-slo"] {
        let board: Value = serde_json::from_str(&text(&format!("grafana/{name}.json"))).expect("it is JSON");
        assert_eq!(board["uid"], name);
        for panel in board["panels"].as_array().expect("panels") {
            let title = panel["title"].as_str().expect("a title");
            assert!(panel["description"].as_str().is_some_and(|text| !text.is_empty()), "{name}: {title} says nothing");
            for target in panel["targets"].as_array().expect("targets") {
                let query = target["expr"].as_str().expect("a query").replace("$__rate_interval", RATE_INTERVAL);
                panels.push((format!("{name}: {title}"), query));
            }
        }
    }
    panels
}

/// Alerting rules and recording rules, by name, with their queries.
fn rules() -> BTreeMap<String, String> {
    let rules: Value = serde_saphyr::from_str(&text("prometheus/rules.yml")).expect("it is YAML");
    let of_group = |group: &Value| group["rules"].as_array().cloned().expect("rules");
    let rules = rules["groups"].as_array().expect("groups").iter().flat_map(of_group);
    let named = rules.map(|rule| {
        let name = rule["alert"].as_str().or(rule["record"].as_str()).expect("a name").to_owned();
        if rule["alert"].is_string() {
            let page = rule["annotations"]["runbook_url"].as_str().expect("a runbook").to_owned();
            let (file, anchor) = page.split_once('#').expect("a section");
            let book = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect("it is there");
            let mut sections = book.lines().filter_map(|line| line.strip_prefix("## "));
            assert!(sections.any(|section| section.to_lowercase() == anchor), "{file} has no section {anchor}");
        }
        (name, rule["expr"].as_str().expect("a query").to_owned())
    });
    named.collect()
}

/// Every selector of a query: a metric's name and the labels that are asked for or grouped by. Groupings count for each.
fn selectors(query: &str) -> Vec<(String, BTreeSet<String>)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut found = Vec::new();
    let mut grouped = BTreeSet::new();
    let mut rest = query;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphabetic() || c == '"') {
        rest = &rest[start..];
        if let Some(quoted) = rest.strip_prefix('"') {
            rest = quoted.split_once('"').map_or("", |(_, after)| after);
            continue;
        }
        let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = after;
        if word == "by" {
            let (labels, after) = rest.trim_start_matches([' ', '(']).split_once(')').expect("a list of labels");
            grouped.extend(labels.split(',').map(|label| label.trim().to_owned()));
            rest = after;
        } else if word.starts_with("orderly") || word.starts_with("process_") || OF_PROMETHEUS.contains(&word) {
            let mut labels = BTreeSet::new();
            if let Some(inside) = rest.strip_prefix('{') {
                let (inside, after) = inside.split_once('}').expect("a closed selector");
                labels.extend(
                    inside
                        .split(',')
                        .filter_map(|part| part.split_once('='))
                        .map(|(name, _)| name.trim_matches([' ', '!', '~']).to_owned()),
                );
                rest = after;
            }
            found.push((word.to_owned(), labels));
        }
    }
    for (_, labels) in &mut found {
        labels.extend(grouped.iter().cloned());
    }
    found
}

/// Prometheus, asked over HTTP.
struct Asked {
    url: String,
    http: reqwest::Client,
}

impl Asked {
    async fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let mut url = reqwest::Url::parse(&format!("{}/api/v1/{path}", self.url)).expect("an address");
        url.query_pairs_mut().extend_pairs(parameters);
        let answer = self.http.get(url).send().await.expect("answered");
        let answer: Value = answer.json().await.expect("JSON");
        assert_eq!(answer["status"], "success", "{path} {parameters:?}: {answer}");
        answer["data"].clone()
    }

    /// Whether a query finds a number.
    async fn finds(&self, query: &str) -> bool {
        let found = self.get("query", &[("query", query)]).await;
        let of_series = |series: &Value| series["value"][1].as_str().is_some_and(|value| value != "NaN");
        found["result"].as_array().expect("series").iter().any(of_series)
    }

    /// The labels of a metric's series.
    async fn labels(&self, metric: &str) -> BTreeSet<String> {
        let series = self.get("series", &[("match[]", metric)]).await;
        let series = series.as_array().expect("a list").iter();
        series.flat_map(|series| series.as_object().expect("labels").keys().cloned()).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_panel_shows_something_after_a_rush_and_every_metric_exists() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = tokio::task::block_in_place(|| Server::start(folder.path()));
    let auditor = tokio::task::block_in_place(|| Server::start_role(folder.path(), &["audit-run"]));
    let targets = [&server, &auditor].map(|node| node.url().trim_start_matches("http://").to_owned());
    let options = prometheus::Options { port: None, targets: targets.into() };
    let looking = tokio::task::block_in_place(|| {
        prometheus::Prometheus::start(&folder.path().join("prometheus"), &options).expect("it starts")
    });
    let asked = Asked { url: looking.url(), http: reqwest::Client::new() };

    // A rush, until every panel shows something: rates take two looks, recorded rules some more.
    // Each patient books twice, so that some are refused.
    let book = async |number: usize| {
        let patient = number / 2;
        let body = json!({ "sub": format!("patient-{patient}"), "role": "patient" });
        let token = asked.http.post(format!("{}/v1/demo/token", server.url())).json(&body).send().await;
        let token: Value = token.expect("answered").json().await.expect("JSON");
        let sessions = asked.http.get(format!("{}/v1/sessions", server.url())).send().await.expect("answered");
        let sessions: Value = sessions.json().await.expect("JSON");
        let open = sessions["sessions"].as_array().expect("a list");
        let open: Vec<_> = open.iter().filter(|session| session["state"] == "open").collect();
        let request = asked.http.post(format!("{}/v1/bookings", server.url()));
        let request = request.bearer_auth(token["access_token"].as_str().expect("a token"));
        let request = request.header("idempotency-key", format!("k{number}")).header("prefer", "wait=10");
        let answer = request.json(&json!({ "session_id": open[patient % open.len()]["session_id"] })).send().await;
        assert!(answer.expect("answered").status().is_success());
    };
    let deadline = Instant::now() + PATIENCE;
    let panels = panels();
    let mut empty: Vec<&Panel> = panels.iter().collect();
    let mut number = 0;
    while !empty.is_empty() {
        assert!(Instant::now() < deadline, "these show nothing: {empty:#?}");
        for _ in 0..10 {
            book(number).await;
            number += 1;
        }
        let mut still = Vec::new();
        for panel in empty {
            if !asked.finds(&panel.1).await {
                still.push(panel);
            }
        }
        empty = still;
    }

    let rules = rules();
    let queries = panels
        .iter()
        .chain(&rules.iter().map(|(name, query)| (name.clone(), query.clone())).collect::<Vec<_>>())
        .cloned()
        .collect::<Vec<_>>();
    for (where_, query) in &queries {
        for (metric, wanted) in selectors(query) {
            if OF_PROMETHEUS.contains(&metric.as_str()) || PRESENT_LATER.contains(&metric.as_str()) {
                continue;
            }
            if metric.contains(':') {
                assert!(rules.contains_key(&metric), "{where_}: no rule records {metric}");
                continue;
            }
            let there = asked.labels(&metric).await;
            assert!(!there.is_empty(), "{where_}: nothing exposes {metric}");
            assert!(wanted.is_subset(&there), "{where_}: {metric} has the labels {there:?}, not all of {wanted:?}");
        }
    }
    assert!(server.terminate().success());
}

#[test]
fn every_alert_is_tried() {
    let mut promtool = Command::new("promtool");
    promtool.args(["test", "rules", "tests.yml"]).current_dir(dashboards().join("prometheus"));
    let told = promtool.output().expect("Debian's package prometheus has it");
    assert!(
        told.status.success(),
        "{}{}",
        String::from_utf8_lossy(&told.stdout),
        String::from_utf8_lossy(&told.stderr)
    );
    let tests = text("prometheus/tests.yml");
    for (name, _) in rules().iter().filter(|(name, _)| !name.contains(':')) {
        let tried = tests.split("alertname: ").skip(1).filter(|test| test.starts_with(&format!("{name}\n")));
        assert!(tried.clone().any(|test| test.contains("exp_alerts")), "no test sees {name} come");
        assert!(tests.contains(&format!("alertname: {name} }}")), "no test sees {name} stay away");
    }
}

#[test]
fn selectors_are_found() {
    let query = r#"histogram_quantile(0.99, sum by (le, operator) (rate(orderly_a_bucket{kind="by x", class!="y"}[5m]))) or vector(0)"#;
    let labels = ["class", "kind", "le", "operator"].map(str::to_owned);
    assert_eq!(selectors(query), [("orderly_a_bucket".to_owned(), labels.into())]);
}
