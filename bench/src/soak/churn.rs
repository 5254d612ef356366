//! Event streams that are opened and left, a million times: of tickets and of sessions, half of them closed, half of them cut.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use hyper::header::HeaderValue;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::time::Instant;

use super::load::{ANSWER_MAX, Crowd};
use super::report::{Report, more};
use super::watch::Watch;
use super::{MORE_AT_REST, Output, bar, watched};
use crate::api::{Api, Status, Submission};
use crate::client::Client;
use crate::goal::{Goal, Wanted};
use crate::machine::Origin;

/// Tickets that are followed in turn.
const TICKETS: usize = 64;
/// Addresses that connections come from: a port that was just used cannot be used again for a while, and an address has some
/// 28,000.
const SOURCES: u64 = 100;
/// How many cycles go first: the server starts threads and keeps memory when they are first needed.
const FIRST: u64 = 50_000;
/// How much more resident memory there may be at rest, in megabytes: less than ten bytes a cycle, and so nothing that a cycle
/// leaves behind.
const MORE_MB: f64 = 8.0;
/// How long one cycle may take.
const CYCLE_MAX: Duration = Duration::from_secs(30);
/// How often a cycle that failed is counted before the run ends, as a share of all.
const FAILED_SHARE_MAX: f64 = 0.01;
/// A head and a first event are much shorter.
const PIECE_BYTES: usize = 16 * 1_024;

/// What to do.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Options {
    /// How often a stream is opened and left
    #[arg(long, default_value_t = 1_000_000)]
    pub cycles: u64,
    /// Streams at once
    #[arg(long, default_value_t = 300)]
    pub at_once: usize,
    /// The most minutes; fewer cycles than wanted miss the goal
    #[arg(long, default_value_t = 90.0)]
    pub minutes_max: f64,
    /// The server, and what is written
    #[command(flatten)]
    pub output: Output,
}

/// Opens and leaves streams, and looks at what the server holds.
///
/// # Errors
/// When the server does not start, ends, or does not stream.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    ensure!(options.at_once > 0, "--at-once is at least 1");
    let length = Duration::from_secs_f64(options.minutes_max * 60.0);
    let bar = bar(length)?;
    let server = options.output.start().await?;
    bar.set_message("booking what is followed");
    let requests = requests(&server.url).await?;
    let address: SocketAddr = server.url.trim_start_matches("http://").parse().context("the server's address")?;
    let churn =
        |cycles| Churn { requests: &requests, address, cycles, begun: AtomicU64::new(0), failed: AtomicU64::new(0) };
    let watch = Watch::new(&server)?;
    watched(&watch, churn(FIRST).all(options.at_once, length), options.output.every, &bar).await?;
    bar.set_message("coming to rest");
    let before = watch.at_rest().await?;
    let start = Watch::new(&server)?;
    bar.reset();
    let churning = churn(options.cycles);
    let (done, samples) = watched(&start, churning.all(options.at_once, length), options.output.every, &bar).await?;
    bar.set_message("coming to rest");
    let after = watch.at_rest().await?;
    bar.finish_and_clear();
    let megabytes = more(before.resident_bytes, after.resident_bytes) / 1e6;
    let failed = churning.failed.into_inner();
    let goals = vec![
        Goal::new("streams opened and left", done as f64, Wanted::Least(options.cycles as f64)),
        Goal::new("more resident memory at rest, MB", megabytes, Wanted::Below(MORE_MB)),
        Goal::new("more descriptors at rest", more(before.descriptors, after.descriptors), Wanted::Most(MORE_AT_REST)),
        Goal::new("more tasks at rest", more(before.tasks, after.tasks), Wanted::Most(MORE_AT_REST)),
    ];
    Ok(Report {
        what: format!("Churn: {done} event streams opened and left, {} at once", options.at_once),
        origin: Origin::here(),
        counts: vec![("streams opened and left", done), ("streams that did not open", failed)],
        before,
        after,
        warm_s: 0.0,
        samples,
        goals,
    })
}

/// The requests for streams that stay: of booked tickets, and of single doctors' sessions, in turn.
async fn requests(url: &str) -> anyhow::Result<Vec<String>> {
    let crowd = Crowd::gather(url).await?;
    let api = Api::new(Client::new(url, 1, ANSWER_MAX)?);
    let mut requests = Vec::with_capacity(TICKETS * 2);
    for attempt in 0.. {
        ensure!(attempt < TICKETS * 20, "too few numbers are free for {TICKETS} tickets to be followed");
        let (bearer, key, body) = crowd.wish()?;
        match api.book(&bearer, &key, &body, Some(Duration::from_secs(5))).await? {
            Submission::Accepted(ticket) if ticket.status == Status::Booked => {
                requests.push(get(&format!("/v1/tickets/{}/events?follow=true", ticket.ticket), Some(&bearer))?);
                requests.push(get(
                    &format!("/v1/sessions/events?doctor={}", crowd.doctors[attempt % crowd.doctors.len()]),
                    None,
                )?);
            }
            _ => {}
        }
        if requests.len() >= TICKETS * 2 {
            break;
        }
    }
    Ok(requests)
}

fn get(path: &str, bearer: Option<&HeaderValue>) -> anyhow::Result<String> {
    let authorization = match bearer {
        Some(bearer) => format!("authorization: {}\r\n", bearer.to_str()?),
        None => String::new(),
    };
    Ok(format!("GET {path} HTTP/1.1\r\nhost: orderly\r\n{authorization}\r\n"))
}

struct Churn<'a> {
    requests: &'a [String],
    address: SocketAddr,
    cycles: u64,
    begun: AtomicU64,
    failed: AtomicU64,
}

impl Churn<'_> {
    /// Does all cycles, so many at once, for `length` at most, and tells how many were done.
    async fn all(&self, at_once: usize, length: Duration) -> anyhow::Result<u64> {
        let deadline = Instant::now() + length;
        let workers = (0..at_once).map(|_| self.some(deadline));
        Ok(futures::future::try_join_all(workers).await?.into_iter().sum())
    }

    async fn some(&self, deadline: Instant) -> anyhow::Result<u64> {
        let mut done = 0;
        while Instant::now() < deadline {
            let number = self.begun.fetch_add(1, Ordering::Relaxed);
            // What failed is done again.
            if number >= self.cycles + self.failed.load(Ordering::Relaxed) {
                break;
            }
            match tokio::time::timeout(CYCLE_MAX, self.one(number)).await {
                Ok(Ok(())) => done += 1,
                failed => {
                    let count = self.failed.fetch_add(1, Ordering::Relaxed) + 1;
                    if count as f64 > (self.cycles as f64 * FAILED_SHARE_MAX).max(100.0) {
                        return failed.context("a stream does not open in time")?.map(|()| done);
                    }
                }
            }
        }
        Ok(done)
    }

    /// Opens a stream, reads its first event, and leaves.
    async fn one(&self, number: u64) -> anyhow::Result<()> {
        let request = &self.requests[usize::try_from(number % self.requests.len() as u64)?];
        let source = Ipv4Addr::new(127, 0, 1, u8::try_from(1 + number % SOURCES)?);
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind((source, 0).into())?;
        let mut stream = socket.connect(self.address).await?;
        // In turns of two, since the requests alternate.
        if (number / 2).is_multiple_of(2) {
            stream.set_zero_linger()?;
        }
        stream.write_all(request.as_bytes()).await?;
        let mut read = Vec::with_capacity(PIECE_BYTES);
        while !has_event(&read) {
            ensure!(stream.read_buf(&mut read).await? > 0, "a stream ended: {}", String::from_utf8_lossy(&read));
            if read.len() > PIECE_BYTES && !read.starts_with(OK) {
                bail!("no stream: {}", String::from_utf8_lossy(&read));
            }
        }
        Ok(())
    }
}

const OK: &[u8] = b"HTTP/1.1 200";

/// Whether the beginning of an event was read.
fn has_event(read: &[u8]) -> bool {
    read.starts_with(OK) && read.windows(5).any(|window| window == b"data:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_an_event_is_no_stream() {
        assert!(has_event(b"HTTP/1.1 200 OK\r\n\r\n20\r\nevent: snapshot\ndata: []\n\n"));
        assert!(!has_event(b"HTTP/1.1 200 OK\r\n\r\n"));
        assert!(!has_event(b"HTTP/1.1 503 Service Unavailable\r\n\r\ndata: "));
    }
}
