//! What the throttle costs: a check by itself, and all limits together under full load.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use hdrhistogram::Histogram;
use orderly_domain::clock::System;
use orderly_domain::{Clock as _, PatientId};
use orderly_ingress::throttle::{Limits, Policy, Rate, Subject, Throttle};
use prometheus::Registry;
use reqwest::Method;
use serde::Serialize;
use tokio::sync::oneshot;

use super::process::{self, Server};
use crate::api::{Api, Role};
use crate::client::Client;

/// Patients who are told apart.
const KEYS: u32 = 1_000_000;

/// How often the policy is swapped under load.
const SWAP_EVERY: Duration = Duration::from_millis(500);

/// What a check costs, among many keys.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Checks {
    /// Keys with an allowance of their own.
    pub keys: u32,
    /// What they take of memory, in bytes.
    pub resident_bytes: u64,
    /// Half of the checks took at most this long, in nanoseconds, reading the clock included.
    pub p50_ns: u64,
    /// 99 % of them did.
    pub p99_ns: u64,
}

impl Checks {
    /// The most that a key may take of memory, in bytes.
    pub(super) const KEY_BYTES_MAX: f64 = 100.0;
}

/// Every kind of limit, at numbers that are not reached.
fn all(burst: u32) -> Limits {
    let rate = Some(Rate { rate_per_s: 1_000_000.0, burst });
    Limits { global: rate, client: rate, campus: rate, department: rate, doctor: rate, address: rate, patient: rate }
}

/// Checks a million patients' requests against every limit, one after the other.
///
/// # Errors
/// When the memory cannot be read.
pub(super) fn checks() -> anyhow::Result<Checks> {
    let now = System.now();
    let policy = Policy { keys_max: KEYS, ..Policy::of(all(1_000_000)) };
    let throttle = Throttle::new(policy, now, &Registry::new())?;
    let (doctor, department, campus) = ("li".parse()?, "cardiology".parse()?, "east".parse()?);
    let patient = |number: u32| format!("patient-{number}").parse::<PatientId>();
    let check = |patient: &PatientId| {
        throttle.check(Subject {
            address: Some([10, 0, 0, 1].into()),
            patient,
            client: Some("portal"),
            level: None,
            doctor: &doctor,
            department: &department,
            campus: Some(&campus),
            release_at: Some(now),
            now,
        })
    };
    let before = process::resident_bytes("self")?;
    // One by one, so that what is kept is the throttle's alone.
    for number in 0..KEYS {
        check(&patient(number)?)?;
    }
    let resident_bytes = process::resident_bytes("self")?.saturating_sub(before);
    let patients: Vec<PatientId> = (0..KEYS).map(patient).collect::<Result<_, _>>()?;
    let mut nanos = nanoseconds()?;
    // A stride without a common factor: no two neighbours lie side by side.
    for index in (0..patients.len()).map(|n| n * 7_919 % patients.len()) {
        let start = Instant::now();
        check(&patients[index])?;
        nanos.saturating_record(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }
    Ok(Checks {
        keys: KEYS,
        resident_bytes,
        p50_ns: nanos.value_at_quantile(0.5),
        p99_ns: nanos.value_at_quantile(0.99),
    })
}

/// Up to a second, to three digits. With bounds of its own: one that was made without would take what is too long for it as
/// next to nothing.
fn nanoseconds() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 1_000_000_000, 3)?)
}

/// So many bookings a second for the whole hospital, and each client address its own few: a flood's policy.
pub(super) fn narrow(rate_per_s: f64) -> Policy {
    let rate = |rate_per_s, burst| Some(Rate { rate_per_s, burst });
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a tenth of a second's bookings")]
    let burst = (rate_per_s / 10.0) as u32;
    Policy::of(Limits { global: rate(rate_per_s, burst.max(1)), address: rate(10.0, 20), ..Limits::default() })
}

/// Waits until a node follows the policy that was put in force on another.
///
/// # Errors
/// When it does not within ten seconds.
pub(super) async fn follows(server: &Server, policy: &Policy) -> anyhow::Result<()> {
    #[derive(serde::Deserialize)]
    struct InForce {
        policy: serde_json::Value,
    }
    let bearer = ops(server).await?;
    let wanted = serde_json::to_value(policy)?;
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let request = reqwest::Client::new().get(format!("{}/v1/policy", server.url));
        let answer = request.header("authorization", &bearer).send().await?.error_for_status()?;
        if answer.json::<InForce>().await?.policy["limits"] == wanted["limits"] {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{} does not follow the policy", server.url);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Puts a policy in force on a server.
pub(super) async fn set(server: &Server, policy: &Policy) -> anyhow::Result<()> {
    let bearer = ops(server).await?;
    put(server, &bearer, policy).await
}

/// Every kind of limit, none of which is reached.
pub(super) fn closed() -> Policy {
    Policy::of(all(1_000_000))
}

/// No limit at all.
pub(super) fn open() -> Policy {
    Policy::of(Limits::default())
}

async fn ops(server: &Server) -> anyhow::Result<String> {
    let token = Api::new(Client::new(&server.url, 1, Duration::from_secs(30))?).token("amy", Role::Ops).await?;
    Ok(token.to_str()?.to_owned())
}

async fn put(server: &Server, bearer: &str, policy: &Policy) -> anyhow::Result<()> {
    let request = reqwest::Client::new().request(Method::PUT, format!("{}/v1/policy", server.url));
    let answer = request.header("authorization", bearer).json(policy).send().await?;
    ensure!(answer.status().is_success(), "the policy was refused: {}", answer.text().await?);
    Ok(())
}

/// Swaps two policies of the same limits again and again, until it is told to stop; answers with how often.
pub(super) async fn swap(server: &Server, mut stop: oneshot::Receiver<()>) -> anyhow::Result<u32> {
    let bearer = ops(server).await?;
    let mut swapped = 0;
    loop {
        tokio::select! {
            _ = &mut stop => return Ok(swapped),
            () = tokio::time::sleep(SWAP_EVERY) => {}
        }
        put(server, &bearer, &Policy::of(all(1_000_000 - 1 - swapped % 2))).await.context("a swap under load")?;
        swapped += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_check_counts_as_slow() {
        let mut nanos = nanoseconds().expect("the bounds are in order");
        for value in [900, 5_000, u64::MAX] {
            nanos.saturating_record(value);
        }
        assert!(nanos.value_at_quantile(0.5).abs_diff(5_000) < 10, "{}", nanos.value_at_quantile(0.5));
        assert!(nanos.max() >= 1_000_000_000, "{}", nanos.max());
    }
}
