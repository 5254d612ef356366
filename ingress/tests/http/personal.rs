//! Personal data over HTTP: sealed on its way in, masked on its way out, and shown to ops alone, who are audited.

use orderly_domain::port::log::Delivery;
use orderly_domain::port::{Audit as _, IntentLog as _, Store as _};
use orderly_domain::{Command, envelope};
use orderly_ingress::personal::{Key, Ring};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::kit::{Kit, problem, session, ticket_of};

fn li() -> Value {
    json!({"name": "李明", "phone": "13812341234", "identity_number": "11010519491231002X"})
}

/// Books with these data, and waits for the outcome.
async fn book(kit: &Kit, patient: &str, session: &str, given: &Value) -> Value {
    let request = kit.patient(patient, Method::POST, "/v1/bookings").header("idempotency-key", "k1");
    let request = request.json(&json!({"session_id": session, "patient": given})).header("prefer", "wait=60");
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    answer.json().await.unwrap()
}

async fn ticket(kit: &Kit, patient: &str, booked: &Value) -> Value {
    let path = format!("/v1/tickets/{}", ticket_of(booked));
    kit.patient(patient, Method::GET, &path).send().await.unwrap().json().await.unwrap()
}

async fn appointments(kit: &Kit, query: &str) -> Value {
    let answer = kit.ops(Method::GET, &format!("/v1/sessions/s1/appointments{query}")).send().await.unwrap();
    assert_eq!((answer.status(), &answer.headers()["cache-control"]), (StatusCode::OK, &"no-store".parse().unwrap()));
    answer.json().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_masked_for_its_owner_and_opened_for_ops_alone() {
    let kit = Kit::with_session(5).await;
    let ann = book(&kit, "ann", "s1", &li()).await;
    book(&kit, "bob", "s1", &json!({"phone": "62345678", "name": null})).await;
    book(&kit, "cat", "s1", &Value::Null).await;
    let masked = json!({"name": "李*", "phone": "138****1234", "identity_number": "110***********002X"});
    assert_eq!(ticket(&kit, "ann", &ann).await["patient"], masked);

    let listed = appointments(&kit, "").await;
    let all = listed["appointments"].as_array().unwrap();
    let (numbers, patients): (Vec<_>, Vec<_>) = all.iter().map(|row| (&row["number"], &row["patient"])).unzip();
    assert_eq!(numbers, [1, 2, 3]);
    assert_eq!(patients, [&masked, &json!({"phone": "****5678"}), &Value::Null]);
    assert!(all[2].as_object().unwrap().get("patient").is_none(), "left out where nothing was given");

    let entries = kit.audit.extent().await.unwrap().head.seq;
    let name = all[0]["appointment"].as_str().unwrap();
    let path = format!("/v1/appointments/{name}/patient");
    let shown: Value = kit.ops(Method::GET, &path).send().await.unwrap().json().await.unwrap();
    assert_eq!((&shown["patient"], &shown["patient_id"], &shown["number"]), (&li(), &json!("ann"), &json!(1)));
    let entry = kit.audit.scan(entries + 1, 10).await.unwrap().pop().unwrap().entry;
    assert_eq!((entry.actor.as_deref(), entry.status), (Some("chief"), 200));
    assert_eq!(
        (entry.route.as_str(), entry.target),
        ("/v1/appointments/{appointment}/patient", format!("appointment={name}"))
    );
    for wrong in ["99-0", "x", "0-99", "0", "-"] {
        let answer = kit.ops(Method::GET, &format!("/v1/appointments/{wrong}/patient")).send().await.unwrap();
        problem(answer, 404, "unknown-appointment").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn those_of_a_closed_session_are_called_and_those_who_cancel_are_forgotten() {
    let kit = Kit::with_session(5).await;
    let ann = book(&kit, "ann", "s1", &li()).await;
    book(&kit, "bob", "s1", &li()).await;
    let name = appointments(&kit, "").await["appointments"][0]["appointment"].as_str().unwrap().to_owned();
    let path = format!("/v1/tickets/{}", ticket_of(&ann));
    kit.patient("ann", Method::DELETE, &path).header("prefer", "wait=60").send().await.unwrap();
    let after = ticket(&kit, "ann", &ann).await;
    assert_eq!((&after["status"], &after["patient"]), (&json!("cancelled"), &Value::Null));
    let answer = kit.ops(Method::GET, &format!("/v1/appointments/{name}/patient")).send().await.unwrap();
    problem(answer, 404, "unknown-appointment").await;
    assert_eq!(kit.store.details_after(None, 10).await.unwrap().len(), 1);

    let close = kit.ops(Method::POST, "/v1/sessions/s1/close").header("prefer", "wait=60");
    assert_eq!(close.json(&json!({"cause": "ill"})).send().await.unwrap().status(), StatusCode::OK);
    let listed = appointments(&kit, "").await;
    let [bob] = &listed["appointments"].as_array().unwrap()[..] else { panic!("{listed}") };
    assert_eq!((&bob["status"], &bob["patient"]["phone"]), (&json!("session_closed"), &json!("138****1234")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_comes_in_pages() {
    let kit = Kit::with_session(5).await;
    for patient in ["ann", "bob", "cat", "dan", "eve"] {
        book(&kit, patient, "s1", &li()).await;
    }
    let (mut seen, mut query) = (Vec::new(), "?limit=2".to_owned());
    loop {
        let page = appointments(&kit, &query).await;
        seen.extend(page["appointments"].as_array().unwrap().iter().map(|row| row["number"].as_u64().unwrap()));
        let Some(after) = page["next_after"].as_str() else { break };
        query = format!("?limit=2&after={after}");
    }
    assert_eq!(seen, [1, 2, 3, 4, 5]);
    for wrong in ["?limit=0", "?limit=2001", "?after=x", "?before=1"] {
        let answer = kit.ops(Method::GET, &format!("/v1/sessions/s1/appointments{wrong}")).send().await.unwrap();
        problem(answer, 400, "malformed-request").await;
    }
    let answer = kit.ops(Method::GET, "/v1/sessions/s9/appointments").send().await.unwrap();
    problem(answer, 404, "unknown-session").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_used_is_refused_without_repeating_it() {
    let kit = Kit::with_session(5).await;
    let logged = kit.logged().await;
    for (given, field) in [
        (json!("13812341234"), "patient"),
        (json!({"phone": 13_812_341_234_u64}), "phone"),
        (json!({"phone": "138 1234 1234"}), "phone"),
        (json!({"name": "  "}), "name"),
        (json!({"identity_number": "110105/19491231002X"}), "identity_number"),
        (json!({"mobile": "13812341234"}), "patient"),
    ] {
        let request = kit.patient("ann", Method::POST, "/v1/bookings").header("idempotency-key", "k1");
        let answer = request.json(&json!({"session_id": "s1", "patient": given})).send().await.unwrap();
        let body = problem(answer, 422, "invalid-patient").await;
        assert_eq!(body["errors"][0]["field"], field);
        let told = body.to_string();
        assert!(!told.contains("1381234") && !told.contains("1234 1234") && !told.contains("1949"), "{told}");
    }
    assert_eq!(kit.logged().await, logged, "nothing was taken");
}

/// What lies in the log is sealed, with the key that seals and for that ticket; a booking without data has none.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_has_it_sealed() {
    let kit = Kit::with_session(5).await;
    book(&kit, "ann", "s1", &li()).await;
    book(&kit, "bob", "s1", &json!({})).await;
    let mut details = Vec::new();
    let starts: Vec<_> =
        kit.log.extents().await.unwrap().iter().map(|extent| (extent.partition, extent.start)).collect();
    let mut reader = kit.log.scan(&starts).await.unwrap();
    while details.len() < 2 {
        // A scan is not told of assignments.
        let Delivery::Records(records) = reader.next(100).await.unwrap() else { continue };
        for record in records {
            let text = String::from_utf8_lossy(&record.payload).into_owned();
            assert!(!text.contains("13812341234") && !text.contains("110105"), "{text}");
            if let Command::Book(book) = envelope::decode(&record.payload).unwrap().command {
                details.push(book.details);
            }
        }
    }
    let sealed = details[0].as_ref().unwrap();
    assert_eq!(sealed.iter().map(|(_, sealed)| sealed.key_id()).collect::<Vec<_>>(), [Some(1); 3]);
    assert!(details[1].is_none(), "nothing given, nothing kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_key_is_taken_over_and_a_lost_one_hides_nothing_else() {
    let kit = Kit::with_session(5).await;
    let key = |id: u16| Key::new(id, &[u8::try_from(id).unwrap(); Key::BYTES]).unwrap();
    let ann = book(&kit, "ann", "s1", &li()).await;
    kit.personal.replace(Ring::new(key(2), vec![key(1)]));
    let bob = book(&kit, "bob", "s1", &li()).await;
    let (of_ann, of_bob) = (ticket(&kit, "ann", &ann).await, ticket(&kit, "bob", &bob).await);
    assert_eq!((&of_ann["patient"]["phone"], &of_bob["patient"]), (&json!("138****1234"), &of_ann["patient"]));
    let rows = kit.store.details_after(None, 10).await.unwrap();
    let keys: Vec<_> = rows.iter().map(|row| row.fields.phone.as_ref().unwrap().key_id()).collect();
    assert_eq!(keys, [Some(1), Some(2)]);

    kit.personal.replace(Ring::new(key(2), vec![]));
    let of_ann = ticket(&kit, "ann", &ann).await;
    assert_eq!((&of_ann["status"], &of_ann["patient"]), (&json!("booked"), &json!({})));
    let name = appointments(&kit, "").await["appointments"][0]["appointment"].as_str().unwrap().to_owned();
    let answer = kit.ops(Method::GET, &format!("/v1/appointments/{name}/patient")).send().await.unwrap();
    let told = problem(answer, 503, "unavailable").await;
    assert!(told["detail"].as_str().unwrap().contains("key 1"), "{told}");
    kit.until_metric("orderly_ingress_personal_sealed_total 6").await;
    assert_eq!(ticket(&kit, "bob", &bob).await["patient"]["phone"], "138****1234");
}

/// A session that nobody gave data for is listed like any other.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_without_bookings_has_an_empty_list() {
    let kit = Kit::start().await;
    kit.open(&[session("s1", "li", 3)]).await;
    assert_eq!(appointments(&kit, "").await, json!({"appointments": [], "next_after": null}));
}
