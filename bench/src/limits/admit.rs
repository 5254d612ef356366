//! Admission through Redis, beside what the script itself can do when its calls are pipelined.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use orderly_domain::clock::System;
use orderly_domain::port::Ledger as _;
use orderly_domain::port::ledger::Request;
use orderly_domain::{Clock as _, Command, Position, Timestamp, partition_of};
use orderly_lua::APPLY;
use orderly_operators::{Admit, AsyncOperator as _, Draft, Retry, SessionMemory};
use orderly_sinks::ledger::redis::Ledger;
use prometheus::Registry;

use super::hospital::Hospital;
use super::report::Ratio;
use super::servers::{PARTITIONS, Servers, pseudonyms};

/// Numbers of a session that never runs out of them.
const PLENTY: u32 = 1_000_000;
/// Numbers of a session when about one booking in a hundred gets one.
const SCARCE_SHARE: u32 = 100;
/// Commands that the pipeline brings to the ledger at once.
const BATCH: usize = 4_096;
/// Calls that are sent before their answers are read.
const PIPELINED: usize = 128;
/// Connections of the ledger, and of the calls beside it.
const CONNECTIONS: u16 = 4;
const FENCE: u64 = 1;

/// Bookings a second, and decisions a second when 99 of 100 are refused; both beside the script's calls a second.
pub(super) async fn measure(servers: &Servers, bookings: u32) -> anyhow::Result<[Ratio; 2]> {
    let hospital = Hospital::new(PLENTY)?;
    let commands: Vec<_> = hospital.rush(bookings)?.collect::<Result<_, _>>()?;
    let limit = pipelined_calls(&servers.redis.url(), &hospital, &commands).await?;
    let booked = book(servers, &hospital, &commands).await?;
    let scarce = Hospital::new((bookings / SCARCE_SHARE / 600).max(1))?;
    let commands: Vec<_> = scarce.rush(bookings)?.collect::<Result<_, _>>()?;
    let refused = admit(servers, &scarce, commands).await?;
    let ratio = |what, value, goal| Ratio { what, value, beside: "pipelined EVALSHA", limit, goal: Some(goal) };
    Ok([
        ratio("bookings a second, through Redis", booked, 0.6),
        ratio("admissions a second, 99 % refused", refused, 3.0),
    ])
}

/// Commands at their places in a log.
struct Line {
    next: [u64; PARTITIONS as usize],
    now: Timestamp,
}

impl Line {
    fn new() -> Self {
        Self { next: [0; PARTITIONS as usize], now: System.now() }
    }

    fn place(&mut self, command: &Command) -> Position {
        let partition = partition_of(command.doctor_id(), PARTITIONS);
        let next = &mut self.next[usize::from(partition)];
        *next += 1;
        Position { partition, offset: *next - 1 }
    }
}

/// Through the ledger alone: every booking is asked about, and gets a number or is refused by the patient's scope.
async fn book(servers: &Servers, hospital: &Hospital, commands: &[Command]) -> anyhow::Result<f64> {
    let ledger = Ledger::open(servers.ledger("book"), pseudonyms(), &Registry::new()).await?;
    let mut line = Line::new();
    let openings: Vec<_> = hospital.openings().collect();
    let mut seconds = 0.0;
    for commands in openings.chunks(BATCH).chain(commands.chunks(BATCH)) {
        let request = |command| Request { position: line.place(command), logged_at: line.now, fence: FENCE, command };
        let requests: Vec<_> = commands.iter().map(request).collect();
        let start = Instant::now();
        ledger.apply(&requests).await?;
        if !matches!(commands.first(), Some(Command::OpenSession(_))) {
            seconds += start.elapsed().as_secs_f64();
        }
    }
    Ok(commands.len() as f64 / seconds)
}

/// Through the operator, which spares the ledger what is known to be sold out.
async fn admit(servers: &Servers, hospital: &Hospital, commands: Vec<Command>) -> anyhow::Result<f64> {
    let ledger = Ledger::open(servers.ledger("admit"), pseudonyms(), &Registry::new()).await?;
    let operator = Admit::new(Arc::new(ledger), SessionMemory::default(), Retry::default());
    let mut line = Line::new();
    let mut draft = |command: Command| Draft {
        position: line.place(&command),
        logged_at: line.now,
        fence: FENCE,
        command: Some(command),
        outcome: None,
    };
    operator.process_batch(hospital.openings().map(&mut draft).collect()).await?;
    let count = commands.len();
    let mut drafts = commands.into_iter().map(draft);
    let mut spent = Duration::ZERO;
    loop {
        let batch: Vec<_> = drafts.by_ref().take(BATCH).collect();
        if batch.is_empty() {
            return Ok(count as f64 / spent.as_secs_f64());
        }
        let start = Instant::now();
        operator.process_batch(batch).await?;
        spent += start.elapsed();
    }
}

/// The script's own calls, one command each, pipelined on a few connections. Bookings a second.
async fn pipelined_calls(url: &str, hospital: &Hospital, commands: &[Command]) -> anyhow::Result<f64> {
    let client = redis::Client::open(url)?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    let sha: String = redis::cmd("SCRIPT").arg("LOAD").arg(APPLY.code()).query_async(&mut connection).await?;
    let mut line = Line::new();
    let mut number = 0_u64;
    let mut pipelines: Vec<Vec<redis::Pipeline>> = vec![Vec::new(); CONNECTIONS.into()];
    for command in hospital.openings() {
        number += 1;
        let call = call(&sha, number, line.place(&command), line.now, &command);
        call.query_async::<redis::Value>(&mut connection).await?;
    }
    let mut filling: Vec<redis::Pipeline> = (0..CONNECTIONS).map(|_| redis::pipe()).collect();
    for command in commands {
        number += 1;
        let lane = usize::from(partition_of(command.doctor_id(), CONNECTIONS));
        filling[lane].add_command(call(&sha, number, line.place(command), line.now, command));
        if filling[lane].len() == PIPELINED {
            pipelines[lane].push(std::mem::replace(&mut filling[lane], redis::pipe()));
        }
    }
    for (lane, pipeline) in filling.into_iter().enumerate() {
        pipelines[lane].push(pipeline);
    }
    let start = Instant::now();
    let lanes = pipelines.into_iter().map(|pipelines| {
        let client = &client;
        async move {
            let mut connection = client.get_multiplexed_async_connection().await?;
            for pipeline in pipelines {
                pipeline.query_async::<redis::Value>(&mut connection).await?;
            }
            anyhow::Ok(())
        }
    });
    try_join_all(lanes).await?;
    Ok(commands.len() as f64 / start.elapsed().as_secs_f64())
}

/// A call as `lua/commands/apply-6.lua` says it.
fn call(sha: &str, number: u64, position: Position, now: Timestamp, command: &Command) -> redis::Cmd {
    let (department, day) = command.department_day();
    let mut call = redis::cmd("EVALSHA");
    call.arg(sha).arg(6);
    for name in ["sessions", "tickets", "patients", "bookings", "free", "calls"] {
        call.arg(format!("raw:{{{day}:{department}}}:{name}"));
    }
    call.arg("caller").arg(number).arg(0).arg(1).arg(0);
    call.arg(command.session_id().as_str()).arg(command.doctor_id().as_str()).arg(FENCE).arg("");
    let kind = if matches!(command, Command::Book(_)) { "b" } else { "o" };
    call.arg(kind).arg(1).arg(position.offset).arg(moment(now));
    match command {
        Command::Book(book) => call.arg(book.ticket.as_bytes()).arg(book.patient_id.as_str()),
        Command::OpenSession(session) => {
            call.arg(session.capacity).arg(moment(session.release_at)).arg(moment(session.ends_at)).arg("d")
        }
        _ => &mut call,
    };
    call
}

/// 20 digits that sort as moments do.
fn moment(at: Timestamp) -> String {
    format!("{:020}", at.as_micros().cast_unsigned() ^ (1 << 63))
}

#[cfg(test)]
mod tests {
    use orderly_stack::redis::{Options, Redis};

    use super::*;

    #[tokio::test]
    async fn the_script_takes_the_calls_that_are_made_beside_the_ledger() {
        let folder = tempfile::tempdir().expect("a folder");
        let redis = Redis::start(folder.path(), Options::default()).expect("Redis starts");
        let hospital = Hospital::new(PLENTY).expect("valid");
        let commands = hospital.rush(100).and_then(Iterator::collect::<anyhow::Result<Vec<_>>>).expect("valid");
        pipelined_calls(&redis.url(), &hospital, &commands).await.expect("no call is refused");
    }
}
