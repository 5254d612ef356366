//! What a deployment has to bear.

use serde::Serialize;

use crate::cli::Plan;

/// Demands to start from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Preset {
    /// 300 doctors, 1 million patients, 2,000 intents a second for a minute
    Hospital,
    /// 20,000 doctors, 5 million patients, 30,000 intents a second for a minute
    City,
    /// 500,000 doctors, 50 million patients, 300,000 intents a second for a minute
    Country,
}

impl Preset {
    /// Doctors, patients, intents a second, and milliseconds.
    const fn numbers(self) -> [f64; 4] {
        match self {
            Self::Hospital => [300.0, 1e6, 2_000.0, 1_000.0],
            Self::City => [20_000.0, 5e6, 30_000.0, 2_000.0],
            Self::Country => [500_000.0, 50e6, 300_000.0, 5_000.0],
        }
    }
}

/// What comes, what is kept and how long people may wait.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Demand {
    pub(super) doctors: f64,
    pub(super) patients: f64,
    /// Intents a second while the peak lasts.
    pub(super) peak_rps: f64,
    pub(super) peak_seconds: f64,
    /// Within which 99 of 100 are to have their outcome.
    pub(super) p99_ms: f64,
    /// Days that decisions are kept.
    pub(super) retention_days: f64,
    /// Days ahead that can be booked.
    pub(super) days_open: f64,
    /// Places of a doctor's day.
    pub(super) places: f64,
    /// The part of the peak's intents that get a place.
    pub(super) booked_share: f64,
    /// Cores of an ingress, a pipeline or a broker.
    pub(super) node_cores: f64,
}

impl Demand {
    /// What the command line says, over its preset.
    pub(super) fn new(command: &Plan) -> Self {
        let preset = command.preset.unwrap_or(Preset::Hospital).numbers();
        let [doctors, patients, peak_rps, p99_ms] = preset;
        let doctors = command.doctors.map_or(doctors, f64::from);
        let peak_rps = command.peak_rps.unwrap_or(peak_rps);
        // A release opens one day of every doctor.
        let day = doctors * f64::from(command.places);
        let share = command.booked_share.unwrap_or_else(|| (day / (peak_rps * command.peak_seconds)).min(1.0));
        Self {
            doctors,
            patients: command.patients.map_or(patients, |patients| patients as f64),
            peak_rps,
            peak_seconds: command.peak_seconds,
            p99_ms: command.p99_ms.unwrap_or(p99_ms),
            retention_days: f64::from(command.retention_days),
            days_open: f64::from(command.days_open),
            places: f64::from(command.places),
            booked_share: share,
            node_cores: f64::from(command.node_cores),
        }
    }

    /// Intents of one peak.
    pub(super) fn intents(&self) -> f64 {
        self.peak_rps * self.peak_seconds
    }
}
