//! `orderly suspects`: who is suspicious on a running node.

use std::io::Write as _;

use anyhow::Context as _;
use reqwest::Method;
use serde::Deserialize;

use super::Client;

#[derive(Deserialize)]
struct View {
    watching: bool,
    suspects: Vec<Suspect>,
}

#[derive(Deserialize)]
struct Suspect {
    kind: String,
    name: String,
    score: f64,
    challenged: bool,
    seen_at: String,
    causes: Vec<Cause>,
}

#[derive(Deserialize)]
struct Cause {
    signal: String,
    count: f64,
    points: f64,
}

/// Prints who is suspicious on the node and why, the most suspicious first.
///
/// # Errors
/// When the node cannot be asked.
pub(crate) async fn list(client: &Client, limit: u16) -> anyhow::Result<()> {
    let response = client.send(client.request(Method::GET, &format!("v1/suspects?limit={limit}"))?).await??;
    let view: View =
        response.json().await.context("the node's answer cannot be read; use the orderly of the node's version")?;
    let mut out = std::io::stdout().lock();
    if !view.watching {
        writeln!(out, "nobody is watched: the policy in force has no section [suspicion]")?;
        return Ok(());
    }
    if view.suspects.is_empty() {
        writeln!(out, "nobody is suspicious")?;
        return Ok(());
    }
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["KIND", "NAME", "SCORE", "CHALLENGED", "SEEN", "WHY"]);
    for suspect in view.suspects {
        let counting = suspect.causes.iter().filter(|cause| cause.points > 0.0);
        let why: Vec<_> = counting.map(|cause| format!("{} {:.0}", cause.signal, cause.count)).collect();
        table.add_row([
            suspect.kind,
            suspect.name.replace(char::is_control, " "),
            format!("{:.1}", suspect.score),
            if suspect.challenged { "yes" } else { "no" }.to_owned(),
            suspect.seen_at,
            why.join(", "),
        ]);
    }
    writeln!(out, "{}", table.trim_fmt())?;
    Ok(())
}
