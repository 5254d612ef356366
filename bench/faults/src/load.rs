//! The rush in whose middle faults happen.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use orderly_bench::rush;
use orderly_domain::session::CAPACITY_MAX;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cluster::{Cluster, PARTITIONS};
use crate::sessions;

const DEPARTMENTS: usize = 4;
/// In each partition, so that every pipeline has something to decide.
const DOCTORS: usize = 2;
const DAYS: i64 = 3;
/// Of so many sessions of a doctor and of a day, one is small.
const SMALL_EVERY: usize = 4;
/// Places of a small session, which is full within seconds.
const SMALL_CAPACITY: u32 = 10;
/// Places of the others, for each intent a second: the most popular one is asked for by one intent in fifteen, so that even
/// that has free places for half a minute, longer than most rushes, and the others for minutes.
const PLACES_PER_RATE: f64 = 2.0;
/// Patients, for each intent a second: not so few that most hold an appointment of every department's day soon.
const PATIENTS_PER_RATE: f64 = 3.0;
/// However few intents there are.
const PATIENTS_MIN: u32 = 100;
/// Longer than any faults that happen in one rush.
const SECONDS_MAX: f64 = 900.0;
/// How long an outcome may take, from the end of the arrivals.
const DRAIN_SECONDS: u64 = 180;

/// A rush that goes on until it is ended, for sessions that are its own.
#[derive(Debug)]
pub(crate) struct Load {
    end: watch::Sender<bool>,
    /// What clients were told.
    history: PathBuf,
    playing: JoinHandle<anyhow::Result<rush::Report>>,
}

impl Load {
    /// Opens the sessions and starts the rush.
    ///
    /// # Errors
    /// When the sessions cannot be opened, or the rate makes no sense.
    pub(crate) async fn start(cluster: &Cluster, round: u64, rate: f64) -> anyhow::Result<Self> {
        let prefix = format!("round-{round}-");
        sessions::open(cluster, &cluster.ops, &prefix, &hospital(&prefix, rate)?).await?;
        let history = cluster.folder().join(format!("rush-{round}.ndjson"));
        let options = rush::Options {
            seconds: SECONDS_MAX,
            base_rate: rate,
            peak_factor: 1.0,
            sessions: prefix,
            patients: usize::try_from(whole(rate * PATIENTS_PER_RATE)?.max(PATIENTS_MIN))?,
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
            history: Some(history.clone()),
        };
        let (end, ended) = watch::channel(false);
        let urls = cluster.urls();
        let playing = tokio::spawn(async move { rush::run_until(&urls, &options, ended).await });
        Ok(Self { end, history, playing })
    }

    /// Where it is written down what clients were told; complete once it has ended.
    pub(crate) fn history(&self) -> &Path {
        &self.history
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

/// A whole number of something.
fn whole(number: f64) -> anyhow::Result<u32> {
    // Formatted rather than cast: a float has no lossless way to an integer.
    format!("{number:.0}").parse().with_context(|| format!("the rate makes no sense: it takes {number} of something"))
}

/// Places of a doctor's session on a day, at so many intents a second.
fn capacity(doctor: usize, day: usize, rate: f64) -> anyhow::Result<u32> {
    let places =
        if (doctor + day).is_multiple_of(SMALL_EVERY) { SMALL_CAPACITY } else { whole(rate * PLACES_PER_RATE)? };
    Ok(places.clamp(1, CAPACITY_MAX))
}

/// Every doctor has a department and a session a day.
fn hospital(prefix: &str, rate: f64) -> anyhow::Result<Vec<Value>> {
    let mut all = Vec::new();
    let doctors = (0..PARTITIONS).flat_map(|partition| (0..DOCTORS).map(move |nth| sessions::doctor(partition, nth)));
    for (number, doctor) in doctors.enumerate() {
        let (doctor, department) = (doctor?, format!("{prefix}department-{}", number % DEPARTMENTS));
        for (nth, day) in (0..DAYS).enumerate() {
            let places = capacity(number, nth, rate)?;
            all.push(sessions::session(&format!("{prefix}{number}-{day}"), &doctor, &department, day, places)?);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_free_and_some_sessions_sell_out() {
        for rate in [60.0, 300.0] {
            let capacities: Vec<_> =
                hospital("x-", rate).unwrap().iter().map(|session| session["capacity"].as_u64().unwrap()).collect();
            let small = capacities.iter().filter(|places| **places == u64::from(SMALL_CAPACITY)).count();
            assert_eq!((small, capacities.len()), (12, 48), "at {rate}");
            // Ten seconds' intents are not half of what can be had.
            assert!(capacities.iter().sum::<u64>() > 2 * u64::from(whole(rate * 10.0).unwrap()), "at {rate}");
        }
        assert!(hospital("x-", f64::NAN).is_err() && hospital("x-", -1.0).is_err());
        assert_eq!(capacity(0, 1, 0.01).unwrap(), 1);
    }
}
