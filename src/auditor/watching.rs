//! Asks an auditor what it found, so that ops see it on their page.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use orderly_domain::clock::{Clock as _, System};
use orderly_ingress::auditor::{Auditor, Report};
use reqwest::Url;
use tokio::sync::watch;

use crate::cli::ServerTls;
use crate::client::tls;
use crate::config::Config;

/// How often it is asked.
const ASK_EVERY: Duration = Duration::from_secs(2);

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The largest report, in bytes: a few hundred rows, and a session's name for each doctor.
const BYTES_MAX: usize = 4 << 20;

/// What is passed on: so many rows of an invariant, and so many sessions. The auditor's own report has more.
const ROWS_MAX: usize = 5;
const SUSPECTS_MAX: usize = 100;

/// What names the certificates.
const BY_KEYS: [&str; 3] = ["servers_tls.roots_file", "servers_tls.certificate_file", "servers_tls.key_file"];

/// Where the auditor is, and what was heard of it.
pub(crate) struct Watching {
    http: reqwest::Client,
    files: ServerTls,
    url: Url,
    told: watch::Sender<Auditor>,
}

impl Watching {
    /// The auditor that is configured, if one is. It was not asked yet.
    ///
    /// # Errors
    /// When its address is not one that can be asked, or a certificate cannot be used.
    pub(crate) fn configured(config: &Config) -> anyhow::Result<Option<Self>> {
        let Some(url) = &config.auditor.url else { return Ok(None) };
        let advice = || format!("auditor.url is {url}; give the auditor's own address, such as http://127.0.0.1:8083");
        let mut report: Url = url.parse().with_context(advice)?;
        ensure!(matches!(report.scheme(), "http" | "https") && report.has_host(), advice());
        report.set_path(&format!("{}/report", report.path().trim_end_matches('/')));
        let files = &config.servers_tls;
        let files = ServerTls {
            ca_file: files.roots_file.clone(),
            certificate_file: files.certificate_file.clone(),
            key_file: files.key_file.clone(),
        };
        let (http, told) = (client(&files)?, watch::Sender::new(Auditor::default()));
        Ok(Some(Self { http, files, url: report, told }))
    }

    /// What is heard of it.
    pub(crate) fn told(&self) -> watch::Receiver<Auditor> {
        self.told.subscribe()
    }

    async fn ask(&self) -> anyhow::Result<Report> {
        let mut answer = self.http.get(self.url.clone()).send().await?.error_for_status()?;
        let mut document = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            document.extend_from_slice(&chunk);
            ensure!(document.len() <= BYTES_MAX, "the report has more than {BYTES_MAX} bytes");
        }
        serde_json::from_slice(&document).context("the answer is no report of an auditor")
    }

    /// Asks again and again. What was heard last stays until there is something newer.
    pub(crate) async fn go_on(mut self) {
        loop {
            match self.ask().await {
                Ok(report) => self.told.send_modify(|told| hear(told, report)),
                Err(error) => {
                    let cause = format!("{error:#}");
                    if self.told.borrow().cause.is_none() {
                        tracing::warn!(url = %self.url, cause, "the auditor cannot be asked");
                    }
                    self.told.send_modify(|told| told.cause = Some(cause));
                    // The certificates may have been replaced.
                    if let Ok(http) = client(&self.files) {
                        self.http = http;
                    }
                }
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }
}

fn client(files: &ServerTls) -> anyhow::Result<reqwest::Client> {
    let http = reqwest::Client::builder().timeout(TIMEOUT).no_proxy();
    tls::trusting(http, files, BY_KEYS)?.build().context("the HTTP client cannot be made")
}

/// An auditor that has just begun has looked at nothing: what one found before it still holds.
fn hear(told: &mut Auditor, mut report: Report) {
    (told.heard_at, told.cause) = (Some(System.now()), None);
    report.suspects_total = report.suspects.len();
    report.suspects.truncate(SUSPECTS_MAX);
    report.invariants.iter_mut().for_each(|one| one.rows.truncate(ROWS_MAX));
    match &mut told.report {
        Some(before) if !report.up && report.invariants.is_empty() => before.up = false,
        before => *before = Some(report),
    }
}

#[cfg(test)]
mod tests {
    use orderly_ingress::auditor::Invariant;

    use super::*;

    #[test]
    fn what_was_found_stays_while_another_auditor_begins() {
        let found = || Invariant { invariant: "conserved".into(), violations: 1, ..Invariant::default() };
        let suspects = (0..SUSPECTS_MAX + 1).map(|number| format!("session-{number}")).collect();
        let report = Report { up: true, invariants: vec![found()], suspects, ..Report::default() };
        let mut told = Auditor { cause: Some("away".into()), ..Auditor::default() };
        hear(&mut told, report);
        assert_eq!((told.cause.as_ref(), told.heard_at.is_some()), (None, true));
        hear(&mut told, Report::default());
        let kept = told.report.as_ref().expect("one was heard");
        assert_eq!((kept.up, &kept.invariants), (false, &vec![found()]));
        assert_eq!((kept.suspects.len(), kept.suspects_total), (SUSPECTS_MAX, SUSPECTS_MAX + 1));
        hear(&mut told, Report { up: true, invariants: vec![Invariant::default()], ..Report::default() });
        assert_eq!(told.report.expect("one was heard").invariants, [Invariant::default()]);
    }
}
