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
        let http = reqwest::Client::builder().timeout(TIMEOUT).no_proxy();
        let http = tls::trusting(http, &files, BY_KEYS)?.build().context("the HTTP client cannot be made")?;
        Ok(Some(Self { http, url: report, told: watch::Sender::new(Auditor::default()) }))
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

    /// Asks again and again. What was heard last stays, with the moment at which it was.
    pub(crate) async fn go_on(self) {
        loop {
            let asked = self.ask().await;
            self.told.send_modify(|told| match asked {
                Ok(mut report) => {
                    report.invariants.iter_mut().for_each(|one| one.rows.truncate(ROWS_MAX));
                    report.suspects.truncate(SUSPECTS_MAX);
                    *told = Auditor { heard_at: Some(System.now()), cause: None, report: Some(report) };
                }
                Err(error) => {
                    if told.cause.is_none() {
                        tracing::warn!(url = %self.url, "the auditor cannot be asked: {error:#}");
                    }
                    told.cause = Some(format!("{error:#}"));
                }
            });
            tokio::time::sleep(ASK_EVERY).await;
        }
    }
}
