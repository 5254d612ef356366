//! Bookings that are offered at a steady rate whatever the answers are, from many addresses, to one node or to several.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Request, StatusCode};
use tokio::time::Instant;

use super::accept::{ANSWER_MAX, Crowd};
use crate::client::Client;
use crate::latency::{Latencies, Summary};
use crate::pace::{open_loop, steady};

/// Connections to each node.
const CONNECTIONS: usize = 512;

/// Clients' addresses that are told apart, as a proxy in front tells them.
const ADDRESSES: u32 = 10_000;

/// Nodes, and the share of the requests that each gets.
pub(super) struct Nodes(Vec<(Arc<Client>, f64)>);

impl Nodes {
    /// Nodes by URL, with weights.
    pub(super) fn new<'a>(nodes: impl IntoIterator<Item = (&'a str, f64)>) -> anyhow::Result<Self> {
        let node = |(url, weight)| Ok((Arc::new(Client::new(url, CONNECTIONS, ANSWER_MAX)?), weight));
        Ok(Self(nodes.into_iter().map(node).collect::<anyhow::Result<_>>()?))
    }

    /// The node of the `number`th request: in the long run, and in short stretches as nearly as can be, each gets its share.
    fn of(&self, given: &mut [f64], number: u64) -> &Arc<Client> {
        let total: f64 = self.0.iter().map(|(_, weight)| weight).sum();
        let behind = |index: usize| self.0[index].1 / total * (number as f64 + 1.0) - given[index];
        let index = (0..self.0.len()).max_by(|&one, &other| behind(one).total_cmp(&behind(other))).unwrap_or(0);
        given[index] += 1.0;
        &self.0[index].0
    }
}

/// What came of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offered {
    /// Requests that were sent.
    pub sent: u64,
    /// 202s a second.
    pub accepted_per_s: f64,
    /// From when an accepted request was due to its 202, so that a client that cannot keep up shows.
    pub latency: Summary,
}

/// Offers `rate_per_s` for `length`. Refusals by the throttle are expected; any other refusal is an error.
pub(super) async fn offer(nodes: &Nodes, crowd: &Crowd, rate_per_s: f64, length: Duration) -> anyhow::Result<Offered> {
    let (mut sent, mut latencies) = (0_u64, Latencies::default());
    let mut given = vec![0.0; nodes.0.len()];
    let call = |number, due: Instant| {
        let client = Arc::clone(nodes.of(&mut given, number));
        let (bearer, key, body) = crowd.next().context("there are enough keys")?;
        let request = Request::post("/v1/bookings")
            .header(CONTENT_TYPE, "application/json")
            .header(AUTHORIZATION, bearer)
            .header("idempotency-key", key)
            .header("x-forwarded-for", address(number)?)
            .body(body)?;
        sent += 1;
        Ok(async move {
            let answer = client.send(request).await?;
            match answer.status {
                StatusCode::ACCEPTED => Ok(Some(due.elapsed())),
                StatusCode::TOO_MANY_REQUESTS => Ok(None),
                status => bail!("{status} {}", String::from_utf8_lossy(&answer.body)),
            }
        })
    };
    let note = |latency: Option<Duration>| {
        latency.into_iter().for_each(|latency| latencies.record(latency));
        Ok(())
    };
    let took = open_loop(steady(rate_per_s, length), call, note).await?;
    Ok(Offered { sent, accepted_per_s: latencies.count() as f64 / took.as_secs_f64(), latency: latencies.summary() })
}

/// One of many addresses of clients.
pub(crate) fn address(number: u64) -> anyhow::Result<HeaderValue> {
    // A stride without a common factor: neighbours are strangers.
    let host = u32::try_from(number * 7_919 % u64::from(ADDRESSES))?;
    Ok(HeaderValue::from_str(&format!("10.0.{}.{}", host / 256, host % 256))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_get_their_shares() {
        let nodes = Nodes::new([("http://127.0.0.1:1", 5.0), ("http://127.0.0.1:2", 3.0), ("http://127.0.0.1:3", 2.0)]);
        let nodes = nodes.expect("these are addresses");
        let mut given = vec![0.0; 3];
        for number in 0..1_000 {
            nodes.of(&mut given, number);
        }
        assert_eq!(given, [500.0, 300.0, 200.0]);
    }
}
