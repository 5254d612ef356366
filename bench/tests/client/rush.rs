use std::path::Path;

use clap::Parser;
use orderly_bench::rush::{Options, Report, run};
use serde_json::{Value, json};

use crate::hospital::{Fault, start};

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    options: Options,
}

fn session(doctor: usize) -> Value {
    json!({
        "session_id": format!("session-{doctor}"), "doctor_id": format!("doctor-{doctor}"), "doctor_name": "A Doctor",
        "department": format!("department-{doctor}"), "campus": "east", "day": "2999-01-02", "start": "08:00:00",
        "end": "12:00:00", "timezone": "Asia/Shanghai", "capacity": 20, "release_at": "2020-01-01T00:00:00Z",
    })
}

async fn rush(fault: Fault) -> Report {
    play(fault, None).await
}

/// Plays one, and has every call written down in `history`.
async fn play(fault: Fault, history: Option<&Path>) -> Report {
    let sessions: Vec<_> = (0..10).map(session).collect();
    let url = start(fault, &sessions).await;
    let arguments = "rush --seconds 1 --base-rate 10 --patients 300 --retry-share 0.3 --cancel-share 0.3 --sse 10 \
                     --poll-share 0.5 --drain-seconds 1 --seed 3";
    let arguments = Arguments::try_parse_from(arguments.split_whitespace()).unwrap();
    let options = Options { history: history.map(Path::to_owned), ..arguments.options };
    run(&url, &options).await.unwrap()
}

#[tokio::test]
async fn every_ticket_is_followed_to_its_outcome() {
    let report = rush(Fault::None).await;
    let counts = &report.counts;
    assert!(report.passed(), "{:?}", report.violations);
    assert!(
        counts.offered > 100 && counts.accepted == counts.offered && counts.decided == counts.offered,
        "{counts:?}"
    );
    assert_eq!(counts.booked + counts.rejected.values().sum::<u64>(), counts.decided);
    assert!(counts.booked > 0 && counts.rejected.contains_key("sold_out"), "{counts:?}");
    assert!(counts.cancelled > 0 && counts.retries_compared > 0 && counts.pushed > 0, "{counts:?}");
    assert_eq!((counts.errors, counts.throttled, counts.shed), (0, 0, 0));
    assert_eq!(report.accept_latency.count, counts.accepted);
    assert_eq!(report.decision_latency.count, counts.decided);
    assert_eq!(report.push_latency.count, counts.pushed);
    assert_eq!(report.resident_bytes, Some(1_048_576));
    let text = report.to_text();
    assert!(text.contains("rejected: sold_out") && text.contains("every promise kept"), "{text}");
}

/// Every outcome that the report counts is in the history, by what told it, and every request that was taken.
#[tokio::test]
async fn every_call_is_written_down() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let report = play(Fault::Busy, Some(file.path())).await;
    let history = std::fs::read_to_string(file.path()).unwrap();
    let calls: Vec<Value> = history.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let count = |wanted: &dyn Fn(&Value) -> bool| calls.iter().filter(|call| wanted(call)).count() as u64;
    let counts = &report.counts;

    assert!(report.passed(), "{:?}", report.violations);
    assert_eq!(count(&|call| call["status"] == 429), counts.throttled);
    assert_eq!(count(&|call| call["status"] == 503), counts.shed);
    assert!(count(&|call| call["asked"] == "book" && call["status"] == 202) >= counts.accepted);
    assert_eq!(count(&|call| call["outcome"]["by"] == "push"), counts.pushed);
    assert!(count(&|call| call["outcome"]["by"] == "poll") >= counts.decided);
    assert_eq!(count(&|call| call["asked"] == "cancel" && call["outcome"]["status"] == "cancelled"), counts.cancelled);
    for call in &calls {
        let time = |name: &str| call[name].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        assert!(time("sent_at") <= time("answered_at"), "{call}");
        assert!(call["patient"].is_string() && call["key"].is_string() && call["session"].is_string(), "{call}");
        assert_eq!(call["log"].is_object(), call["status"] == 200 || call["status"] == 202, "{call}");
    }
    let pushed = |call: &&Value| call["outcome"]["by"] == "push";
    for push in calls.iter().filter(pushed) {
        let again = |call: &&Value| call["key"] == push["key"] && call["outcome"]["by"] == "poll";
        assert!(calls.iter().find(again).is_some(), "nobody looked again after {push}");
    }
}

#[tokio::test]
async fn a_push_that_differs_from_a_look_is_seen() {
    let report = rush(Fault::PushesOtherwise).await;
    let differs = |violation: &String| violation.contains("was pushed") && violation.contains("by a look");
    assert!(report.violations.iter().any(differs), "{:?}", report.violations);
}

#[tokio::test]
async fn who_is_asked_to_come_back_does() {
    let report = rush(Fault::Busy).await;
    let counts = &report.counts;
    assert!(report.passed(), "{:?}", report.violations);
    assert!(counts.throttled > 0 && counts.shed > 0, "{counts:?}");
    assert_eq!(counts.accepted + counts.given_up, counts.offered);
    assert!(counts.accepted > counts.offered * 9 / 10, "{counts:?}");
}

#[tokio::test]
async fn a_second_answer_to_a_retry_is_seen() {
    let report = rush(Fault::DecidesTwice).await;
    assert!(!report.passed());
    assert!(report.violations.iter().any(|violation| violation.contains("for the retry")), "{:?}", report.violations);
}

#[tokio::test]
async fn a_number_that_is_given_twice_is_seen() {
    let report = rush(Fault::GivesNumbersTwice).await;
    assert!(report.violations.iter().any(|violation| violation.contains("also held")), "{:?}", report.violations);
}

#[tokio::test]
async fn a_ticket_that_is_never_decided_is_seen() {
    let report = rush(Fault::Forgets).await;
    assert_eq!(report.counts.decided, report.counts.accepted - 1);
    assert!(report.violations.iter().any(|violation| violation.contains("no outcome")), "{:?}", report.violations);
}

#[tokio::test]
async fn what_cannot_be_played_is_an_error() {
    let arguments = Arguments::try_parse_from(["rush", "--patients", "1"]).unwrap();
    let url = start(Fault::None, &[]).await;
    let error = run(&url, &arguments.options).await.unwrap_err().to_string();
    assert!(error.contains("no open session"), "{error}");
    let error = run("ftp://nowhere", &arguments.options).await.unwrap_err().to_string();
    assert!(error.contains("http://HOST:PORT"), "{error}");
    let error = run("http://127.0.0.1:1", &arguments.options).await.unwrap_err().to_string();
    assert!(error.contains("is the server running?"), "{error}");
}
