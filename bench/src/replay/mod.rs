//! The replay: real bookings, decided through the API, and compared with what must come out.
//!
//! A department is a neighbourhood. The data names no doctors and no times of day: a clinic's day is split over invented
//! doctors by a hash of the patient. Capacity is set below demand, so that there is contention.

mod booking;
mod clinic;
mod expected;
mod report;
mod visit;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _};
use hyper::header::HeaderValue;
use indicatif::{ProgressBar, ProgressStyle};
use orderly_domain::Clock as _;
use tokio::time::Instant;

use crate::api::{Api, Role};
use crate::client::Client;
use booking::Booking;
pub(crate) use clinic::Session;
use clinic::{Clinics, Plan};
pub use report::{Difference, Report};
use visit::{Queue, Visit};

/// The environment variable that names the folder of real inputs.
pub const DATA_FOLDER: &str = "ORDERLY_BENCH_DATA";
/// Where real inputs lie when nothing else is said, from the root of the repository.
const DATA_FOLDER_DEFAULT: &str = "../shared/data";
/// The bookings in that folder.
const DATA_FILE: &str = "bookings-2016.csv.gz";

/// Longest wait for one answer; longer than any wait that is asked for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How many sessions are opened by one call.
const SESSIONS_AT_ONCE: usize = 500;
/// How long opened sessions may take to be listed.
const OPENING_MAX: Duration = Duration::from_secs(60);

/// What to play.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Options {
    /// The bookings, a CSV, gzipped or plain [default: bookings-2016.csv.gz in the folder ORDERLY_BENCH_DATA, or in ../shared/data]
    #[arg(long, value_name = "FILE", env = "BOOKINGS")]
    pub data_file: Option<PathBuf>,
    /// Bookings per second [default: as fast as they are decided]
    #[arg(long, conflicts_with = "speed")]
    pub rate: Option<f64>,
    /// How much faster than in reality time goes: 86400 plays a day in a second
    #[arg(long)]
    pub speed: Option<f64>,
    /// Capacity of a session ÷ its distinct patients
    #[arg(long, default_value_t = 0.6)]
    pub capacity_share: f64,
    /// Invented doctors of one clinic on one day
    #[arg(long, default_value_t = 3)]
    pub doctors_per_clinic_day: u64,
    /// Connections; each has one booking under way
    #[arg(long, default_value_t = 128)]
    pub connections: usize,
    /// Most seconds that one booking may take to get its outcome
    #[arg(long, default_value_t = 120)]
    pub patience_seconds: u64,
    /// Write the result as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the plot as SVG
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            data_file: None,
            rate: None,
            speed: None,
            capacity_share: 0.6,
            doctors_per_clinic_day: 3,
            connections: 128,
            patience_seconds: 120,
            json: None,
            plot: None,
        }
    }
}

impl Options {
    /// The file of bookings that these options mean; it may not exist.
    #[must_use]
    pub fn data_file(&self) -> PathBuf {
        let folder = || std::env::var_os(DATA_FOLDER).map_or_else(|| DATA_FOLDER_DEFAULT.into(), PathBuf::from);
        self.data_file.clone().unwrap_or_else(|| folder().join(DATA_FILE))
    }

    /// When each booking is to be sent, from the start; all at once where no pace is set.
    fn schedule(&self, bookings: &[Booking]) -> anyhow::Result<Vec<Duration>> {
        let positive = |pace: f64| {
            anyhow::ensure!(pace.is_finite() && pace > 0.0, "a pace of {pace} cannot be played; use a number above 0");
            Ok(pace)
        };
        let Some(first) = bookings.first().map(|booking| booking.booked_at) else { return Ok(Vec::new()) };
        match (self.rate.map(positive).transpose()?, self.speed.map(positive).transpose()?) {
            (Some(rate), _) => Ok((0..bookings.len()).map(|n| Duration::from_secs_f64(n as f64 / rate)).collect()),
            (_, Some(speed)) => {
                let since = |booking: &Booking| booking.booked_at.duration_since(first).as_secs_f64() / speed;
                Ok(bookings.iter().map(|booking| Duration::from_secs_f64(since(booking))).collect())
            }
            _ => Ok(vec![Duration::ZERO; bookings.len()]),
        }
    }
}

/// Opens the clinics' sessions at the server at `url`, or at several that answer alike, with commas between, plays all bookings in order of booking time (each patient's strictly), follows every one
/// to its outcome, and compares.
///
/// The server must not have seen this data before: the Idempotency-Keys are the appointments' numbers.
///
/// # Errors
/// When the data cannot be read or the server cannot be set up. What the engine got wrong is in the report.
pub async fn run(url: &str, options: Options) -> anyhow::Result<Report> {
    anyhow::ensure!(options.connections > 0, "at least one connection is needed");
    let bookings = booking::read(&options.data_file())?;
    let schedule = options.schedule(&bookings.rows)?;
    let today = orderly_domain::clock::System.now().to_jiff().to_zoned(jiff::tz::TimeZone::UTC).date();
    let plan = Plan { doctors: options.doctors_per_clinic_day, capacity_share: options.capacity_share, today };
    let clinics = plan.clinics(&bookings.rows)?;
    let api = Api::new(Client::new(url, options.connections, ANSWER_TIMEOUT)?);

    // Each server lists a session once it has heard of it, and only then takes bookings for it.
    let servers = url.split(',').map(|url| anyhow::Ok(Api::new(Client::new(url, 1, ANSWER_TIMEOUT)?)));
    open(&servers.collect::<Result<Vec<_>, _>>()?, &clinics.sessions).await?;
    let queues = queues(&bookings.rows, &clinics, &schedule, options.connections)?;
    let bearers = tokens(&api, &queues).await?;
    let patience = Duration::from_secs(options.patience_seconds);
    let start = Instant::now();
    let visits = play(&api, queues, bearers, start, patience).await?;
    let elapsed = start.elapsed();
    Ok(Report::new(&options, &bookings, &clinics, &schedule, &visits, elapsed, api.resident_bytes().await))
}

/// When a booking was made, from the first one; the index of its patient; that of its session.
pub(crate) type Played = (Duration, usize, usize);

/// Real bookings, in order, for whoever plays them in another way, and their sessions.
///
/// # Errors
/// When the data cannot be read.
pub(crate) fn real(options: &Options, most: usize) -> anyhow::Result<(Vec<Session>, Vec<Played>)> {
    let mut bookings = booking::read(&options.data_file())?;
    bookings.rows.truncate(most);
    let today = orderly_domain::clock::System.now().to_jiff().to_zoned(jiff::tz::TimeZone::UTC).date();
    let plan = Plan { doctors: options.doctors_per_clinic_day, capacity_share: options.capacity_share, today };
    let clinics = plan.clinics(&bookings.rows)?;
    let first = bookings.rows.first().context("there are no bookings in the file")?.booked_at;
    let mut patients = std::collections::HashMap::new();
    let played = bookings.rows.iter().zip(&clinics.asked).map(|(booking, session)| {
        let next = patients.len();
        let patient = *patients.entry(booking.patient.as_str()).or_insert(next);
        Ok((Duration::try_from(booking.booked_at.duration_since(first))?, patient, *session))
    });
    let played = played.collect::<anyhow::Result<_>>()?;
    Ok((clinics.sessions, played))
}

/// Opens the sessions through the first server and waits until every one lists all.
pub(crate) async fn open(servers: &[Api], sessions: &[Session]) -> anyhow::Result<()> {
    let api = servers.first().context("a server's address is needed")?;
    let known = api.sessions().await?;
    let known: std::collections::HashSet<_> = known.iter().map(|session| session.session_id.as_str()).collect();
    if let Some(session) = sessions.iter().find(|session| known.contains(session.session_id.as_str())) {
        let session = &session.session_id;
        anyhow::bail!("the server knows {session}: this data was played before; start it on an empty data folder");
    }
    let ops = api.token("replay", Role::Ops).await?;
    for batch in sessions.chunks(SESSIONS_AT_ONCE) {
        let lines = batch.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
        api.open_sessions(&ops, lines.join("\n")).await?;
    }
    let deadline = Instant::now() + OPENING_MAX;
    for server in servers {
        until_listed(server, sessions, deadline).await?;
    }
    Ok(())
}

async fn until_listed(server: &Api, sessions: &[Session], deadline: Instant) -> anyhow::Result<()> {
    let mut capacities: std::collections::HashMap<_, _> =
        sessions.iter().map(|session| (session.session_id.as_str(), session.capacity)).collect();
    loop {
        for session in server.sessions().await? {
            if session.state == "open" && capacities.get(session.session_id.as_str()) == Some(&session.capacity) {
                capacities.remove(session.session_id.as_str());
            }
        }
        if capacities.is_empty() {
            return Ok(());
        }
        let missing = capacities.len();
        anyhow::ensure!(
            Instant::now() < deadline,
            "{missing} sessions were taken and are not open; see GET /v1/pipeline"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// One queue for each connection; a patient's bookings are all in one, in order.
fn queues(
    bookings: &[Booking],
    clinics: &Clinics,
    schedule: &[Duration],
    connections: usize,
) -> anyhow::Result<Vec<Queue>> {
    let mut patients = std::collections::HashMap::new();
    let mut queues: Vec<Queue> = (0..connections).map(|_| Queue::default()).collect();
    for (index, booking) in bookings.iter().enumerate() {
        let next = patients.len();
        let patient = *patients.entry(booking.patient.as_str()).or_insert(next);
        let session = &clinics.sessions[clinics.asked[index]].session_id;
        queues[patient % connections].push(index, booking, session, schedule[index])?;
    }
    Ok(queues)
}

async fn tokens(api: &Api, queues: &[Queue]) -> anyhow::Result<Vec<Vec<HeaderValue>>> {
    let patients = queues.iter().map(|queue| queue.patients.len() as u64).sum();
    let bar = ProgressBar::new(patients)
        .with_style(ProgressStyle::with_template("{elapsed:>4} {bar:30} {pos} of {len} patients have a token")?);
    let of_queue = |queue: &Queue| {
        let (patients, bar) = (queue.patients.clone(), &bar);
        async move {
            let mut bearers = Vec::with_capacity(patients.len());
            for patient in patients {
                bearers.push(api.token(&patient, Role::Patient).await?);
                bar.inc(1);
            }
            anyhow::Ok(bearers)
        }
    };
    let bearers = futures::stream::iter(queues.iter().map(of_queue)).buffered(queues.len()).try_collect().await?;
    bar.finish_and_clear();
    Ok(bearers)
}

async fn play(
    api: &Api,
    queues: Vec<Queue>,
    bearers: Vec<Vec<HeaderValue>>,
    start: Instant,
    patience: Duration,
) -> anyhow::Result<Vec<Visit>> {
    let count = queues.iter().map(|queue| queue.wishes.len() as u64).sum();
    let style = "{elapsed:>4} {bar:30} {pos} of {len} bookings decided, {per_sec:.0}, {eta} left";
    let bar = ProgressBar::new(count).with_style(ProgressStyle::with_template(style).context("a valid template")?);
    let plays = queues.iter().zip(&bearers).map(|(queue, bearers)| queue.play(api, bearers, start, patience, &bar));
    let mut visits = futures::future::join_all(plays).await.concat();
    bar.finish();
    visits.sort_unstable_by_key(|visit| visit.index);
    Ok(visits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_sets_the_times() {
        let booking = |second: i64| Booking {
            appointment: 1,
            patient: "1".to_owned(),
            booked_at: jiff::Timestamp::from_second(1_000 + second).expect("in range"),
            day: jiff::civil::date(2016, 5, 2),
            neighbourhood: "X".to_owned(),
        };
        let bookings = [booking(0), booking(60), booking(600)];
        let of = |rate, speed| Options { rate, speed, ..Options::default() }.schedule(&bookings);
        let ms = Duration::from_millis;
        assert_eq!(of(None, None).expect("valid"), [ms(0); 3]);
        assert_eq!(of(Some(10.0), None).expect("valid"), [ms(0), ms(100), ms(200)]);
        assert_eq!(of(None, Some(60.0)).expect("valid"), [ms(0), ms(1_000), ms(10_000)]);
        assert!(of(Some(0.0), None).is_err() && of(None, Some(f64::NAN)).is_err());
    }
}
