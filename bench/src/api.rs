//! The calls of the API that a load client makes, and the parts of their answers that it reads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};
use jiff::civil::Date;
use orderly_domain::{Timestamp, work};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::client::{Answer, Client, Error, Stream};

/// The longest pause that an answer can ask for; a longer `Retry-After` is cut to it.
pub const PAUSE_MAX: Duration = Duration::from_secs(5);

/// The pause when an answer does not say how long.
const PAUSE_UNKNOWN: Duration = Duration::from_millis(200);

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Books.
    Patient,
    /// Opens sessions and sees the pipeline.
    Ops,
}

/// Where a ticket is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Not decided.
    Queued,
    /// It holds a number.
    Booked,
    /// It was refused.
    Rejected,
    /// It held a number.
    Cancelled,
}

/// A place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The partition.
    pub partition: u16,
    /// The offset in it.
    pub offset: u64,
}

/// A ticket.
#[derive(Clone, Debug, Deserialize)]
pub struct Ticket {
    /// The patient's handle.
    pub ticket: String,
    /// Where it is in its life.
    pub status: Status,
    /// Why it was refused.
    pub reason: Option<String>,
    /// The number it holds or held.
    pub number: Option<u32>,
    /// When it was decided, by the server's clock.
    pub decided_at: Option<Timestamp>,
    /// Where its intent lies.
    pub log: Option<Place>,
    /// In the answer to a cancellation: where that lies. `None` in all others, and when the ticket was cancelled before.
    pub cancellation: Option<Place>,
}

impl Ticket {
    /// Whether it has an outcome.
    #[must_use]
    pub fn decided(&self) -> bool {
        self.status != Status::Queued
    }
}

/// A session.
#[derive(Clone, Debug, Deserialize)]
pub struct Session {
    /// Its identifier.
    pub session_id: String,
    /// Its doctor.
    pub doctor_id: String,
    /// Its department.
    pub department: String,
    /// Its local day.
    pub day: Date,
    /// How many numbers it has.
    pub capacity: u32,
    /// How many are free.
    pub remaining: u32,
    /// `open`, `closed` or `scheduled`.
    pub state: String,
}

/// How an attempt to book or to cancel was answered.
#[derive(Debug)]
pub enum Submission {
    /// The log has it; the ticket is decided if it was waited for.
    Accepted(Ticket),
    /// 429: come back after the pause.
    Throttled(Duration),
    /// 503: come back after the pause.
    Shed(Duration),
    /// Any other answer: the status and what it says. Trying again does not help.
    Refused(String),
}

/// An answer, with the status that it came with.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// What it means.
    pub submission: Submission,
}

impl Reply {
    fn read(answer: &Answer) -> Self {
        Self { status: answer.status, submission: submission(answer) }
    }
}

/// The server's API.
#[derive(Debug)]
pub struct Api {
    client: Client,
    challenges_solved: AtomicU64,
}

impl Api {
    /// Speaks through `client`.
    #[must_use]
    pub const fn new(client: Client) -> Self {
        Self { client, challenges_solved: AtomicU64::new(0) }
    }

    /// How many challenges it has solved: the server took its patients for programs, which they are.
    pub fn challenges_solved(&self) -> u64 {
        self.challenges_solved.load(Ordering::Relaxed)
    }

    /// A token of the server's demo issuer, as the value of an `Authorization` header.
    ///
    /// # Errors
    /// When the server cannot be reached or issues no demo tokens.
    pub async fn token(&self, sub: &str, role: Role) -> anyhow::Result<HeaderValue> {
        #[derive(Serialize)]
        struct Wanted<'a> {
            sub: &'a str,
            role: Role,
        }
        #[derive(Deserialize)]
        struct Token {
            access_token: String,
        }
        let body = serde_json::to_vec(&Wanted { sub, role })?;
        let answer = self.client.send(json(Method::POST, "/v1/demo/token", body.into())?).await?;
        if answer.status != StatusCode::OK {
            bail!("no demo token ({}); start the server with `orderly serve --demo`", say(&answer));
        }
        let token: Token =
            serde_json::from_slice(&answer.body).context("the demo token's answer was not understood")?;
        Ok(HeaderValue::from_str(&format!("Bearer {}", token.access_token))?)
    }

    /// Books, and solves the challenge when there is one. With `wait` it asks the server to answer only when the ticket is decided, for at most that long.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn book(
        &self,
        bearer: &HeaderValue,
        key: &HeaderValue,
        body: &Bytes,
        wait: Option<Duration>,
    ) -> Result<Submission, Error> {
        self.reply_to_booking(bearer, key, body, wait).await.map(|reply| reply.submission)
    }

    /// [`Self::book`], with the answer's status.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn reply_to_booking(
        &self,
        bearer: &HeaderValue,
        key: &HeaderValue,
        body: &Bytes,
        wait: Option<Duration>,
    ) -> Result<Reply, Error> {
        let mut answer = None;
        loop {
            let mut request = authorised(Method::POST, "/v1/bookings", bearer, body.clone())?;
            request.headers_mut().insert(CONTENT_TYPE, JSON);
            request.headers_mut().insert("idempotency-key", key.clone());
            if let Some(wait) = wait {
                request.headers_mut().insert("prefer", prefer(wait)?);
            }
            let challenged = answer.is_some();
            request.headers_mut().extend(answer.take().map(|answer| (CHALLENGE_RESPONSE, answer)));
            let said = self.client.send(request).await?;
            match challenge(&said) {
                // Once: whose answer is not taken is refused.
                Some(asked) if !challenged => {
                    let solve = tokio::task::spawn_blocking(move || asked.solve());
                    answer = Some(solve.await.map_err(|error| Error::Broken(error.into()))?);
                    self.challenges_solved.fetch_add(1, Ordering::Relaxed);
                }
                _ => return Ok(Reply::read(&said)),
            }
        }
    }

    /// Asks for a cancellation, and to be answered when it is decided, within `wait`.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn cancel(&self, bearer: &HeaderValue, ticket: &str, wait: Duration) -> Result<Submission, Error> {
        self.reply_to_cancellation(bearer, ticket, wait).await.map(|reply| reply.submission)
    }

    /// [`Self::cancel`], with the answer's status.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn reply_to_cancellation(
        &self,
        bearer: &HeaderValue,
        ticket: &str,
        wait: Duration,
    ) -> Result<Reply, Error> {
        let mut request = authorised(Method::DELETE, &format!("/v1/tickets/{ticket}"), bearer, Bytes::new())?;
        request.headers_mut().insert("prefer", prefer(wait)?);
        self.client.send(request).await.map(|answer| Reply::read(&answer))
    }

    /// Looks a ticket up, and waits up to `wait` for its outcome.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn ticket(&self, bearer: &HeaderValue, ticket: &str, wait: Duration) -> Result<Submission, Error> {
        self.reply_to_look(bearer, ticket, wait).await.map(|reply| reply.submission)
    }

    /// [`Self::ticket`], with the answer's status.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn reply_to_look(&self, bearer: &HeaderValue, ticket: &str, wait: Duration) -> Result<Reply, Error> {
        let path = format!("/v1/tickets/{ticket}?wait_ms={}", wait.as_millis());
        self.client.send(authorised(Method::GET, &path, bearer, Bytes::new())?).await.map(|answer| Reply::read(&answer))
    }

    /// Follows a ticket's events; `None` when all streams are in use.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn events(&self, bearer: &HeaderValue, ticket: &str) -> Result<Option<Stream>, Error> {
        let request = authorised(Method::GET, &format!("/v1/tickets/{ticket}/events"), bearer, Bytes::new())?;
        self.client.stream(request.map(Full::new)).await
    }

    /// All sessions of today and later, of whatever state.
    ///
    /// # Errors
    /// When there is no answer, or not the one expected.
    pub async fn sessions(&self) -> anyhow::Result<Vec<Session>> {
        #[derive(Deserialize)]
        struct Page {
            sessions: Vec<Session>,
            next_cursor: Option<String>,
        }
        let mut sessions = Vec::new();
        let mut path = "/v1/sessions".to_owned();
        loop {
            let answer = self.client.send(plain(&path)?).await?;
            if answer.status != StatusCode::OK {
                bail!("the sessions could not be listed: {}", say(&answer));
            }
            let page: Page = serde_json::from_slice(&answer.body).context("the list of sessions was not understood")?;
            sessions.extend(page.sessions);
            let Some(cursor) = page.next_cursor else { return Ok(sessions) };
            path = format!("/v1/sessions?cursor={cursor}");
        }
    }

    /// Opens sessions; `ndjson` has one a line.
    ///
    /// # Errors
    /// When there is no answer, or not the one expected.
    pub async fn open_sessions(&self, bearer: &HeaderValue, ndjson: String) -> anyhow::Result<()> {
        let body = Bytes::from(ndjson);
        loop {
            let mut request = authorised(Method::PUT, "/v1/sessions", bearer, body.clone())?;
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
            let answer = self.client.send(request).await?;
            match answer.status {
                StatusCode::ACCEPTED => return Ok(()),
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                    tokio::time::sleep(pause(&answer)).await;
                }
                _ => bail!("the sessions could not be opened: {}", say(&answer)),
            }
        }
    }

    /// What a call that only reads answers.
    ///
    /// # Errors
    /// When there is no answer, or not the one expected.
    pub async fn read<T: DeserializeOwned>(&self, path: &str, bearer: &HeaderValue) -> anyhow::Result<T> {
        let answer = self.client.send(authorised(Method::GET, path, bearer, Bytes::new())?).await?;
        if answer.status != StatusCode::OK {
            bail!("{path} could not be read: {}", say(&answer));
        }
        serde_json::from_slice(&answer.body).with_context(|| format!("the answer of {path} was not understood"))
    }

    /// Puts a document in the place of what is there.
    ///
    /// # Errors
    /// When there is no answer, or not the one expected.
    pub async fn replace(&self, path: &str, bearer: &HeaderValue, document: &impl Serialize) -> anyhow::Result<()> {
        let mut request = authorised(Method::PUT, path, bearer, serde_json::to_vec(document)?.into())?;
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let answer = self.client.send(request).await?;
        anyhow::ensure!(answer.status == StatusCode::OK, "{path} could not be replaced: {}", say(&answer));
        Ok(())
    }

    /// The sum of a metric over its labels; `None` when the server does not tell.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let answer = self.client.send(plain("/metrics").ok()?).await.ok()?;
        metric(std::str::from_utf8(&answer.body).ok()?, name)
    }

    /// The server's resident memory in bytes, from its metrics; `None` when it does not tell.
    pub async fn resident_bytes(&self) -> Option<u64> {
        let bytes = self.metric("process_resident_memory_bytes").await?;
        // Formatted rather than cast: a float has no lossless way to an integer.
        format!("{bytes:.0}").parse().ok()
    }
}

const CHALLENGE_RESPONSE: HeaderName = HeaderName::from_static("challenge-response");

/// A challenge that a booking has to answer: proof of work.
#[derive(Deserialize)]
struct Challenge {
    token: String,
    bits: u32,
}

impl Challenge {
    /// The answer, as a header's value. Takes about 2^bits hashes.
    fn solve(&self) -> HeaderValue {
        let answer = work::solve(&self.token, self.bits);
        HeaderValue::try_from(format!("{}.{answer}", self.token)).unwrap_or(HeaderValue::from_static("unsendable"))
    }
}

/// The challenge in an answer, if that is what it is.
fn challenge(answer: &Answer) -> Option<Challenge> {
    #[derive(Deserialize)]
    struct Problem {
        challenge: Challenge,
    }
    let problem = || serde_json::from_slice::<Problem>(&answer.body).ok();
    if answer.status == StatusCode::PRECONDITION_REQUIRED { problem().map(|problem| problem.challenge) } else { None }
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A `Prefer` header (RFC 7240).
fn prefer(wait: Duration) -> Result<HeaderValue, Error> {
    HeaderValue::from_str(&format!("wait={}", wait.as_secs())).map_err(|error| Error::Broken(error.into()))
}

fn plain(path: &str) -> Result<Request<Bytes>, Error> {
    Request::get(path).body(Bytes::new()).map_err(|error| Error::Broken(error.into()))
}

fn json(method: Method, path: &str, body: Bytes) -> Result<Request<Bytes>, Error> {
    let request = Request::builder().method(method).uri(path).header(CONTENT_TYPE, JSON).body(body);
    request.map_err(|error| Error::Broken(error.into()))
}

fn authorised(method: Method, path: &str, bearer: &HeaderValue, body: Bytes) -> Result<Request<Bytes>, Error> {
    let request = Request::builder().method(method).uri(path).header(AUTHORIZATION, bearer.clone()).body(body);
    request.map_err(|error| Error::Broken(error.into()))
}

fn submission(answer: &Answer) -> Submission {
    match answer.status {
        StatusCode::OK | StatusCode::ACCEPTED => match serde_json::from_slice(&answer.body) {
            Ok(ticket) => Submission::Accepted(ticket),
            Err(error) => Submission::Refused(format!("an answer that is no ticket ({error}): {}", say(answer))),
        },
        StatusCode::TOO_MANY_REQUESTS => Submission::Throttled(pause(answer)),
        StatusCode::SERVICE_UNAVAILABLE => Submission::Shed(pause(answer)),
        _ => Submission::Refused(say(answer)),
    }
}

/// How long an answer asks to stay away: the problem's milliseconds, or the header's whole seconds.
pub(crate) fn pause(answer: &Answer) -> Duration {
    #[derive(Deserialize)]
    struct Problem {
        retry_after_ms: u64,
    }
    let exact = serde_json::from_slice(&answer.body).ok().map(|problem: Problem| problem.retry_after_ms);
    let header = || answer.header("retry-after")?.parse().ok().map(Duration::from_secs);
    exact.map(Duration::from_millis).or_else(header).unwrap_or(PAUSE_UNKNOWN).min(PAUSE_MAX)
}

/// The status and the beginning of the body, for people.
fn say(answer: &Answer) -> String {
    let text = String::from_utf8_lossy(&answer.body);
    format!("{} {}", answer.status, text.chars().take(300).collect::<String>())
}

/// The sum of the values of a metric in Prometheus' text.
fn metric(text: &str, name: &str) -> Option<f64> {
    let value = |line: &str| {
        let rest = line.strip_prefix(name).filter(|rest| rest.starts_with([' ', '{']))?;
        rest.rsplit('}').next()?.split_whitespace().next()?.parse::<f64>().ok()
    };
    text.lines().filter_map(value).reduce(|sum, value| sum + value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_a_metric_up() {
        let text = "# TYPE bytes gauge\nbytes 1.2e+07\nrows{feed=\"a b\"} 3\nrows{feed=\"c\"} 4\nrows_total 9\n";
        assert_eq!(metric(text, "bytes"), Some(12_000_000.0));
        assert_eq!(metric(text, "rows"), Some(7.0));
        assert_eq!(metric(text, "row"), None);
    }

    #[test]
    fn a_pause_is_what_the_answer_says_within_bounds() {
        let of = |header, body| pause(&Answer::of(StatusCode::TOO_MANY_REQUESTS, header, body));
        assert_eq!(of("", ""), PAUSE_UNKNOWN);
        assert_eq!(of("Retry-After: 2\r\n", "{}"), Duration::from_secs(2));
        assert_eq!(of("Retry-After: 2\r\n", r#"{"retry_after_ms":1200}"#), Duration::from_millis(1_200));
        assert_eq!(of("Retry-After: 86400\r\n", ""), PAUSE_MAX);
    }
}
