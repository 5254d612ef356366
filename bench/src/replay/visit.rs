//! One connection's share of the bookings, played one after the other.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::HeaderValue;
use indicatif::ProgressBar;
use tokio::time::Instant;

use crate::api::{Api, Submission, Ticket};

use super::booking::Booking;

/// How long the server is asked to wait for an outcome.
const WAIT: Duration = Duration::from_secs(10);
/// The pause before another look, so that a server that doesn't wait is not asked without end.
const QUEUED_PAUSE: Duration = Duration::from_millis(10);
/// The pause after a broken connection.
const RECONNECT_PAUSE: Duration = Duration::from_millis(250);

/// A booking that is to be played.
#[derive(Debug)]
pub(super) struct Wish {
    index: usize,
    patient: usize,
    at: Duration,
    key: HeaderValue,
    body: Bytes,
}

/// The bookings of some patients, in order.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Whose they are.
    pub(super) patients: Vec<String>,
    known: HashMap<String, usize>,
    pub(super) wishes: Vec<Wish>,
}

/// What became of a booking.
#[derive(Clone, Debug)]
pub(super) struct Visit {
    pub(super) index: usize,
    /// The decided ticket, or why there is none.
    pub(super) outcome: Result<Ticket, String>,
    /// When it was sent first, from the start.
    pub(super) started: Duration,
    /// When the outcome was read, from the start.
    pub(super) learnt: Duration,
    /// It was sent again after an answer was lost, so that its place in the log may be that of the second record.
    pub(super) resent: bool,
    /// Answers that asked to come back.
    pub(super) turned_away: u64,
}

impl Queue {
    /// Puts a booking at the end.
    pub(super) fn push(&mut self, index: usize, booking: &Booking, session: &str, at: Duration) -> anyhow::Result<()> {
        let next = self.patients.len();
        let patient = *self.known.entry(booking.patient.clone()).or_insert_with(|| {
            self.patients.push(format!("patient-{}", booking.patient));
            next
        });
        let body = serde_json::to_vec(&serde_json::json!({ "session_id": session }))?.into();
        let key = HeaderValue::from(booking.appointment);
        self.wishes.push(Wish { index, patient, at, key, body });
        Ok(())
    }

    /// Plays them, each when its time has come and the one before it is decided.
    pub(super) async fn play(
        &self,
        api: &Api,
        bearers: &[HeaderValue],
        start: Instant,
        patience: Duration,
        bar: &ProgressBar,
    ) -> Vec<Visit> {
        let mut visits = Vec::with_capacity(self.wishes.len());
        for wish in &self.wishes {
            tokio::time::sleep_until(start + wish.at).await;
            visits.push(wish.play(api, &bearers[wish.patient], start, patience).await);
            bar.inc(1);
        }
        visits
    }
}

impl Wish {
    async fn play(&self, api: &Api, bearer: &HeaderValue, start: Instant, patience: Duration) -> Visit {
        let started = start.elapsed();
        let deadline = Instant::now() + patience;
        let (mut resent, mut turned_away) = (false, 0);
        let mut queued: Option<Ticket> = None;
        let outcome = loop {
            let answer = match &queued {
                None => api.book(bearer, &self.key, &self.body, Some(WAIT)).await,
                Some(ticket) => api.ticket(bearer, &ticket.ticket, WAIT).await,
            };
            let pause = match answer {
                Ok(Submission::Accepted(ticket)) if ticket.decided() => break Ok(ticket),
                Ok(Submission::Accepted(ticket)) => {
                    queued = Some(ticket);
                    QUEUED_PAUSE
                }
                Ok(Submission::Refused(why)) => break Err(why),
                Ok(Submission::Throttled(pause)) => {
                    turned_away += 1;
                    pause
                }
                // Some of these say that the booking may have been taken.
                Ok(Submission::Shed(pause)) => {
                    turned_away += 1;
                    resent |= queued.is_none();
                    pause
                }
                Err(_) => {
                    resent |= queued.is_none();
                    RECONNECT_PAUSE
                }
            };
            if Instant::now() + pause >= deadline {
                break Err(format!("no outcome within {} s", patience.as_secs()));
            }
            tokio::time::sleep(pause).await;
        };
        Visit { index: self.index, outcome, started, learnt: start.elapsed(), resent, turned_away }
    }
}
