//! `orderly check`: the checker's verdict on a data folder, as a table or as JSON.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use comfy_table::{CellAlignment, ContentArrangement, Table};
use orderly_checker::{Clients, Invariant, Options, Report};
use orderly_domain::port::store::Progress;
use orderly_domain::port::{Analytics, Ledger, Store};
use orderly_sinks::{analytics, ledger};
use prometheus::Registry;
use serde_json::json;

use crate::config::{Config, Profile};
use crate::edges::Past;
use crate::personal;

/// How long a check of an idle system waits for analytics, which trail the store.
const ANALYTICS_WAIT: Duration = Duration::from_secs(10);

/// Checks the configured data folder and prints what was found; true when every invariant holds. A server may be running
/// on the folder: nothing is written. `idle` says that none should be deciding, so that everything must have arrived.
/// `histories` are files with what clients were told, which is compared, too.
///
/// # Errors
/// When the folder or a history cannot be read.
pub(crate) async fn run(config: &Config, histories: &[PathBuf], idle: bool, as_json: bool) -> anyhow::Result<bool> {
    // Before anything else: what these say that was told was decided before.
    let clients = clients(histories)?;
    let past = Past::open(config).await?;
    let report = checked(config, &past, clients.as_ref(), options(config, idle)).await;
    past.close().await;
    let report = report?;
    let mut out = std::io::stdout().lock();
    if as_json {
        writeln!(out, "{:#}", to_json(&report))?;
    } else {
        write!(out, "{}", to_text(&report))?;
    }
    Ok(report.holds())
}

/// What the configuration promises of the system that is checked.
pub(crate) fn options(config: &Config, idle: bool) -> Options {
    Options {
        idle,
        repeats_known_records: config.pipeline.dedup_tickets_max as u64,
        repeats_known_for: Duration::from_secs(config.pipeline.dedup_window_s),
        embedded: config.profile == Profile::Embedded,
        analytics_forget: config.profile == Profile::Distributed && config.clickhouse.retention_days.is_some(),
    }
}

/// Of servers only schemas may be written, if they are missing or older than this program.
async fn checked(config: &Config, past: &Past, clients: Option<&Clients>, options: Options) -> anyhow::Result<Report> {
    let report = orderly_checker::check(&*past.log, &*past.store, options).await;
    let mut report = report.with_context(|| match config.profile {
        Profile::Embedded => format!("cannot check {}", config.data.display()),
        Profile::Distributed => "cannot check log and store".to_owned(),
    })?;
    if options.idle
        && let Some(ledger) = ledger(config).await?
    {
        orderly_checker::check_ledger(&*ledger, &*past.store, jiff::Timestamp::now().into(), &mut report).await?;
    }
    if let Some(analytics) = analytics(config).await? {
        if options.idle {
            settle(&*analytics, &*past.store).await?;
        }
        orderly_checker::check_analytics(&*analytics, &*past.log, &*past.store, options, &mut report).await?;
    }
    if let Some(clients) = clients {
        orderly_checker::check_clients(&*past.log, &*past.store, clients, options, &mut report).await?;
    }
    Ok(report)
}

/// What clients were told, by these files; `None` when there are none.
fn clients(histories: &[PathBuf]) -> anyhow::Result<Option<Clients>> {
    let mut clients = None;
    for path in histories {
        let name = path.display().to_string();
        let file = File::open(path).with_context(|| format!("cannot read {name}"))?;
        clients.get_or_insert_with(Clients::default).read(&name, BufReader::new(file))?;
    }
    Ok(clients)
}

/// The ledger; `None` for one that is in the process that decides.
pub(crate) async fn ledger(config: &Config) -> anyhow::Result<Option<Box<dyn Ledger>>> {
    if config.profile == Profile::Embedded {
        return Ok(None);
    }
    let (options, pseudonyms, registry) =
        (config.redis_ledger_options(), personal::pseudonyms(config)?, Registry::new());
    let ledger = ledger::redis::Ledger::open(options, pseudonyms, &registry).await;
    Ok(Some(Box::new(ledger.context("cannot open the ledger")?)))
}

/// Analytics for reading; `None` when nothing was carried to the embedded ones yet.
pub(crate) async fn analytics(config: &Config) -> anyhow::Result<Option<Box<dyn Analytics>>> {
    match config.profile {
        Profile::Embedded if !config.data.join(analytics::sqlite::FILE).exists() => Ok(None),
        Profile::Embedded => {
            let analytics = analytics::sqlite::Analytics::open_read_only(&config.data);
            Ok(Some(Box::new(analytics.context("cannot open the analytics")?)))
        }
        Profile::Distributed => {
            let options = config.clickhouse_options()?;
            let analytics = analytics::clickhouse::Analytics::open(options, &Registry::new()).await;
            Ok(Some(Box::new(analytics.context("cannot open the analytics")?)))
        }
    }
}

/// Waits until analytics have what the store has, or have had time enough.
async fn settle(analytics: &dyn Analytics, store: &dyn Store) -> anyhow::Result<()> {
    let deadline = Instant::now() + ANALYTICS_WAIT;
    let progress = store.progress().await?;
    while Instant::now() < deadline {
        let arrived: HashMap<_, _> = analytics.next_offsets().await?.into_iter().collect();
        let is_there =
            |progress: &Progress| arrived.get(&progress.partition).copied().unwrap_or(0) >= progress.next_offset;
        if progress.iter().all(is_there) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

pub(crate) fn to_json(report: &Report) -> serde_json::Value {
    let findings = report.findings.iter().map(|(invariant, finding)| {
        json!({
            "number": invariant.number(),
            "invariant": invariant,
            "unit": invariant.unit(),
            "checked": finding.checked,
            "violations": finding.violations,
            "rows": finding.rows,
            "skipped": finding.skipped,
        })
    });
    json!({ "holds": report.holds(), "in_flight": report.in_flight, "invariants": findings.collect::<Vec<_>>() })
}

fn to_text(report: &Report) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["#", "invariant", "checked", "violations", "verdict"]);
    for (invariant, finding) in &report.findings {
        let verdict = match (&finding.skipped, finding.violations) {
            (_, 1..) => "BROKEN",
            (Some(cause), 0) => cause,
            (None, 0) => "holds",
        };
        table.add_row([
            invariant.number().to_string(),
            invariant.title().to_owned(),
            format!("{} {}", finding.checked, invariant.unit()),
            finding.violations.to_string(),
            verdict.to_owned(),
        ]);
    }
    for column in [0, 2, 3] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text = format!("{table}\n");
    for invariant in report.broken() {
        let finding = &report.findings[&invariant];
        text += &format!("\n{}. {}: {} violations\n", invariant.number(), invariant.title(), finding.violations);
        for row in &finding.rows {
            text += &format!("  {row}\n");
        }
        let more = finding.violations - finding.rows.len() as u64;
        if more > 0 {
            text += &format!("  … and {more} more\n");
        }
    }
    if report.in_flight > 0 {
        text += &format!("\n{} records are in flight: in the log, not decided yet.\n", report.in_flight);
    }
    let records = report.checked(Invariant::ExactlyOnce);
    let skipped = report.findings.values().filter(|finding| finding.skipped.is_some()).count();
    text += &match report.holds() {
        true if skipped > 0 => {
            format!("\nNo violation over {records} decisions; invariants not checked: {skipped}.\n")
        }
        true => format!("\nEvery invariant holds over {records} decisions.\n"),
        false => "\nInvariants are broken. Stop the server and keep the folder: it is the evidence.\n".to_owned(),
    };
    text
}
