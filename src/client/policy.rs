//! `orderly policy`: the throttle policy of a running server.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use orderly_domain::SessionId;
use orderly_ingress::throttle::Policy;
use reqwest::Method;
use reqwest::header::IF_MATCH;
use serde::Deserialize;

use super::Client;
use crate::config::read_policy;

const PATH: &str = "v1/policy";
const HISTORY: &str = "v1/policy/history";

/// A version of the policy, as the server tells it.
#[derive(Deserialize)]
struct Version {
    version: u64,
    policy: Policy,
    author: String,
    reason: String,
    set_at: String,
}

impl Version {
    fn summary(&self) -> String {
        let Self { version, author, set_at, reason, .. } = self;
        let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        format!("version {version}, set by {author} at {set_at}{reason}").replace(char::is_control, " ")
    }
}

async fn current(client: &Client) -> anyhow::Result<Version> {
    let response = client.send(client.request(Method::GET, PATH)?).await??;
    response.json().await.context("the server's policy cannot be read; use the orderly of the server's version")
}

/// Prints the policy in force.
///
/// # Errors
/// When the server cannot be asked.
pub(crate) async fn get(client: &Client) -> anyhow::Result<()> {
    let current = current(client).await?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "# {}", current.summary())?;
    write!(out, "{}", text(&current.policy)?)?;
    Ok(())
}

/// Puts the policy of a file in force, unless somebody else sets another meanwhile.
///
/// # Errors
/// When the file cannot be used, or the server refuses it.
pub(crate) async fn set(client: &Client, file: &Path, reason: Option<&str>) -> anyhow::Result<()> {
    let policy = read_policy(file)?;
    let replaced = current(client).await?;
    put(client, &replaced, &policy, reason.unwrap_or_default()).await
}

/// Prints what the policy of a file would change.
///
/// # Errors
/// When the file cannot be used, or the server cannot be asked.
pub(crate) async fn diff(client: &Client, file: &Path) -> anyhow::Result<()> {
    let policy = read_policy(file)?;
    let current = current(client).await?;
    let mut out = std::io::stdout().lock();
    if policy == current.policy {
        writeln!(out, "no difference to {}", current.summary())?;
    } else {
        write!(out, "{}", unified(&current, &policy, &file.display().to_string())?)?;
    }
    Ok(())
}

async fn versions(client: &Client) -> anyhow::Result<Vec<Version>> {
    let response = client.send(client.request(Method::GET, HISTORY)?).await??;
    response.json().await.context("the server's policies cannot be read; use the orderly of the server's version")
}

/// Prints who set which policy, when and why, newest first; the configured one is the last.
///
/// # Errors
/// When the server cannot be asked.
pub(crate) async fn history(client: &Client) -> anyhow::Result<()> {
    let versions = versions(client).await?;
    let mut out = std::io::stdout().lock();
    for version in versions {
        writeln!(out, "{}", version.summary())?;
    }
    Ok(())
}

/// Puts an earlier policy in force again, unless somebody else sets another meanwhile.
///
/// # Errors
/// When there is no such version, or the server cannot be asked.
pub(crate) async fn rollback(client: &Client, version: Option<u64>, reason: Option<&str>) -> anyhow::Result<()> {
    let current = current(client).await?;
    let wanted = match version {
        Some(wanted) => wanted,
        None => current.version.checked_sub(1).context("the configured policy is in force; there is none before it")?,
    };
    let earlier = versions(client).await?.into_iter().find(|known| known.version == wanted);
    let earlier = earlier
        .with_context(|| format!("there is no version {wanted} to go back to; `orderly policy history` lists them"))?;
    let reason = reason.map_or_else(|| format!("back to version {wanted}"), str::to_owned);
    put(client, &current, &earlier.policy, &reason).await
}

/// Puts sessions onto the list of those that take no bookings, unless somebody else sets another policy meanwhile. Each is put
/// there once for a reason that begins with `cause`: one that the history has there before is left alone, since whoever took
/// it off knows why.
///
/// # Errors
/// When the server cannot be asked, or refuses it.
pub(crate) async fn freeze_once(
    client: &Client,
    sessions: &BTreeSet<SessionId>,
    cause: &str,
    why: &str,
) -> anyhow::Result<Vec<SessionId>> {
    let versions = versions(client).await?;
    let newest = versions.first().context("the server knows no policy, not even the configured one")?;
    let before = frozen_for(cause, &versions);
    let mut policy = newest.policy.clone();
    let new = sessions.iter().filter(|session| !before.contains(*session) && !policy.frozen.contains(session));
    let new: Vec<_> = new.cloned().collect();
    if new.is_empty() {
        return Ok(new);
    }
    policy.frozen.extend(new.iter().cloned());
    replace(client, newest, &policy, &format!("{cause}{why}")).await?;
    Ok(new)
}

/// The sessions that were put onto the list of those that take no bookings, for a reason that begins so. The newest version
/// comes first.
fn frozen_for<'a>(cause: &str, versions: &'a [Version]) -> BTreeSet<&'a SessionId> {
    let steps = versions.iter().zip(versions.iter().skip(1)).filter(|(version, _)| version.reason.starts_with(cause));
    steps
        .flat_map(|(version, before)| {
            version.policy.frozen.iter().filter(|session| !before.policy.frozen.contains(session))
        })
        .collect()
}

/// Sets a policy in place of `replaced`, and says so.
async fn put(client: &Client, replaced: &Version, policy: &Policy, reason: &str) -> anyhow::Result<()> {
    let set = replace(client, replaced, policy, reason).await?;
    writeln!(std::io::stdout().lock(), "in force: {}", set.summary())?;
    Ok(())
}

async fn replace(client: &Client, replaced: &Version, policy: &Policy, reason: &str) -> anyhow::Result<Version> {
    let change = serde_json::json!({ "policy": policy, "reason": reason });
    let tag = format!("\"{}\"", replaced.version);
    let response = client.send(client.request(Method::PUT, PATH)?.header(IF_MATCH, tag).json(&change)).await??;
    response.json().await.context("the policy was set, but the server's answer cannot be read")
}

fn text(policy: &Policy) -> anyhow::Result<String> {
    toml::to_string(policy).context("the policy cannot be written as TOML")
}

fn unified(current: &Version, policy: &Policy, name: &str) -> anyhow::Result<String> {
    let (before, after) = (text(&current.policy)?, text(policy)?);
    let diff = similar::TextDiff::from_lines(&before, &after);
    Ok(diff.unified_diff().header(&current.summary(), name).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(version: u64, policy: Policy, reason: &str) -> Version {
        Version { version, policy, author: "amy".into(), reason: reason.into(), set_at: "2026-11-22T00:00:00Z".into() }
    }

    #[test]
    fn a_session_counts_as_frozen_for_the_reason_of_the_version_that_froze_it() {
        let frozen = |sessions: &[&str]| Policy {
            frozen: sessions.iter().map(|session| session.parse().expect("valid")).collect(),
            ..Policy::default()
        };
        let versions = [
            version(5, frozen(&["a"]), "back to version 1"),
            version(4, frozen(&[]), "found: a mistake, thawed"),
            version(3, frozen(&["ops", "a", "b"]), "found: conserved"),
            version(2, frozen(&["ops", "a"]), "found: no oversell"),
            version(1, frozen(&["ops"]), "a doctor is ill"),
            version(0, frozen(&[]), "in force until another is set"),
        ];
        let names = |cause| frozen_for(cause, &versions).into_iter().map(SessionId::as_str).collect::<Vec<_>>();
        assert_eq!(names("found: "), ["a", "b"]);
        assert_eq!(names("a doctor"), ["ops"]);
        assert!(names("lost: ").is_empty());
    }

    #[test]
    fn a_difference_shows_only_what_changes() {
        let mut policy = Policy::default();
        let before = version(3, policy.clone(), "release\nrush");
        policy.limits.patient.as_mut().expect("patients are limited").burst = 25;
        let diff = unified(&before, &policy, "policy.toml").expect("printable");
        let changed: Vec<_> = diff.lines().filter(|line| line.starts_with(['-', '+'])).collect();
        assert_eq!(
            changed,
            [
                "--- version 3, set by amy at 2026-11-22T00:00:00Z: release rush",
                "+++ policy.toml",
                "-burst = 10",
                "+burst = 25"
            ]
        );
        assert!(diff.contains("[limits.patient]"), "{diff}");
    }
}
