//! What an intent costs each process, as `orderly-bench costs` measured it on one machine.

use std::path::Path;

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};

/// Those that come with the program.
const BUILT_IN: &str = include_str!("costs.json");

/// A measurement of a machine.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Costs {
    pub(super) machine: String,
    pub(super) commit: String,
    pub(super) date: String,
    pub(super) command: String,
    /// An intent that gets a place.
    pub(super) booked: Intent,
    /// One that is refused because none is left.
    pub(super) refused: Intent,
    pub(super) light: Light,
    pub(super) memory: Memory,
}

/// What one intent costs, from the request to the outcome: microseconds of a core, and bytes kept.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct Intent {
    pub(super) ingress_us: f64,
    pub(super) pipeline_us: f64,
    pub(super) kafka_us: f64,
    pub(super) redis_us: f64,
    pub(super) postgres_us: f64,
    /// The load client, which counts only where it shares the machine.
    pub(super) client_us: f64,
    pub(super) kafka_bytes: f64,
    pub(super) redis_bytes: f64,
    pub(super) postgres_bytes: f64,
}

/// What people wait when there is little to do, in milliseconds: less is not to be had.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct Light {
    pub(super) accept_p50_ms: f64,
    pub(super) accept_p99_ms: f64,
    pub(super) outcome_p99_ms: f64,
}

/// Resident memory, in bytes.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct Memory {
    pub(super) ingress_base_bytes: f64,
    pub(super) ingress_connection_bytes: f64,
    pub(super) pipeline_base_bytes: f64,
}

impl Costs {
    /// Those that come with the program.
    pub(super) fn built_in() -> anyhow::Result<Self> {
        Self::parse(BUILT_IN).context("the measured costs in this program are broken; name a file by --costs")
    }

    /// Those of a file that `orderly-bench costs` wrote.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("{} has no costs; orderly-bench costs writes them", path.display()))
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let costs: Self = serde_json::from_str(text)?;
        for intent in [costs.booked, costs.refused] {
            let needed = [intent.ingress_us, intent.pipeline_us, intent.kafka_us, intent.postgres_us];
            ensure!(needed.iter().all(|cost| *cost > 0.0), "a cost of the processor is not greater than 0");
        }
        Ok(costs)
    }
}

impl Intent {
    /// The mean of intents of which `share` (0 to 1) get a place.
    pub(super) fn mixed(booked: &Self, refused: &Self, share: f64) -> Self {
        let of = |cost: fn(&Self) -> f64| cost(booked) * share + cost(refused) * (1.0 - share);
        Self {
            ingress_us: of(|cost| cost.ingress_us),
            pipeline_us: of(|cost| cost.pipeline_us),
            kafka_us: of(|cost| cost.kafka_us),
            redis_us: of(|cost| cost.redis_us),
            postgres_us: of(|cost| cost.postgres_us),
            client_us: of(|cost| cost.client_us),
            kafka_bytes: of(|cost| cost.kafka_bytes),
            redis_bytes: of(|cost| cost.redis_bytes),
            postgres_bytes: of(|cost| cost.postgres_bytes),
        }
    }
}
