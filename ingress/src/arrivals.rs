//! Records who asked for what, also those who were throttled, so that a policy can be rehearsed on it.
//!
//! Nobody can be recognised in it: patients and addresses are hashes under a key that dies with the process.

use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher as _, RandomState};
use std::io::{BufWriter, Write as _};
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;

use prometheus::IntCounter;
use tokio::sync::mpsc;

use crate::throttle::{Arrival, Subject, network};

/// Requests that wait to be written. More are left out, and counted.
const QUEUE_MAX: usize = 65_536;

/// Requests that are written at once.
const BATCH: usize = 1_024;

/// Takes requests down; nothing without a file.
pub(crate) struct Arrivals {
    queue: Option<mpsc::Sender<Arrival>>,
    hasher: RandomState,
    left_out: IntCounter,
}

impl Arrivals {
    /// Writes to the end of this file, until it has `bytes_max`.
    pub(crate) fn open(file: Option<&Path>, bytes_max: u64, left_out: IntCounter) -> std::io::Result<Self> {
        let Some(path) = file else { return Ok(Self { queue: None, hasher: RandomState::new(), left_out }) };
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let room = bytes_max.saturating_sub(file.metadata()?.len());
        let (queue, queued) = mpsc::channel(QUEUE_MAX);
        let writing = left_out.clone();
        std::thread::Builder::new().name("arrivals".into()).spawn(move || write(file, room, queued, &writing))?;
        Ok(Self { queue: Some(queue), hasher: RandomState::new(), left_out })
    }

    pub(crate) fn note(&self, subject: &Subject<'_>) {
        let Some(queue) = &self.queue else { return };
        let Ok(place) = queue.try_reserve() else {
            self.left_out.inc();
            return;
        };
        let patient = format!("p{:016x}", self.hasher.hash_one(subject.patient.as_str()));
        let Ok(patient) = patient.parse() else { return };
        place.send(Arrival {
            at: subject.now,
            patient,
            doctor: subject.doctor.clone(),
            department: subject.department.clone(),
            campus: subject.campus.cloned(),
            release_at: subject.release_at,
            address: subject.address.map(|address| self.disguised(address)),
            client: subject.client.map(str::to_owned),
            level: subject.level.map(str::to_owned),
        });
    }

    /// A unique local address (RFC 4193) whose network stands for that of the client.
    fn disguised(&self, address: IpAddr) -> IpAddr {
        let hash = self.hasher.hash_one(network(address)) >> 8;
        IpAddr::V6(Ipv6Addr::from_bits((0xfd << 120) | (u128::from(hash) << 64)))
    }
}

/// Writes what is queued, until the queue is dropped or there is no room.
fn write(file: File, mut room: u64, mut queued: mpsc::Receiver<Arrival>, left_out: &IntCounter) {
    let mut file = BufWriter::new(file);
    let mut batch = Vec::with_capacity(BATCH);
    while queued.blocking_recv_many(&mut batch, BATCH) > 0 {
        for arrival in batch.drain(..) {
            let Ok(mut line) = serde_json::to_vec(&arrival) else { continue };
            line.push(b'\n');
            let fits = line.len() as u64 <= room;
            if !fits || file.write_all(&line).is_err() {
                // What is recorded stays one stretch of time without holes.
                room = 0;
                left_out.inc();
                continue;
            }
            room -= line.len() as u64;
        }
        if let Err(error) = file.flush() {
            tracing::warn!(%error, "requests can no longer be recorded");
            room = 0;
        }
    }
}
