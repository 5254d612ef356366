//! Patients who tell whether everything works: one books in each partition and waits for the outcome.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use futures::future::try_join_all;
use hyper::header::HeaderValue;
use orderly_bench::api::{Api, Role, Submission};
use orderly_bench::client::Client;

use crate::cluster::{Cluster, PARTITIONS};
use crate::recovery::{PATIENCE, POLL};
use crate::sessions;

const PREFIX: &str = "probe-";
/// How long one answer may take, waiting included.
const ANSWER_MAX: Duration = Duration::from_secs(4);
/// How long a patient asks to be told the outcome; the server pushes it within that time.
const WAIT: Duration = Duration::from_secs(3);
const CAPACITY: u32 = 2_000;

/// A session in each partition, and whoever books there.
#[derive(Debug)]
pub(crate) struct Probe {
    api: Api,
    bodies: Vec<Bytes>,
    patients: AtomicU64,
}

impl Probe {
    /// Opens the sessions.
    ///
    /// # Errors
    /// When they cannot be opened.
    pub(crate) async fn open(cluster: &Cluster) -> anyhow::Result<Self> {
        let mut opened = Vec::new();
        let mut bodies = Vec::new();
        for partition in 0..PARTITIONS {
            let id = format!("{PREFIX}{partition}");
            let doctor = sessions::doctor(partition, 0)?;
            opened.push(sessions::session(&id, &doctor, &id, 0, CAPACITY)?);
            bodies.push(serde_json::to_vec(&serde_json::json!({ "session_id": id }))?.into());
        }
        sessions::open(cluster, &cluster.ops, PREFIX, &opened).await?;
        let api = Api::new(Client::new(&cluster.urls(), 2 * usize::from(PARTITIONS), ANSWER_MAX)?);
        Ok(Self { api, bodies, patients: AtomicU64::new(0) })
    }

    /// Books in every partition and returns when all patients know their outcome.
    ///
    /// # Errors
    /// When one does not in time, or is refused what is due.
    pub(crate) async fn all_answer(&self) -> anyhow::Result<()> {
        let bookings = try_join_all(self.bodies.iter().map(|body| self.book(body, true)));
        tokio::time::timeout(PATIENCE, bookings).await.context("bookings in some partition get no outcome")?.map(drop)
    }

    /// Books in every partition and returns when all bookings are taken, whether or not anybody decides them.
    ///
    /// # Errors
    /// As [`Probe::all_answer`].
    pub(crate) async fn all_accepted(&self) -> anyhow::Result<()> {
        let bookings = try_join_all(self.bodies.iter().map(|body| self.book(body, false)));
        tokio::time::timeout(PATIENCE, bookings).await.context("bookings in some partition are not taken")?.map(drop)
    }

    /// Books, and waits for the outcome if that is wanted.
    async fn book(&self, body: &Bytes, outcome: bool) -> anyhow::Result<()> {
        let patient = format!("{PREFIX}{}", self.patients.fetch_add(1, Ordering::Relaxed));
        let bearer = loop {
            match self.api.token(&patient, Role::Patient).await {
                Ok(bearer) => break bearer,
                Err(_) => tokio::time::sleep(POLL).await,
            }
        };
        let key = HeaderValue::from_str(&patient)?;
        let mut ticket: Option<String> = None;
        loop {
            let answer = match &ticket {
                None => self.api.book(&bearer, &key, body, outcome.then_some(WAIT)).await,
                Some(ticket) => self.api.ticket(&bearer, ticket, WAIT).await,
            };
            match answer {
                Ok(Submission::Accepted(known)) if known.decided() || !outcome => return Ok(()),
                Ok(Submission::Accepted(known)) => ticket = Some(known.ticket),
                Ok(Submission::Refused(why)) => bail!("{patient} was refused: {why}"),
                // Sooner than asked to: the moment is what counts.
                Ok(Submission::Throttled(_) | Submission::Shed(_)) | Err(_) => tokio::time::sleep(POLL).await,
            }
        }
    }
}
