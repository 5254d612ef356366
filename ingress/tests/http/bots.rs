//! Bots: who looks like one is challenged, people are not, and only a right answer lets a booking pass.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use orderly_domain::{Timestamp, work};
use orderly_ingress::Options;
use orderly_ingress::auth::Role;
use orderly_ingress::challenge::{Booking, Challenge, Demand, Refused};
use orderly_ingress::throttle::{self, Limits, Policy, Rate};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::kit::{Kit, keys, options, problem, session, ticket_of};

/// So many different sessions are more than a person asks for.
const SESSIONS: usize = 20;

/// Challenges that a test can solve, from five sessions on.
fn watching() -> throttle::Suspicion {
    let mut policy = throttle::Suspicion { challenge_score: 5.0, ..throttle::Suspicion::default() };
    policy.work = throttle::Work { bits_min: 6, bits_max: 12, valid_s: 60 };
    policy.patient.sessions.tolerated = 5.0;
    policy
}

fn policy(suspicion: throttle::Suspicion) -> Policy {
    Policy { keys_max: 1_000, suspicion: Some(suspicion), ..Policy::of(Limits::default()) }
}

async fn kit(options: Options) -> Kit {
    let kit = Kit::with(options, keys()).await;
    let sessions: Vec<_> = (0..SESSIONS).map(|n| session(&format!("s{n}"), &format!("dr-{n}"), 50)).collect();
    kit.open(&sessions).await;
    kit
}

async fn watched() -> Kit {
    kit(Options { policy: policy(watching()), ..options() }).await
}

async fn ask(kit: &Kit, patient: &str, key: &str, session: &str) -> Response {
    kit.booking(patient, key, session).send().await.unwrap()
}

async fn answered(kit: &Kit, patient: &str, key: &str, session: &str, answer: &str) -> Response {
    kit.booking(patient, key, session).header("challenge-response", answer).send().await.unwrap()
}

/// Lets a patient ask for one session after the other until they are challenged; the challenge, the key and the session.
async fn bot(kit: &Kit, patient: &str) -> (Value, String, String) {
    for number in 0..SESSIONS {
        let (key, session) = (format!("k{number}"), format!("s{number}"));
        let answer = ask(kit, patient, &key, &session).await;
        if answer.status() != StatusCode::ACCEPTED {
            return (problem(answer, 428, "challenge-required").await, key, session);
        }
    }
    panic!("nobody was challenged");
}

/// What a client sends that solves a challenge.
fn solved(problem: &Value) -> String {
    let (token, bits) =
        (problem["challenge"]["token"].as_str().unwrap(), problem["challenge"]["bits"].as_u64().unwrap());
    format!("{token}.{}", work::solve(token, bits.try_into().unwrap()))
}

async fn suspects(kit: &Kit) -> Value {
    kit.ops(Method::GET, "/v1/suspects").send().await.unwrap().json().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_is_challenged_and_people_are_not() {
    let kit = watched().await;
    let logged = kit.logged().await;
    let (told, key, session) = bot(&kit, "13812341234").await;
    let challenge = &told["challenge"];
    assert_eq!((&challenge["scheme"], &challenge["bits"]), (&"proof-of-work".into(), &6.into()));
    let asked: u64 = key.trim_start_matches('k').parse().unwrap();
    // Five are tolerated and five count; two of them may look like one.
    assert!((9..=12).contains(&asked), "{asked}");
    assert_eq!(kit.logged().await, logged + asked, "nothing was taken");

    // Others of the same address who ask once, change their minds and retry.
    for person in 0..8 {
        let name = format!("person-{person}");
        for (key, session) in [("a", "s0"), ("a", "s0"), ("b", "s1")] {
            assert_eq!(ask(&kit, &name, key, session).await.status(), StatusCode::ACCEPTED);
        }
    }
    let answer = answered(&kit, "13812341234", &key, &session, &solved(&told)).await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let ticket = ticket_of(&answer.json().await.unwrap());
    // A retry of what was taken needs no answer; the next booking does.
    let again = ask(&kit, "13812341234", &key, &session).await;
    assert_eq!(ticket_of(&again.json().await.unwrap()), ticket);
    problem(ask(&kit, "13812341234", "next", "s19").await, 428, "challenge-required").await;
    kit.until_metric(r#"orderly_suspicion_challenges_total{outcome="passed"} 1"#).await;

    let view = suspects(&kit).await;
    assert_eq!((&view["watching"], &view["challenge_score"]), (&true.into(), &json!(5.0)));
    let [suspect] = &view["suspects"].as_array().unwrap()[..] else { panic!("{view}") };
    assert_eq!((&suspect["kind"], &suspect["name"]), (&"patient".into(), &"138****1234".into()));
    assert_eq!((&suspect["challenged"], &suspect["causes"][0]["signal"]), (&true.into(), &"sessions".into()));
    assert!(!view.to_string().contains("13812341234"));

    // Who stops is forgotten.
    kit.clock.advance(Duration::from_secs(600));
    assert_eq!(ask(&kit, "13812341234", "later", "s18").await.status(), StatusCode::ACCEPTED);
    assert_eq!(suspects(&kit).await["suspects"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_wrong_stale_used_or_anothers_are_refused() {
    let kit = kit(Options { policy: policy(watching()), idempotency_window: 1, ..options() }).await;
    let (told, key, session) = bot(&kit, "ann").await;
    let (right, token) = (solved(&told), told["challenge"]["token"].as_str().unwrap());
    let refused = async |answer: Response, why: &str| {
        let told = problem(answer, 428, "challenge-required").await;
        assert_eq!(told["refused"], why, "{told}");
        told
    };
    let bits = u32::try_from(told["challenge"]["bits"].as_u64().unwrap()).unwrap();
    let wrong = (0..).map(|n: u32| n.to_string()).find(|n| work::zero_bits(token, n) < bits).unwrap();
    refused(answered(&kit, "ann", &key, &session, &format!("{token}.{wrong}")).await, "wrong").await;
    refused(answered(&kit, "ann", "another-key", &session, &right).await, "foreign").await;
    refused(answered(&kit, "ann", &key, &session, "nonsense").await, "foreign").await;
    let (_, others_key, others_session) = bot(&kit, "bob").await;
    let harder = refused(answered(&kit, "bob", &others_key, &others_session, &right).await, "foreign").await;
    assert!(harder["challenge"]["bits"].as_u64() >= told["challenge"]["bits"].as_u64());

    assert_eq!(answered(&kit, "ann", &key, &session, &right).await.status(), StatusCode::ACCEPTED);
    // The window forgets the booking; the answer is not taken again all the same.
    assert_eq!(ask(&kit, "carl", "k", "s0").await.status(), StatusCode::ACCEPTED);
    refused(answered(&kit, "ann", &key, &session, &right).await, "used").await;

    let late = problem(ask(&kit, "ann", "late", &session).await, 428, "challenge-required").await;
    kit.clock.advance(Duration::from_secs(60));
    let patient =
        throttle::OfPatient { sessions: throttle::Weight { tolerated: 0.0, weight: 100.0 }, ..watching().patient };
    let stricter = policy(throttle::Suspicion { patient, ..watching() });
    let change = json!({ "policy": stricter, "reason": "stricter" });
    assert_eq!(kit.ops(Method::PUT, "/v1/policy").json(&change).send().await.unwrap().status(), StatusCode::OK);
    let told = refused(answered(&kit, "ann", "late", &session, &solved(&late)).await, "stale").await;
    assert_eq!(told["challenge"]["bits"], 12, "harder for a higher score, up to the policy's maximum");
    assert_eq!(answered(&kit, "ann", "late", &session, &solved(&told)).await.status(), StatusCode::ACCEPTED);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_signal_counts_against_patient_and_address() {
    let limits = Limits { patient: Some(Rate { rate_per_s: 0.001, burst: 3 }), ..Limits::default() };
    let policy = Policy { limits, ..policy(throttle::Suspicion::default()) };
    let kit = kit(Options { policy, ..options() }).await;
    for number in 0..5 {
        ask(&kit, "ann", &format!("k{number}"), "s0").await;
    }
    for path in ["/v1/tickets/none", "/v1/tickets/none/events"] {
        kit.patient("ann", Method::GET, path).send().await.unwrap();
    }
    kit.patient("ann", Method::GET, "/v1/policy").send().await.unwrap();
    kit.ask(Method::GET, "/v1/policy").bearer_auth("forged").send().await.unwrap();
    // Who has not signed in yet is no bot.
    kit.ask(Method::GET, "/v1/policy").send().await.unwrap();
    let ticket = ticket_of(&kit.book("bob", "k", "s1").await);
    let path = format!("/v1/tickets/{ticket}");
    for _ in 0..2 {
        kit.patient("bob", Method::DELETE, &path).header("prefer", "wait=60").send().await.unwrap();
    }
    for (of, signal, count) in [
        ("patient", "throttled", 2),
        ("address", "throttled", 2),
        ("patient", "unknown_tickets", 2),
        ("patient", "refused", 1),
        ("address", "refused", 2),
        ("patient", "cancellations", 1),
        ("address", "cancellations", 1),
        ("patient", "sessions", 2),
        ("address", "patients", 2),
    ] {
        let line = format!("orderly_suspicion_signals_total{{of=\"{of}\",signal=\"{signal}\"}} {count}\n");
        kit.until_metric(&line).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_with_many_patients_is_challenged() {
    let mut suspicion = watching();
    suspicion.address.patients = throttle::Weight { tolerated: 5.0, weight: 1.0 };
    let kit = kit(Options { policy: policy(suspicion), ..options() }).await;
    let mut challenged = None;
    for number in 0..SESSIONS {
        let answer = ask(&kit, &format!("patient-{number}"), "k", "s0").await;
        if answer.status() == StatusCode::PRECONDITION_REQUIRED {
            challenged = Some(number);
            break;
        }
    }
    // Of ten patients two may look like one.
    assert!(challenged.is_some_and(|number| (9..=12).contains(&number)), "{challenged:?}");
    let view = suspects(&kit).await;
    assert_eq!((&view["suspects"][0]["kind"], &view["suspects"][0]["name"]), (&"address".into(), &"127.0.0.1".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_watched_unless_the_policy_says_so() {
    let kit = kit(options()).await;
    for number in 0..SESSIONS {
        let answer = ask(&kit, "ann", &format!("k{number}"), &format!("s{number}")).await;
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
    }
    assert_eq!(suspects(&kit).await, json!({"watching": false, "challenge_score": null, "suspects": []}));
    // From one moment to the next, and back.
    let change = json!({ "policy": policy(watching()) });
    assert_eq!(kit.ops(Method::PUT, "/v1/policy").json(&change).send().await.unwrap().status(), StatusCode::OK);
    bot(&kit, "bob").await;
    assert_eq!(
        kit.ops(Method::PUT, "/v1/policy").json(&json!({"limits": {}})).send().await.unwrap().status(),
        StatusCode::OK
    );
    assert_eq!(ask(&kit, "bob", "now", "s19").await.status(), StatusCode::ACCEPTED);
    let wrong = json!({"limits": {}, "suspicion": {"half_life_s": 0.0, "work": {"bits_min": 20, "bits_max": 14, "valid_s": 60}}});
    let told =
        problem(kit.ops(Method::PUT, "/v1/policy").json(&wrong).send().await.unwrap(), 422, "invalid-policy").await;
    assert_eq!(told["errors"].as_array().unwrap().len(), 2, "{told}");
    let patient = kit.ask(Method::GET, "/v1/suspects").bearer_auth(kit.token("ann", Role::Patient));
    problem(patient.send().await.unwrap(), 403, "forbidden").await;
    problem(kit.ops(Method::GET, "/v1/suspects?limit=0").send().await.unwrap(), 400, "malformed-request").await;
}

/// Another kind of challenge: a question to a service of others.
#[derive(Debug)]
struct Question;

#[async_trait]
impl Challenge for Question {
    fn issue(&self, booking: &Booking<'_>, demand: Demand, _: Timestamp) -> Value {
        json!({"scheme": "question", "for": booking.patient.as_str(), "strength": demand.bits})
    }

    async fn verify(&self, _: &Booking<'_>, response: &str, _: Timestamp) -> Result<(), Refused> {
        if response == "please" { Ok(()) } else { Err(Refused::Unavailable) }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_kind_of_challenge_takes_its_place() {
    let challenge: Option<Arc<dyn Challenge>> = Some(Arc::new(Question));
    let kit = kit(Options { policy: policy(watching()), challenge, ..options() }).await;
    let (told, key, session) = bot(&kit, "ann").await;
    assert_eq!(told["challenge"], json!({"scheme": "question", "for": "ann", "strength": 6}));
    let told = problem(answered(&kit, "ann", &key, &session, "now").await, 428, "challenge-required").await;
    assert_eq!(told["refused"], "unavailable");
    assert_eq!(answered(&kit, "ann", &key, &session, "please").await.status(), StatusCode::ACCEPTED);
}
