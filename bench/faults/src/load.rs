//! The rush in whose middle faults happen.

use std::path::Path;

use anyhow::Context as _;
use orderly_bench::rush;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cluster::{Cluster, PARTITIONS};
use crate::sessions;

const DEPARTMENTS: usize = 4;
/// In each partition, so that every pipeline has something to decide.
const DOCTORS: usize = 2;
const DAYS: i64 = 3;
const CAPACITY: u32 = 10;
const PATIENTS: usize = 400;
/// Longer than any faults that happen in one rush.
const SECONDS_MAX: f64 = 900.0;
/// How long an outcome may take, from the end of the arrivals.
const DRAIN_SECONDS: u64 = 180;

/// A rush that goes on until it is ended, for sessions that are its own.
#[derive(Debug)]
pub(crate) struct Load {
    end: watch::Sender<bool>,
    playing: JoinHandle<anyhow::Result<rush::Report>>,
}

impl Load {
    /// Opens the sessions and starts the rush.
    ///
    /// # Errors
    /// When the sessions cannot be opened.
    pub(crate) async fn start(cluster: &Cluster, round: u64, rate: f64) -> anyhow::Result<Self> {
        let prefix = format!("round-{round}-");
        sessions::open(cluster, &cluster.ops, &prefix, &hospital(&prefix)?).await?;
        let options = rush::Options {
            seconds: SECONDS_MAX,
            base_rate: rate,
            peak_factor: 1.0,
            sessions: prefix,
            patients: PATIENTS,
            zipf: 0.7,
            retry_share: 0.15,
            cancel_share: 0.25,
            poll_share: 0.3,
            sse: 100,
            connections: 128,
            drain_seconds: DRAIN_SECONDS,
            seed: round,
            pid: None,
            json: None,
            plot: None,
        };
        let (end, ended) = watch::channel(false);
        let urls = cluster.urls();
        let playing = tokio::spawn(async move { rush::run_until(&urls, &options, ended).await });
        Ok(Self { end, playing })
    }

    /// Ends the arrivals and waits for every outcome.
    ///
    /// # Errors
    /// When it could not be played.
    pub(crate) async fn end(self) -> anyhow::Result<rush::Report> {
        self.end.send_replace(true);
        self.playing.await.context("the rush panicked")?
    }

    /// Writes what a rush came to, where something was wrong with it.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn keep(report: &rush::Report, folder: &Path) -> anyhow::Result<()> {
        let path = folder.join("rush.json");
        std::fs::write(&path, serde_json::to_vec_pretty(report)?)
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Every doctor has a department and a session a day.
fn hospital(prefix: &str) -> anyhow::Result<Vec<Value>> {
    let mut all = Vec::new();
    let doctors = (0..PARTITIONS).flat_map(|partition| (0..DOCTORS).map(move |nth| sessions::doctor(partition, nth)));
    for (number, doctor) in doctors.enumerate() {
        let (doctor, department) = (doctor?, format!("{prefix}department-{}", number % DEPARTMENTS));
        for day in 0..DAYS {
            all.push(sessions::session(&format!("{prefix}{number}-{day}"), &doctor, &department, day, CAPACITY)?);
        }
    }
    Ok(all)
}
