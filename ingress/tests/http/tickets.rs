//! Tickets: whose they are, and how a booking is given back.

use orderly_domain::{Position, SessionId, ticket};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::kit::{Kit, SECRET, at, problem, session, ticket_of};

#[tokio::test(flavor = "multi_thread")]
async fn only_their_owner_sees_them() {
    let kit = Kit::with_session(5).await;
    let ticket = ticket_of(&kit.book("ann", "k1", "s1").await);
    let foreign = ticket::Codec::new(ticket::Key::new(1, &[7; 32]).unwrap(), vec![]);
    let handle = ticket::Handle {
        id: ticket::Id::from_bytes([1; 16]),
        position: Position { partition: 0, offset: 0 },
        logged_at: at(crate::kit::NOW),
        session_id: "s1".parse::<SessionId>().unwrap(),
    };
    let forged = foreign.encode(&handle, &"ann".parse().unwrap());
    // Signed by this server's key, for a record that is another's.
    let ours = ticket::Codec::new(ticket::Key::new(1, SECRET).unwrap(), vec![]);
    let partition = kit.book("ann", "k2", "s1").await["log"]["partition"].as_u64().unwrap();
    let position = Position { partition: u16::try_from(partition).unwrap(), offset: 0 };
    let stale = ours.encode(&ticket::Handle { position, ..handle }, &"ann".parse().unwrap());
    let truncated = &ticket[..ticket.len() - 2];
    for (patient, text) in
        [("bob", ticket.as_str()), ("ann", truncated), ("ann", &forged), ("ann", "x"), ("ann", "%00%ff")]
    {
        for (method, path) in [
            (Method::GET, format!("/v1/tickets/{text}")),
            (Method::DELETE, format!("/v1/tickets/{text}")),
            (Method::GET, format!("/v1/tickets/{text}/events")),
        ] {
            let answer = kit.patient(patient, method, &path).send().await.unwrap();
            // What is not even text is not found either, or cannot be read.
            if text == "%00%ff" {
                assert!(answer.status().is_client_error());
            } else {
                problem(answer, 404, "unknown-ticket").await;
            }
        }
    }
    let answer = kit.patient("ann", Method::GET, &format!("/v1/tickets/{stale}")).send().await.unwrap();
    problem(answer, 404, "unknown-ticket").await;
    let answer = kit.patient("ann", Method::GET, &format!("/v1/tickets/{ticket}")).send().await.unwrap();
    assert_eq!(answer.headers()["cache-control"], "no-store");
    assert_eq!(answer.json::<Value>().await.unwrap()["status"], "booked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_number_goes_to_the_next_in_line() {
    let kit = Kit::with_session(1).await;
    let ticket = ticket_of(&kit.book("ann", "k1", "s1").await);
    let path = format!("/v1/tickets/{ticket}");
    assert_eq!(kit.book("bob", "k1", "s1").await["reason"], "sold_out");
    let answer = kit.patient("ann", Method::DELETE, &path).header("prefer", "wait=60").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let cancelled: Value = answer.json().await.unwrap();
    assert_eq!((&cancelled["status"], &cancelled["number"]), (&"cancelled".into(), &1.into()));
    assert!(cancelled["cancellation"]["offset"].is_u64());
    // Again it changes nothing.
    let logged = kit.logged().await;
    let again = kit.patient("ann", Method::DELETE, &path).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::ACCEPTED);
    assert_eq!(kit.logged().await, logged);
    assert_eq!(kit.book("bob", "k2", "s1").await["number"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_in_line_can_be_given_back() {
    let kit = Kit::with_session(1).await;
    kit.decide(false);
    let queued: Value = kit.booking("ann", "k1", "s1").send().await.unwrap().json().await.unwrap();
    let path = format!("/v1/tickets/{}", ticket_of(&queued));
    let answer = kit.patient("ann", Method::DELETE, &path).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    kit.decide(true);
    assert_eq!(kit.book("bob", "k1", "s1").await["number"], 1);
    let view: Value = kit.patient("ann", Method::GET, &path).send().await.unwrap().json().await.unwrap();
    assert_eq!(view["status"], "cancelled");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_or_is_over_cannot_be_given_back() {
    let kit = Kit::with_session(1).await;
    let booked = ticket_of(&kit.book("ann", "k1", "s1").await);
    let refused = ticket_of(&kit.book("bob", "k1", "s1").await);
    let answer = kit.patient("bob", Method::DELETE, &format!("/v1/tickets/{refused}")).send().await.unwrap();
    problem(answer, 409, "not-booked").await;
    kit.clock.set(at("2026-11-23T04:00:00Z"));
    let answer = kit.patient("ann", Method::DELETE, &format!("/v1/tickets/{booked}")).send().await.unwrap();
    problem(answer, 409, "session-over").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_session_tells_its_patients_why() {
    let kit = Kit::with_session(5).await;
    kit.open(&[session("s2", "wang", 5)]).await;
    let ticket = ticket_of(&kit.book("ann", "k1", "s1").await);
    let close = kit.ops(Method::POST, "/v1/sessions/s1/close").header("prefer", "wait=60");
    let answer = close.json(&json!({"cause": "停诊"})).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let closed: Value = answer.json().await.unwrap();
    assert_eq!((&closed["session"]["state"], &closed["session"]["remaining"]), (&"closed".into(), &0.into()));
    let path = format!("/v1/tickets/{ticket}");
    let view: Value = kit.patient("ann", Method::GET, &path).send().await.unwrap().json().await.unwrap();
    assert_eq!((&view["status"], &view["reason"]), (&"cancelled".into(), &"session_closed".into()));
    assert_eq!((&view["cause"], &view["session"]["state"]), (&"停诊".into(), &"closed".into()));
    assert_eq!(kit.book("bob", "k1", "s1").await["reason"], "session_closed");
}
