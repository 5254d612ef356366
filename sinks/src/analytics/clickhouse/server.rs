//! The server: who it is, what it can do, and how it is asked.

use std::future::{Future, ready};
use std::task::{self, Poll};
use std::time::Duration;

use clickhouse::sql::Identifier;
use clickhouse::{Client, Compression, RowOwned, RowRead};
use futures::future::BoxFuture;
use http::Uri;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use orderly_domain::port::{self, Result};
use serde::Deserialize;
use serde_json::Value;
use tower_service::Service;

use super::{Options, error};
use crate::tls::ClientTls;

/// From this version on a server is one of today. 18.16 and 26.7 were tried; this lies where all that is asked of the
/// newer kind had long been there.
const MODERN: (u32, u32) = (22, 8);

/// How the address of a server begins that speaks TLS.
const TLS_SCHEME: &str = "https://";

/// How long an unused connection is kept: less than the 3 s after which a server closes it.
const IDLE_MAX: Duration = Duration::from_secs(2);

/// A server and a database on it.
#[derive(Debug)]
pub(super) struct Server {
    client: Client,
    version: (u32, u32),
    options: Options,
}

/// A whole answer with the types of its columns.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<Vec<Value>>,
}

#[derive(Deserialize)]
struct JsonCompact {
    meta: Vec<Column>,
    data: Vec<Vec<Value>>,
}

#[derive(Deserialize)]
struct Column {
    name: String,
    #[serde(rename = "type")]
    kind: String,
}

impl Server {
    /// Asks a server for its version and makes the database when it is not there.
    pub(super) async fn connect(options: Options) -> Result<Self> {
        check_url(&options.url)?;
        let compression = if options.compress { Compression::Lz4 } else { Compression::None };
        let client = client(&options)?.with_url(&options.url).with_user(&options.user);
        let client = client.with_compression(compression);
        let client = match &options.password {
            Some(password) => client.with_password(password),
            None => client,
        };
        // The old servers know no row format with types.
        let mut server = Self { client: client.with_validation(false), version: (0, 0), options };
        let version: String = server.one("SELECT version()").await?;
        server.version = parse_version(&version).ok_or_else(|| {
            let url = &server.options.url;
            port::Error::DidNotHappen(format!("{url} says that it is of version {version:?}; it must be ClickHouse"))
        })?;
        server.client = server.client.clone().with_validation(server.is_modern());
        server.make_database().await?;
        server.client = server.client.with_database(&server.options.database);
        Ok(server)
    }

    /// A user that may not make databases can be given one.
    async fn make_database(&self) -> Result<()> {
        let name = &self.options.database;
        let query = self.reads(self.options.timeout).query("SELECT count() FROM system.databases WHERE name = ?");
        let there: u64 = self.in_time(self.options.timeout, query.bind(name).fetch_one()).await?;
        if there == 0 {
            let query = self.client.query("CREATE DATABASE IF NOT EXISTS ?").bind(Identifier(name));
            self.in_time(self.options.timeout, query.execute()).await?;
        }
        Ok(())
    }

    pub(super) const fn options(&self) -> &Options {
        &self.options
    }

    /// Whether it has what came after 2018.
    pub(super) fn is_modern(&self) -> bool {
        self.version >= MODERN
    }

    /// The client for inserts.
    pub(super) const fn inserts(&self) -> &Client {
        &self.client
    }

    /// The client for reads. Without `wait_end_of_query` a read that fails midway looks like one with fewer rows. A server
    /// is not sent a setting that it may not know: for it that is an error.
    fn reads(&self, limit: Duration) -> Client {
        self.client
            .clone()
            .with_setting("wait_end_of_query", "1")
            .with_setting("max_execution_time", limit.as_secs().max(1).to_string())
    }

    /// Changes something.
    pub(super) async fn execute(&self, sql: &str) -> Result<()> {
        let mut query = self.client.query_raw(sql);
        if !self.is_modern() {
            query = query.with_setting("allow_experimental_low_cardinality_type", "1");
        }
        self.in_time(self.options.timeout, query.execute()).await
    }

    /// A read of one row.
    pub(super) async fn one<T: RowOwned + RowRead>(&self, sql: &str) -> Result<T> {
        self.one_within(self.options.timeout, sql).await
    }

    /// A read of one row that may take long.
    pub(super) async fn one_within<T: RowOwned + RowRead>(&self, limit: Duration, sql: &str) -> Result<T> {
        self.in_time(limit, self.reads(limit).query_raw(sql).fetch_one()).await
    }

    /// A read of a few rows.
    pub(super) async fn all<T: RowOwned + RowRead>(&self, sql: &str) -> Result<Vec<T>> {
        self.all_within(self.options.timeout, sql).await
    }

    /// A read of a few rows that may take long.
    pub(super) async fn all_within<T: RowOwned + RowRead>(&self, limit: Duration, sql: &str) -> Result<Vec<T>> {
        self.in_time(limit, self.reads(limit).query_raw(sql).fetch_all()).await
    }

    /// A report's rows.
    pub(super) async fn answer(&self, sql: &str) -> Result<Answer> {
        let limit = self.options.report_timeout;
        let query = self.reads(limit).query_raw(sql).with_setting("output_format_json_quote_64bit_integers", "0");
        let bytes = self.in_time(limit, async { query.fetch_bytes("JSONCompact")?.collect().await }).await?;
        let answer: JsonCompact = serde_json::from_slice(&bytes).map_err(|error| {
            port::Error::DidNotHappen(format!("ClickHouse at {} answered with broken JSON: {error}", self.options.url))
        })?;
        let rows = answer.data.into_iter().map(|row| {
            let typed = row.into_iter().zip(&answer.meta).map(|(value, column)| typed(value, &column.kind));
            typed.collect()
        });
        Ok(Answer { rows: rows.collect(), columns: answer.meta.iter().map(|column| column.name.clone()).collect() })
    }

    async fn in_time<T>(&self, limit: Duration, work: impl Future<Output = clickhouse::error::Result<T>>) -> Result<T> {
        let url = &self.options.url;
        let done = tokio::time::timeout(limit, work).await.map_err(|_| error::no_answer(url, limit))?;
        done.map_err(|error| error::of_read(url, &error))
    }
}

/// A client over connections that send at once. The default one's wait for an acknowledgement before an insert's last
/// piece, and the server holds that back for 40 ms.
///
/// # Errors
/// When it is to speak TLS, and a file for that cannot be used.
fn client(options: &Options) -> Result<Client> {
    let mut http = HttpConnector::new();
    http.set_nodelay(true);
    http.set_connect_timeout(Some(options.timeout));
    let mut builder = hyper_util::client::legacy::Client::builder(TokioExecutor::new());
    builder.pool_idle_timeout(IDLE_MAX);
    if !options.url.starts_with(TLS_SCHEME) {
        return Ok(Client::with_http_client(builder.build(http)));
    }
    http.enforce_http(false);
    let tls = options.tls.clone();
    tls.config().map_err(|error| port::Error::DidNotHappen(error.to_string()))?;
    Ok(Client::with_http_client(builder.build(Connector { http, tls })))
}

/// Makes each connection with the certificates of then.
#[derive(Clone, Debug)]
struct Connector {
    http: HttpConnector,
    tls: ClientTls,
}

impl Service<Uri> for Connector {
    type Response = <HttpsConnector<HttpConnector> as Service<Uri>>::Response;
    type Error = <HttpsConnector<HttpConnector> as Service<Uri>>::Error;
    type Future = BoxFuture<'static, std::result::Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut task::Context<'_>) -> Poll<std::result::Result<(), Self::Error>> {
        self.http.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, server: Uri) -> Self::Future {
        match self.tls.config() {
            Ok(config) => Box::pin(HttpsConnector::from((self.http.clone(), config)).call(server)),
            Err(error) => Box::pin(ready(Err(error.into()))),
        }
    }
}

/// ClickHouse writes a whole number of a floating type without its point.
fn typed(value: Value, kind: &str) -> Value {
    match value.as_f64() {
        Some(number) if kind.contains("Float") => number.into(),
        _ => value,
    }
}

fn check_url(url: &str) -> Result<()> {
    let host = url.strip_prefix("http://").or_else(|| url.strip_prefix(TLS_SCHEME)).unwrap_or_default();
    if host.is_empty() || host.contains('@') {
        let text = "the address of analytics must be http://host:port or https://host:port; user and password are set beside it";
        return Err(port::Error::DidNotHappen(text.into()));
    }
    Ok(())
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_versions() {
        assert_eq!(parse_version("18.16.1"), Some((18, 16)));
        assert_eq!(parse_version("26.7.2.1"), Some((26, 7)));
        assert_eq!(parse_version("PostgreSQL"), None);
        assert_eq!(parse_version(""), None);
    }

    #[test]
    fn refuses_addresses_that_it_cannot_use_or_would_tell() {
        check_url("http://127.0.0.1:8123").unwrap();
        check_url("https://127.0.0.1:8443").unwrap();
        for url in ["", "127.0.0.1:8123", "https://", "http://user:secret@127.0.0.1:8123"] {
            let text = check_url(url).unwrap_err().to_string();
            assert!(!text.contains("secret"), "{text}");
        }
    }
}
