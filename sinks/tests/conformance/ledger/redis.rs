//! The ledger in Redis, on a server and on a cluster.

use orderly_domain::personal::Pseudonyms;
use orderly_domain::port;
use orderly_sinks::ledger::redis::{Ledger as Redis, Options};
use prometheus::Registry;

use super::*;
use crate::redis::{cluster, name, own, shared};

mod failover;
mod failures;
mod takeovers;

fn options(urls: Vec<String>) -> Options {
    Options { urls, prefix: name("ledger"), ..Options::default() }
}

async fn open(options: Options) -> Redis {
    Redis::open(options, pseudonyms(), &Registry::new()).await.expect("it can be opened")
}

fn pseudonyms() -> Pseudonyms {
    Pseudonyms::new(&[7; 32]).expect("long enough")
}

super::suite!(open(options(vec![shared().url()])).await);

/// With calls of two commands and one connection, nothing else may change.
mod in_small_calls {
    use super::*;

    super::super::suite!(open(Options { batch_max: 2, connections: 1, ..options(vec![shared().url()]) }).await);
}

mod in_a_cluster {
    use super::{cluster, open, options};

    super::super::suite!(open(options(cluster().urls())).await);
}

/// Asks under a takeover.
async fn ask_under(ledger: &Redis, fence: Fence, command: &Command) -> port::Result<Outcome> {
    let request = Request { position: position(7), logged_at: RELEASE, fence, command };
    Ok(ledger.apply(&[request]).await?[0].outcome)
}

/// What a store would tell of session `number`, opened with that capacity, with bookings of patients `1..=booked`.
fn snapshot(number: u8, capacity: u32, booked: u8) -> Snapshot {
    let holding = |patient: u8| Holding {
        ticket: ticket(patient),
        patient_id: format!("patient-{patient}").parse().expect("valid"),
        number: u32::from(patient),
        booked_at: 7,
        active: true,
    };
    let session = session(number, capacity, Exclusivity::DepartmentDay);
    Snapshot { session, closed: false, holdings: (1..=booked).map(holding).collect() }
}

/// The session must be restored before anything about it is answered.
fn is_lost(answer: &port::Result<Outcome>) {
    assert!(matches!(answer, Err(port::Error::Lost(_))), "{answer:?}");
}
