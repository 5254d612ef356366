//! `orderly policy rehearse`: what a policy would have done to requests that are past, beside the one in force.

mod arrivals;

use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, ensure};
use comfy_table::{CellAlignment, Table};
use orderly_domain::port::Store;
use orderly_ingress::throttle::{Kind, Policy, Rehearsal, most_affected, not_recorded, rehearse};
use serde_json::json;

use crate::cli::Rehearse;
use crate::config::{Config, read_policy};
use crate::edges::Past;

/// The value of `--against` that stands for the intent log.
const LOG: &str = "log";

/// What limits count by, where that is neither the patients, who are told of every limit, nor the hospital.
const COUNTED: [(Kind, &str); 5] = [
    (Kind::Address, "addresses"),
    (Kind::Doctor, "doctors"),
    (Kind::Department, "departments"),
    (Kind::Campus, "campuses"),
    (Kind::Client, "API clients"),
];

/// Prints how many of the recorded requests each limit would have refused, and whom it would have refused most.
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
        let (affected, unknown) = (most_affected(&before, &after), not_recorded(&arrivals));
        let told = json!({ "version": version, "in_force": before, "rehearsed": after, "most_affected": affected, "not_recorded": unknown });
        writeln!(out, "{told:#}")?;
    } else {
        let has_lanes = [&in_force, &policy].into_iter().any(Policy::has_lanes);
        write!(out, "{}", to_text(&command.file, version, [&before, &after], &not_recorded(&arrivals), has_lanes))?;
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

fn to_text(
    file: &Path,
    version: u64,
    [before, after]: [&Rehearsal; 2],
    unknown: &[&'static str],
    has_lanes: bool,
) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
    let beside = format!("version {version}, in force");
    table.set_header(["", &beside, &file.display().to_string(), "difference"]);
    let mut row = |what: &str, before: u64, after: u64| {
        if before > 0 || after > 0 {
            let difference = i128::from(after) - i128::from(before);
            table.add_row([what.to_owned(), before.to_string(), after.to_string(), format!("{difference:+}")]);
        }
    };
    row("requests", before.arrived, after.arrived);
    row("let in", before.admitted, after.admitted);
    let affected = most_affected(before, after);
    for kind in Kind::KEYED.into_iter().chain([Kind::Global]) {
        let name = kind.as_str();
        let [before, after] = [before, after].map(|side| side.refused.get(&kind).cloned().unwrap_or_default());
        row(&format!("throttled by the {name} limit"), before.requests, after.requests);
        row("  patients", before.patients, after.patients);
        if let Some((_, keys)) = COUNTED.iter().find(|(of, _)| *of == kind) {
            row(&format!("  {keys}"), before.keys, after.keys);
        }
        for one in affected.get(&kind).into_iter().flatten() {
            row(&format!("    {}", one.key), one.in_force, one.rehearsed);
        }
        row("  longest wait told, ms", before.retry_after_max_ms, after.retry_after_max_ms);
    }
    table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    let mut text = format!("{table}\n");
    let limits: Vec<_> = unknown.iter().filter(|name| **name != "member_level").copied().collect();
    if !limits.is_empty() {
        text += &format!(
            "\nNot rehearsed, because what they count by is not recorded there: the limits {}.\n",
            limits.join(" and ")
        );
    }
    if has_lanes && unknown.contains(&"member_level") {
        text += "\nNo request has a member level there: everybody is taken for a stranger to every lane.\n";
    }
    text + "\nWhoever is refused is taken not to ask again.\n"
}
