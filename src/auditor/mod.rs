//! `orderly audit-run`: the checker beside a running system.

mod freezing;
mod listener;
mod metrics;
pub(crate) mod watching;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use orderly_checker::{Auditor, Invariant, LedgerWatch, Report};
use orderly_domain::clock::{Clock as _, System};
use orderly_domain::port::{self, IntentLog, Ledger};
use orderly_ingress::tls;
use prometheus::Registry;
use prometheus::process_collector::ProcessCollector;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::check;
use crate::client::Client;
use crate::config::Config;
use crate::edges::Past;
use crate::receipt::Publishing;
use crate::serve::stop_signal;
use freezing::Freezing;
use listener::Listener;
use metrics::Metrics;

/// How often new decisions are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How often the tables of sessions and appointments are compared.
const TABLES_EVERY: Duration = Duration::from_secs(10);
/// How often ledger and analytics are.
const COPIES_EVERY: Duration = Duration::from_secs(60);
/// How long to wait before a log or store is asked again that did not answer.
const PAUSE: Duration = Duration::from_secs(1);

/// How many rows are remembered, so that each is told once.
const KNOWN_MAX: usize = 1_000;

/// What there is to tell.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    report: Report,
    /// Log and store could be read the last time.
    up: bool,
}

/// Judges until SIGTERM or SIGINT.
///
/// # Errors
/// When log or store cannot be opened, or hold what cannot be judged: records of a newer version, or what is not theirs.
pub(crate) async fn run(
    config: &Config,
    listen: SocketAddr,
    freeze: Option<Client>,
    roots: Option<&Path>,
) -> anyhow::Result<()> {
    let mut asked_to_stop = Box::pin(stop_signal()?);
    let listener = TcpListener::bind(listen).await;
    let listener = listener
        .with_context(|| format!("cannot listen on {listen}; another program may: choose another with --listen"))?;
    let publishing = roots.map(Publishing::open).transpose()?;
    let past = Past::open(config).await?;
    let registry = Registry::new();
    registry.register(Box::new(ProcessCollector::for_self()))?;
    let metrics = Metrics::register(&registry)?;
    let (state, told) = watch::channel(State::default());
    let address = listener.local_addr()?;
    let (scheme, listener) = match config.ops_files()? {
        None => ("http", Listener::Plain(listener)),
        Some(files) => {
            let listener = tls::Listener::new(listener, files).context("the certificates of ops cannot be used")?;
            ("https", Listener::Tls(listener))
        }
    };
    tokio::spawn(listener::serve(listener, registry.clone(), told));
    let mut out = std::io::stdout().lock();
    writeln!(out, "orderly audits, and listens on {scheme}://{address}, for /metrics, /report, /healthz and /readyz")?;
    out.flush()?;
    drop(out);
    let (beside, found_beside) = watch::channel(Beside::default());
    let copies = Copies { config, past: &past, ledger: check::ledger(config).await?, found: beside };
    let audit = Audit {
        config,
        past: &past,
        metrics,
        state,
        freezing: freeze.map(Freezing::new),
        tables: Report::default(),
        beside: found_beside,
        known: BTreeSet::new(),
    };
    let ended = tokio::select! {
        () = &mut asked_to_stop => Ok(()),
        ended = audit.go_on() => ended,
        () = copies.go_on() => Ok(()),
        ended = publish(publishing, &*past.log) => ended,
    };
    past.close().await;
    ended
}

/// Publishes roots until it cannot; for ever, where none are wanted.
async fn publish(publishing: Option<Publishing>, log: &dyn IntentLog) -> anyhow::Result<()> {
    match publishing {
        Some(publishing) => publishing.run(log).await,
        None => std::future::pending().await,
    }
}

/// What was found last in the ledger and in analytics.
#[derive(Debug, Default)]
struct Beside {
    ledger: Report,
    analytics: Report,
}

/// Compares with the store what is made of it. It goes on by itself: what cannot be asked, or takes long, holds no decision up.
struct Copies<'a> {
    config: &'a Config,
    past: &'a Past,
    /// Where there is one outside of the process that decides.
    ledger: Option<Box<dyn Ledger>>,
    found: watch::Sender<Beside>,
}

impl Copies<'_> {
    async fn go_on(self) {
        let mut seen = LedgerWatch::default();
        loop {
            self.look_at_ledger(&mut seen).await;
            self.look_at_analytics().await;
            tokio::time::sleep(COPIES_EVERY).await;
        }
    }

    async fn look_at_ledger(&self, seen: &mut LedgerWatch) {
        let Some(ledger) = &self.ledger else { return };
        let mut report = Report::default();
        let now = jiff::Timestamp::now().into();
        match seen.look(&*self.past.log, &**ledger, &*self.past.store, now, &mut report).await {
            Ok(()) => self.found.send_modify(|found| found.ledger = report),
            Err(error) => tracing::warn!(%error, "the ledger cannot be compared; it is tried again in a minute"),
        }
    }

    async fn look_at_analytics(&self) {
        let mut report = Report::default();
        let options = check::options(self.config, false);
        let looked = async {
            let Some(analytics) = check::analytics(self.config).await? else { return anyhow::Ok(()) };
            let Past { log, store, .. } = self.past;
            Ok(orderly_checker::check_analytics(&*analytics, &**log, &**store, options, &mut report).await?)
        };
        match looked.await {
            Ok(()) => self.found.send_modify(|found| found.analytics = report),
            Err(error) => tracing::warn!("analytics cannot be compared; it is tried again in a minute: {error:#}"),
        }
    }
}

struct Audit<'a> {
    config: &'a Config,
    past: &'a Past,
    metrics: Metrics,
    state: watch::Sender<State>,
    freezing: Option<Freezing>,
    /// What was found last in the tables of sessions and appointments.
    tables: Report,
    beside: watch::Receiver<Beside>,
    /// Rows that were told.
    known: BTreeSet<(Invariant, String)>,
}

impl Audit<'_> {
    async fn go_on(mut self) -> anyhow::Result<()> {
        let options = check::options(self.config, false);
        let mut auditor = loop {
            match Auditor::begin(&*self.past.log, &*self.past.store, options).await {
                Ok(auditor) => break auditor,
                Err(error) => self.wait_out(error).await?,
            }
        };
        let mut compare_at = Instant::now();
        loop {
            match self.look(&mut auditor, &mut compare_at).await {
                Ok(()) => self.told_by(auditor.report()).await,
                Err(error) => self.wait_out(error).await?,
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Judges what was decided since, and compares the tables when it is time to.
    async fn look(
        &mut self,
        auditor: &mut Auditor<'_>,
        compare_at: &mut Instant,
    ) -> Result<(), orderly_checker::Error> {
        let progress = self.past.store.progress().await?;
        let judged = auditor.follow(&progress).await?;
        self.metrics.judged(&judged, System.now());
        if *compare_at <= Instant::now() {
            let (report, changing) = auditor.amid().await?;
            self.tables = report;
            auditor.forget();
            self.metrics.compared(changing, auditor);
            *compare_at = Instant::now() + TABLES_EVERY;
        }
        Ok(())
    }

    /// Tells what was found, to metrics, the report, the log of the process, and, if that is wanted, to the server that freezes.
    async fn told_by(&mut self, judged: &Report) {
        let mut report = judged.clone();
        report.add(&self.tables);
        {
            let beside = self.beside.borrow();
            report.add(&beside.ledger);
            report.add(&beside.analytics);
        }
        self.metrics.found(&report);
        if self.known.len() > KNOWN_MAX {
            self.known.clear();
        }
        for (invariant, finding) in &report.findings {
            for row in &finding.rows {
                if self.known.insert((*invariant, row.clone())) {
                    tracing::error!(invariant = invariant.title(), "{row}");
                }
            }
        }
        if let Some(freezing) = &mut self.freezing {
            freezing.freeze(&report).await;
            self.metrics.frozen(freezing.frozen().len());
        }
        self.state.send_replace(State { report, up: true });
    }

    /// Waits before a log or store is asked again that did not answer.
    async fn wait_out(&self, error: orderly_checker::Error) -> anyhow::Result<()> {
        if let orderly_checker::Error::TooNew { .. } | orderly_checker::Error::Port(port::Error::Corrupt(_)) = error {
            return Err(error).context("what is there cannot be judged; `orderly check` looks at it as a whole");
        }
        tracing::warn!(%error, "log and store cannot be read; what was decided meanwhile is judged afterwards");
        self.metrics.is_down();
        self.state.send_modify(|state| state.up = false);
        tokio::time::sleep(PAUSE).await;
        Ok(())
    }
}
