//! A patient of a demo server, who asks and is told whatever comes.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::server::Server;

/// Long enough for any machine; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(120);

/// Asks under one key, which is the patient's name.
pub(crate) struct Patient {
    name: String,
    url: String,
    bearer: String,
    http: reqwest::Client,
}

impl Patient {
    pub(crate) async fn of(server: &Server, name: &str) -> Self {
        let (http, url) = (reqwest::Client::new(), server.url().to_owned());
        let body = json!({ "sub": name, "role": "patient" });
        let token = http.post(format!("{url}/v1/demo/token")).json(&body).send().await.expect("answered");
        let token: Value = token.json().await.expect("JSON");
        let bearer = token["access_token"].as_str().expect("a token").to_owned();
        Self { name: name.to_owned(), url, bearer, http }
    }

    /// A session that can be booked.
    pub(crate) async fn session(&self) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let sessions = self.http.get(format!("{}/v1/sessions?state=open", self.url)).send().await;
            let sessions: Value = sessions.expect("answered").json().await.expect("JSON");
            if let Some(open) = sessions["sessions"].as_array().and_then(|open| open.first()) {
                return open["session_id"].as_str().expect("an id").to_owned();
            }
            assert!(Instant::now() < deadline, "the demo's sessions are decided in time");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Books, and waits for the outcome for as long as is asked.
    ///
    /// # Errors
    /// When there is no answer.
    pub(crate) async fn book(&self, session: &str, wait_s: u32) -> reqwest::Result<(u16, Value)> {
        let request = self.http.post(format!("{}/v1/bookings", self.url)).bearer_auth(&self.bearer);
        let request = request.header("idempotency-key", &self.name).header("prefer", format!("wait={wait_s}"));
        let answer = request.json(&json!({ "session_id": session })).send().await?;
        Ok((answer.status().as_u16(), answer.json().await?))
    }

    /// Books until there is an outcome; on the way it may only be told that it is not decided, or not taken.
    pub(crate) async fn insist(&self, session: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.book(session, 30).await.expect("answered") {
                (200, ticket) => return ticket,
                (202 | 503, _) => assert!(Instant::now() < deadline, "it is decided in time"),
                other => panic!("{other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What became of a ticket.
    pub(crate) async fn decided(&self, ticket: &Value) -> Value {
        let path = ticket["links"]["self"].as_str().expect("a link");
        let asked = self.http.get(format!("{}{path}?wait_ms=30000", self.url)).bearer_auth(&self.bearer).send().await;
        asked.expect("answered").json().await.expect("JSON")
    }
}

/// Whether an answer is a problem of this kind.
pub(crate) fn is_problem(body: &Value, kind: &str) -> bool {
    body["type"].as_str().is_some_and(|told| told.ends_with(&format!("/{kind}")))
}
