//! Shedding: who would wait for too long is refused before the append, and told when to come back.

use std::time::Duration;

use orderly_ingress::{Bounds, Options};
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::kit::{Kit, keys, options, problem, session, ticket_of};

const WAIT_MAX: Duration = Duration::from_secs(5);

async fn expected_wait_ms(kit: &Kit) -> Option<u64> {
    let view: Value = kit.ops(Method::GET, "/v1/pipeline").send().await.unwrap().json().await.unwrap();
    let partitions = view["partitions"].as_array().unwrap();
    partitions.iter().find_map(|partition| partition["expected_wait_ms"].as_u64())
}

/// A server behind which a few bookings a second are decided, as it has measured.
async fn slow() -> Kit {
    let shed = Bounds { wait_max: WAIT_MAX, ..Bounds::default() };
    let kit = Kit::with(Options { shed, ..options() }, keys()).await;
    kit.open(&[session("s1", "li", 100)]).await;
    assert_eq!(expected_wait_ms(&kit).await, None, "nothing is refused before it was measured");
    kit.decide(false);
    kit.booking("first", "k1", "s1").send().await.unwrap();
    kit.clock.advance(Duration::from_secs(1));
    kit.decide(true);
    kit.book("second", "k1", "s1").await;
    while expected_wait_ms(&kit).await.is_none() {}
    kit.decide(false);
    kit
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_line_refuses_before_the_append_and_goes_on_when_it_is_short_again() {
    let kit = slow().await;
    let (logged, alone_ms) = (kit.logged().await, expected_wait_ms(&kit).await.unwrap());
    let mut taken = Vec::new();
    let told = loop {
        let patient = format!("p{}", taken.len());
        let answer = kit.booking(&patient, "k1", "s1").send().await.unwrap();
        if answer.status() != StatusCode::ACCEPTED {
            assert!(answer.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap() >= 1);
            break problem(answer, 503, "overloaded").await;
        }
        taken.push((patient, ticket_of(&answer.json().await.unwrap())));
    };
    assert_eq!(told["limit"], "wait");
    let expected_ms = told["expected_wait_ms"].as_u64().unwrap();
    assert!(expected_ms > 5_000 && expected_ms <= 5_000 + alone_ms, "{told}, with {alone_ms} ms for one alone");
    let after_ms = told["retry_after_ms"].as_u64().unwrap();
    assert!((alone_ms..=3 * alone_ms).contains(&after_ms), "room for one comes in {alone_ms} ms: {told}");
    let most = 5_000 / alone_ms;
    assert!((most - 1..=most + 1).contains(&(taken.len() as u64)), "{} of {most}", taken.len());
    assert_eq!(kit.logged().await, logged + taken.len() as u64, "what was refused is not there");
    kit.until_metric(r#"orderly_ingress_shed_total{bound="wait"} 1"#).await;

    // A retry of one that was taken, and giving a booking back, are not refused.
    let (patient, ticket) = &taken[0];
    assert_eq!(kit.booking(patient, "k1", "s1").send().await.unwrap().status(), StatusCode::ACCEPTED);
    let cancel = kit.patient(patient, Method::DELETE, &format!("/v1/tickets/{ticket}")).send().await.unwrap();
    assert_eq!(cancel.status(), StatusCode::ACCEPTED);

    kit.decide(true);
    for (patient, ticket) in &taken {
        let path = format!("/v1/tickets/{ticket}?wait_ms=60000");
        let view: Value = kit.patient(patient, Method::GET, &path).send().await.unwrap().json().await.unwrap();
        assert_ne!(view["status"], "queued", "everybody who was taken is decided");
    }
    assert_eq!(kit.book("late", "k1", "s1").await["status"], "booked");
}
