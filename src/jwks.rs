//! The keys of an identity provider (JWKS), fetched and kept up to date.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use orderly_ingress::auth::Keys;
use reqwest::Url;
use tokio::time::{Instant, sleep_until};

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The largest set of keys, in bytes.
const BYTES_MAX: usize = 1 << 20;

/// How long to wait at least between two fetches, however many tokens name keys that are not known.
const PAUSE_MIN: Duration = Duration::from_secs(5);

/// Where the keys are.
pub(crate) struct Provider {
    http: reqwest::Client,
    url: Url,
    refresh: Duration,
    keys: Keys,
}

impl Provider {
    /// A provider that was not asked yet.
    ///
    /// # Errors
    /// When its address cannot be read.
    pub(crate) fn new(url: &str, refresh: Duration, keys: Keys) -> anyhow::Result<Self> {
        let url: Url = url.parse().context("auth.jwks_url is no address")?;
        let http = reqwest::Client::builder().timeout(TIMEOUT).build().context("the HTTP client cannot be made")?;
        Ok(Self { http, url, refresh, keys })
    }

    async fn ask(&self) -> anyhow::Result<()> {
        let mut answer = self.http.get(self.url.clone()).send().await?.error_for_status()?;
        let mut document = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            document.extend_from_slice(&chunk);
            ensure!(document.len() <= BYTES_MAX, "the answer has more than {BYTES_MAX} bytes");
        }
        let keys = self.keys.replace(std::str::from_utf8(&document).context("the answer is not text")?)?;
        tracing::debug!(keys, "the identity provider's keys are up to date");
        Ok(())
    }

    /// Asks at once, then from time to time, and when a token names a key that is not known. While there is no answer, the
    /// keys that are known stay; without any, every token is refused, and what needs none goes on: decisions above all.
    pub(crate) async fn follow(self) {
        let mut known = false;
        loop {
            let asked = Instant::now();
            match self.ask().await {
                Ok(()) => known = true,
                Err(error) => {
                    let (error, url) = (format!("{error:#}"), &self.url);
                    tracing::warn!(error, %url, known, "the keys of auth.jwks_url cannot be had; those known stay");
                }
            }
            let next = asked + if known { self.refresh } else { PAUSE_MIN };
            tokio::select! {
                () = sleep_until(next) => {}
                () = self.keys.wanted() => sleep_until(asked + PAUSE_MIN).await,
            }
        }
    }
}
