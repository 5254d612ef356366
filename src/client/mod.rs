//! Commands that ask a running server.

pub(crate) mod breakers;
pub(crate) mod export;
pub(crate) mod policy;
pub(crate) mod sessions;
pub(crate) mod suspects;
pub(crate) mod tls;

use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;

use crate::cli::Server;

/// How long a call may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How long it may take until the server is reached.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A server, and the token that it is asked with.
pub(crate) struct Client {
    http: reqwest::Client,
    url: Url,
    token: String,
}

impl Client {
    /// The client of a server.
    ///
    /// # Errors
    /// When the address is not one that can be asked, or a certificate cannot be used.
    pub(crate) fn new(server: Server) -> anyhow::Result<Self> {
        let Server { mut url, token, tls } = server;
        ensure!(
            matches!(url.scheme(), "http" | "https") && url.has_host(),
            "--url is {url}; give the server's own address, such as http://127.0.0.1:8080"
        );
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        // Not through a proxy: those of the environment are meant for the Internet, not for the hospital's own servers.
        let http = reqwest::Client::builder().timeout(TIMEOUT).connect_timeout(CONNECT_TIMEOUT).no_proxy();
        let http = tls::trusting(http, &tls, tls::BY_OPTIONS)?;
        Ok(Self { http: http.build().context("the HTTP client cannot be made")?, url, token })
    }

    fn request(&self, method: Method, path: &str) -> anyhow::Result<RequestBuilder> {
        let url =
            self.url.join(path).with_context(|| format!("--url is {}; {path} cannot be found below it", self.url))?;
        Ok(self.http.request(method, url).bearer_auth(&self.token))
    }

    /// Sends a request. The inner error is what the server has against it.
    async fn send(&self, request: RequestBuilder) -> anyhow::Result<Result<Response, Problem>> {
        let response = request.send().await.with_context(|| {
            let by_tls = if self.url.scheme() == "https" { tls::ADVICE } else { "" };
            format!("the server at {} cannot be reached; check that it runs, or name it with --url{by_tls}", self.url)
        })?;
        if response.status().is_success() {
            return Ok(Ok(response));
        }
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await.context("the server's answer broke off; ask again")?;
        Ok(Err(Problem::new(status, &headers, &body)))
    }
}

/// What a server has against a request (RFC 9457).
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    retry_after: Option<Duration>,
    body: Body,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Body {
    title: String,
    detail: String,
    errors: Vec<serde_json::Value>,
}

impl Problem {
    fn new(status: StatusCode, headers: &HeaderMap<HeaderValue>, body: &[u8]) -> Self {
        let seconds = headers.get(reqwest::header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let body = serde_json::from_slice(body).unwrap_or_default();
        Self { status, retry_after: seconds.map(Duration::from_secs), body }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Body { title, detail, .. } = &self.body;
        write!(f, "the server answers {}", self.status.as_u16())?;
        let title = if title.is_empty() { self.status.canonical_reason().unwrap_or_default() } else { title };
        write!(f, ": {title}")?;
        if !detail.is_empty() && detail != title {
            write!(f, ". {detail}")?;
        }
        if matches!(self.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            write!(
                f,
                "\nMake a token with `orderly token --sub NAME --role ops` and give it as ORDERLY_TOKEN or --token"
            )?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}
