//! `orderly policy rehearse`: what a policy would have done to requests that are past, beside the one in force.

mod arrivals;

use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, ensure};
use comfy_table::{CellAlignment, Table};
use orderly_domain::port::Store;
use orderly_ingress::throttle::{Arrival, Kind, Policy, Rehearsal, rehearse};
use serde_json::json;

use crate::cli::Rehearse;
use crate::config::{Config, read_policy};
use crate::edges::Past;

/// The value of `--against` that stands for the intent log.
const LOG: &str = "log";

/// Prints how many of the recorded requests each limit would have refused.
///
/// # Errors
/// When a file, the log or the store cannot be read, or there is nothing to rehearse with.
pub(crate) async fn run(config: &Config, command: &Rehearse) -> anyhow::Result<()> {
    let policy = read_policy(&command.file)?;
    let past = Past::open(config).await?;
    let rehearsed = async {
        let in_force = in_force(config, &*past.store).await?;
        let arrivals = if command.against.as_os_str() == LOG {
            arrivals::of_log(&*past.log, &*past.store).await.context("the log cannot be rehearsed")?
        } else {
            arrivals::of_trace(&command.against)?
        };
        anyhow::Ok((in_force, arrivals))
    };
    let rehearsed = rehearsed.await;
    past.close().await;
    let ((version, in_force), arrivals) = rehearsed?;
    ensure!(!arrivals.is_empty(), "nobody has asked for anything yet, so there is nothing to rehearse");
    let [before, after] = [rehearse(&in_force, &arrivals)?, rehearse(&policy, &arrivals)?];
    let mut out = std::io::stdout().lock();
    if command.json {
        writeln!(out, "{:#}", json!({ "version": version, "in_force": before, "rehearsed": after }))?;
    } else {
        write!(out, "{}", to_text(&command.file, version, [&before, &after], &arrivals))?;
    }
    Ok(())
}

/// The policy that the servers follow, with its version; 0 for the configured one.
async fn in_force(config: &Config, store: &dyn Store) -> anyhow::Result<(u64, Policy)> {
    let Some(newest) = store.policies(1).await?.into_iter().next() else {
        let configured = config.policy.file.as_deref().map(read_policy).transpose()?;
        return Ok((0, configured.unwrap_or_default()));
    };
    let policy = Policy::from_json(&newest.document).map_err(|problems| anyhow::anyhow!(problems.join("\n")));
    Ok((newest.version, policy.context("the policy in force cannot be read; use the orderly of the servers' version")?))
}

fn to_text(file: &Path, version: u64, [before, after]: [&Rehearsal; 2], arrivals: &[Arrival]) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
    let beside = format!("version {version}, in force");
    table.set_header(["", &beside, &file.display().to_string(), "difference"]);
    let mut row = |what: &str, count: &dyn Fn(&Rehearsal) -> u64| {
        let (before, after) = (count(before), count(after));
        if before > 0 || after > 0 {
            let difference = i128::from(after) - i128::from(before);
            table.add_row([what.to_owned(), before.to_string(), after.to_string(), format!("{difference:+}")]);
        }
    };
    row("requests", &|rehearsal| rehearsal.arrived);
    row("let in", &|rehearsal| rehearsal.admitted);
    for kind in Kind::KEYED.into_iter().chain([Kind::Global]) {
        let name = kind.as_str();
        let refused = |rehearsal: &Rehearsal| rehearsal.refused.get(&kind).cloned().unwrap_or_default();
        row(&format!("throttled by the {name} limit"), &|rehearsal| refused(rehearsal).requests);
        row("  patients", &|rehearsal| refused(rehearsal).patients);
        row("  longest wait told, ms", &|rehearsal| refused(rehearsal).retry_after_max_ms);
    }
    table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    let mut text = format!("{table}\n");
    let unknown = [
        ("address", arrivals.iter().all(|arrival| arrival.address.is_none())),
        ("client", arrivals.iter().all(|arrival| arrival.client.is_none())),
    ];
    let unknown: Vec<_> = unknown.into_iter().filter(|(_, unknown)| *unknown).map(|(name, _)| name).collect();
    if !unknown.is_empty() {
        text += &format!(
            "\nNot rehearsed, because what they count by is not recorded there: the limits {}.\n",
            unknown.join(" and ")
        );
    }
    text + "\nWhoever is refused is taken not to ask again.\n"
}
