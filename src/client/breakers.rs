//! `orderly breakers`: the breakers of a running node.

use std::io::Write as _;

use anyhow::Context as _;
use orderly_domain::breaker::Held;
use reqwest::Method;
use serde::Deserialize;

use super::Client;

/// A breaker, as the node tells it.
#[derive(Deserialize)]
struct Breaker {
    name: String,
    state: String,
    held: Held,
    cause: String,
    since: String,
    calls: u64,
    failed_share: Option<f64>,
    mean_ms: Option<u64>,
    refused_total: u64,
}

#[derive(Deserialize)]
struct Pipeline {
    breakers: Vec<Breaker>,
}

/// Prints the breakers of the node, a line each.
///
/// # Errors
/// When the node cannot be asked.
pub(crate) async fn list(client: &Client) -> anyhow::Result<()> {
    let response = client.send(client.request(Method::GET, "v1/pipeline")?).await??;
    let Pipeline { breakers } = response.json().await.context(UNREADABLE)?;
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["BREAKER", "STATE", "SINCE", "CALLS", "FAILED", "MEAN", "REFUSED", "CAUSE"]);
    for breaker in breakers {
        let by_hand = if breaker.held == Held::Automatic { "" } else { " (by hand)" };
        table.add_row([
            breaker.name,
            format!("{}{by_hand}", breaker.state.replace('_', "-")),
            breaker.since,
            breaker.calls.to_string(),
            breaker.failed_share.map_or("-".to_owned(), |share| format!("{:.0} %", share * 100.0)),
            breaker.mean_ms.map_or("-".to_owned(), |ms| format!("{ms} ms")),
            breaker.refused_total.to_string(),
            breaker.cause.replace(char::is_control, " "),
        ]);
    }
    writeln!(std::io::stdout().lock(), "{}", table.trim_fmt())?;
    Ok(())
}

/// Holds a breaker of the node, or lets it go.
///
/// # Errors
/// When there is no such breaker, or the node cannot be asked.
pub(crate) async fn hold(client: &Client, name: &str, held: Held, reason: Option<&str>) -> anyhow::Result<()> {
    let change = serde_json::json!({ "state": held, "reason": reason.unwrap_or_default() });
    let path = format!("v1/breakers/{name}");
    let response = client.send(client.request(Method::PUT, &path)?.json(&change)).await??;
    let breaker: Breaker = response.json().await.context(UNREADABLE)?;
    let (state, cause) = (breaker.state, breaker.cause.replace(char::is_control, " "));
    writeln!(std::io::stdout().lock(), "the breaker of {name} is {state}, {cause}")?;
    Ok(())
}

const UNREADABLE: &str = "the node's answer cannot be read; use the orderly of the node's version";
