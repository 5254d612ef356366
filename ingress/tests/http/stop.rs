//! Stopping: streams and waits end, and the server returns.

use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::kit::Kit;
use crate::streams::Events;

#[tokio::test(flavor = "multi_thread")]
async fn ends_streams_and_waits() {
    let mut kit = Kit::with_session(5).await;
    kit.decide(false);
    let queued: Value = kit.booking("ann", "k1", "s1").send().await.unwrap().json().await.unwrap();
    let path = queued["links"]["events"].as_str().unwrap().to_owned();
    let mut ticket = Events::of(kit.patient("ann", Method::GET, &path).send().await.unwrap());
    assert_eq!(ticket.next().await.unwrap().0, "position");
    let mut sessions = Events::of(kit.ask(Method::GET, "/v1/sessions/events").send().await.unwrap());
    assert_eq!(sessions.next().await.unwrap().0, "snapshot");
    let path = format!("{}?wait_ms=60000", queued["links"]["self"].as_str().unwrap());
    let poll = tokio::spawn(kit.patient("ann", Method::GET, &path).send());
    kit.until_metric("orderly_ingress_waiters 2\n").await;

    kit.stop.take().unwrap().send(()).unwrap();
    let poll = poll.await.unwrap().unwrap();
    assert_eq!(poll.status(), StatusCode::OK);
    assert_eq!(poll.json::<Value>().await.unwrap()["status"], "queued");
    while let Some((name, ..)) = ticket.next().await {
        assert_eq!(name, "position");
    }
    while let Some((name, ..)) = sessions.next().await {
        assert_eq!(name, "changes");
    }
    (&mut kit.server).await.unwrap();
    assert!(kit.ask(Method::GET, "/healthz").send().await.is_err());
}
