//! The rush: an open-loop load with the shape of a release, whose every accepted ticket is followed to its outcome.
//!
//! Latencies count from the intended start of a request, taken from the arrival schedule, not from when the client came to
//! send it: a server that stalls cannot hide the requests that waited for it (no coordinated omission). Timers tick in
//! milliseconds, so that up to one of them is in every latency.

mod calls;
mod events;
mod history;
mod life;
mod report;
mod violation;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use hyper::header::HeaderValue;
use indicatif::{ProgressBar, ProgressStyle};
use orderly_domain::Clock as _;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::api::{Api, Role, Session};
use crate::client::Client;
use crate::demand::{Intent, Population, Shares};
use crate::schedule::Profile;
use history::History;
use life::{Hospital, Life, Tally};
pub use report::{Counts, Report};

/// Longest wait for one answer; longer than a long poll.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How many tokens are asked for at once.
const TOKENS_AT_ONCE: usize = 32;

/// What to play.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Options {
    /// Seconds during which intents arrive
    #[arg(long, default_value_t = 20.0)]
    pub seconds: f64,
    /// Intents per second before the release
    #[arg(long, default_value_t = 30.0)]
    pub base_rate: f64,
    /// The release's peak rate ÷ the base rate
    #[arg(long, default_value_t = 200.0)]
    pub peak_factor: f64,
    /// Ask only for sessions whose id begins so
    #[arg(long, value_name = "PREFIX", default_value = "")]
    pub sessions: String,
    /// How many patients there are
    #[arg(long, default_value_t = 20_000)]
    pub patients: usize,
    /// Exponent of the doctors' popularity: the n-th is asked for in proportion to n^-ZIPF
    #[arg(long, default_value_t = 1.0)]
    pub zipf: f64,
    /// Share of intents that are sent again with the same Idempotency-Key
    #[arg(long, default_value_t = 0.1)]
    pub retry_share: f64,
    /// Share of intents whose number is given back once it is booked
    #[arg(long, default_value_t = 0.05)]
    pub cancel_share: f64,
    /// Share of tickets followed by long poll; the others are pushed, or looked up when arrivals have ended
    #[arg(long, default_value_t = 0.3)]
    pub poll_share: f64,
    /// Most event streams at once
    #[arg(long, default_value_t = 200)]
    pub sse: usize,
    /// Most connections for submissions; as many again for long polls. With the streams they must fit into the limit on
    /// open files (`ulimit -n`, often 1024), here and at the server
    #[arg(long, default_value_t = 256)]
    pub connections: usize,
    /// Most seconds to wait for an outcome, from the last arrival or from the acceptance when that is later
    #[arg(long, default_value_t = 60)]
    pub drain_seconds: u64,
    /// The seed: arrivals and demand are a function of it
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// The server's process, to read its memory where /metrics doesn't tell
    #[arg(long)]
    pub pid: Option<u32>,
    /// Write the result as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the plot as SVG
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,
    /// Write every call of patients and what it was answered, a line of JSON each, for `orderly check --clients`
    #[arg(long, value_name = "FILE")]
    pub history: Option<PathBuf>,
}

/// Plays a rush against the server at `url` and follows every accepted ticket.
///
/// # Errors
/// When the options make no sense, or the server cannot be set up for it. What goes wrong during the rush is in the report.
pub async fn run(url: &str, options: &Options) -> anyhow::Result<Report> {
    let (_end, never) = watch::channel(false);
    run_until(url, options, never).await
}

/// The same, but arrivals end early once `end` is set: then what was accepted is followed to its outcome.
///
/// # Errors
/// As [`run`].
pub async fn run_until(url: &str, options: &Options, end: watch::Receiver<bool>) -> anyhow::Result<Report> {
    let profile = Profile { seconds: options.seconds, base_rate: options.base_rate, peak_factor: options.peak_factor };
    profile.validate()?;
    anyhow::ensure!(options.connections > 0, "at least one connection is needed");
    let shares = Shares { retry: options.retry_share, cancel: options.cancel_share, poll: options.poll_share };
    let api = |connections| Ok::<_, anyhow::Error>(Api::new(Client::new(url, connections, ANSWER_TIMEOUT)?));
    let desk = api(options.connections)?;

    let wanted = |session: &Session| session.state == "open" && session.session_id.starts_with(&options.sessions);
    let sessions: Vec<_> = desk.sessions().await?.into_iter().filter(wanted).collect();
    let mut random = StdRng::seed_from_u64(options.seed);
    let doctors = by_doctor(&sessions, &mut random);
    let population = Population { patients: options.patients, doctors, zipf: options.zipf };
    let intents = population.intents(&profile.arrivals(&mut random), shares, &mut random)?;
    let bearers = tokens(&desk, options.patients).await?;
    let bodies = sessions.iter().map(body).collect::<Result<_, _>>()?;

    let history = History::create(options.history.as_deref())?;
    let start_wall = orderly_domain::clock::System.now();
    let start = Instant::now();
    let (arrivals_over, _) = watch::channel(false);
    let hospital = Arc::new(Hospital {
        desk,
        polls: api(options.connections)?,
        streams: api(options.sse)?,
        bearers,
        sessions,
        bodies,
        run: format!("rush-{}-{}", options.seed, start_wall.as_micros()),
        start,
        start_wall,
        arrivals_end: start + Duration::from_secs_f64(options.seconds),
        arrivals_over,
        drain: Duration::from_secs(options.drain_seconds),
        tally: Tally::default(),
        history,
    });
    let lives = play(&hospital, &intents, end).await?;
    hospital.history.finish()?;
    let resident_bytes = match hospital.desk.resident_bytes().await {
        None => options.pid.and_then(resident_bytes_of),
        known => known,
    };
    Ok(Report::new(options, &hospital, &intents, &lives, resident_bytes))
}

/// Starts every intent at its time, whatever became of those before it, until `end` is set, and waits for all.
async fn play(
    hospital: &Arc<Hospital>,
    intents: &[Intent],
    mut end: watch::Receiver<bool>,
) -> anyhow::Result<Vec<Life>> {
    let bar = ProgressBar::new(intents.len() as u64).with_style(
        ProgressStyle::with_template("{elapsed:>4} {bar:30} {msg}").context("the progress bar's template is valid")?,
    );
    let mut lives = JoinSet::new();
    let mut ended = Vec::with_capacity(intents.len());
    let mut ticks = tokio::time::interval(Duration::from_millis(200));
    for (index, intent) in intents.iter().enumerate() {
        let due = hospital.start + intent.at;
        while Instant::now() < due && !*end.borrow() {
            tokio::select! {
                () = tokio::time::sleep_until(due) => {}
                Ok(_) = end.wait_for(|end| *end) => {}
                _ = ticks.tick() => show(&bar, &hospital.tally),
            }
        }
        if *end.borrow() {
            break;
        }
        lives.spawn(Arc::clone(hospital).live(index, intent.clone()));
    }
    hospital.arrivals_over.send_replace(true);
    while !lives.is_empty() {
        tokio::select! {
            Some(life) = lives.join_next() => ended.push(life.context("a patient's task ended early")?),
            _ = ticks.tick() => show(&bar, &hospital.tally),
        }
    }
    show(&bar, &hospital.tally);
    bar.finish();
    ended.sort_unstable_by_key(|life| life.index);
    Ok(ended)
}

fn show(bar: &ProgressBar, tally: &Tally) {
    let of = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
    let (offered, accepted, decided) = (of(&tally.offered), of(&tally.accepted), of(&tally.decided));
    bar.set_position(decided);
    let backlog = accepted.saturating_sub(decided);
    bar.set_message(format!("offered {offered}, accepted {accepted}, outcomes known {decided}, waiting {backlog}"));
}

/// The sessions of each doctor, the doctors in an order that the seed chooses.
fn by_doctor(sessions: &[Session], random: &mut StdRng) -> Vec<Vec<usize>> {
    let mut doctors: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, session) in sessions.iter().enumerate() {
        doctors.entry(&session.doctor_id).or_default().push(index);
    }
    let mut doctors: Vec<_> = doctors.into_values().collect();
    doctors.shuffle(random);
    doctors
}

/// A patient's name, the `sub` of their token.
fn patient(number: usize) -> String {
    format!("patient-{number}")
}

fn body(session: &Session) -> serde_json::Result<Bytes> {
    serde_json::to_vec(&serde_json::json!({ "session_id": session.session_id })).map(Bytes::from)
}

async fn tokens(desk: &Api, patients: usize) -> anyhow::Result<Vec<HeaderValue>> {
    let bar = ProgressBar::new(patients as u64)
        .with_style(ProgressStyle::with_template("{elapsed:>4} {bar:30} {pos} of {len} patients have a token")?);
    let tokens = futures::stream::iter(0..patients)
        .map(|patient| async move { desk.token(&self::patient(patient), Role::Patient).await })
        .buffered(TOKENS_AT_ONCE)
        .inspect_ok(|_| bar.inc(1))
        .try_collect()
        .await?;
    bar.finish_and_clear();
    Ok(tokens)
}

fn resident_bytes_of(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
}
