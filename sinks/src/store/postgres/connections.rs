//! Pools of connections, and the lease of one for a piece of work.

use std::future::Future;
use std::time::{Duration, Instant};

use deadpool_postgres::{ClientWrapper, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime};
use futures::future::BoxFuture;
use orderly_domain::port;
use prometheus::IntGauge;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Config, NoTls, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::Options;
use super::error::{Failure, sort, words};
use crate::tls::ClientTls;

/// Some connections to one server.
#[derive(Clone, Debug)]
pub(crate) struct Connections {
    pool: Pool,
    call_timeout: Duration,
    statement_timeout: Duration,
    waiting: IntGauge,
}

impl Connections {
    /// Connects when it is asked to, not before.
    pub(crate) fn new(url: &str, most: usize, options: &Options, waiting: IntGauge) -> port::Result<Self> {
        let config = config(url, options)?;
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = match config.get_ssl_mode() {
            SslMode::Require => Manager::from_config(config, options.tls.clone(), recycling),
            _ => Manager::from_config(config, NoTls, recycling),
        };
        let pool = Pool::builder(manager)
            .max_size(most.max(1))
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(options.connect_timeout))
            .create_timeout(Some(options.connect_timeout))
            .recycle_timeout(Some(options.connect_timeout))
            .build()
            .map_err(|error| port::Error::DidNotHappen(error.to_string()))?;
        let Options { call_timeout, statement_timeout, .. } = *options;
        Ok(Self { pool, call_timeout, statement_timeout, waiting })
    }

    /// A connection, once one is free.
    pub(crate) async fn lease(&self) -> port::Result<Lease> {
        self.waiting.inc();
        let got = self.pool.get().await;
        self.waiting.dec();
        let object = got.map_err(|error| match error {
            PoolError::Backend(error) => sort(&error, port::Error::DidNotHappen),
            PoolError::Timeout(_) => port::Error::DidNotHappen(
                "no connection to PostgreSQL came free in time; check that it answers, or allow more connections"
                    .into(),
            ),
            error => port::Error::DidNotHappen(error.to_string()),
        })?;
        Ok(Lease(Some(object)))
    }

    /// Does work that may not take longer than a call may.
    pub(crate) async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>> + Send,
    ) -> Result<Result<T, Failure>, Late> {
        let began = Instant::now();
        tokio::time::timeout(self.call_timeout, work).await.map_err(|_| {
            self.close_unused_since(began);
            Late(self.call_timeout)
        })
    }

    /// Closes what waits in the pool and was not used since: should the network have lost one connection, it has lost these with
    /// it, and each of them would cost a call its whole time.
    fn close_unused_since(&self, began: Instant) {
        self.pool.retain(|_, metrics| metrics.recycled.unwrap_or(metrics.created) >= began);
    }

    /// Does work on a connection that it leaves without an open transaction, if it ends well. `unsure` is what a broken
    /// connection and a timeout mean for it.
    pub(crate) async fn call<T>(
        &self,
        work: impl for<'a> FnOnce(&'a ClientWrapper) -> BoxFuture<'a, Result<T, Failure>> + Send,
        unsure: fn(String) -> port::Error,
    ) -> port::Result<T> {
        let lease = self.lease().await?;
        match self.in_time(work(lease.client())).await {
            Ok(Ok(answer)) => {
                lease.give_back();
                Ok(answer)
            }
            Ok(Err(failure)) => {
                self.abandon(lease, &failure).await;
                Err(failure.told(unsure))
            }
            Err(late) => Err(unsure(late.to_string())),
        }
    }

    /// Ends the transaction of work that failed; keeps its connection if that is of use.
    pub(crate) async fn abandon(&self, lease: Lease, failure: &Failure) {
        if !failure.is_answer() {
            return;
        }
        let ended = async {
            lease.client().batch_execute("ROLLBACK").await?;
            if failure.is_lock_timeout() {
                self.end_silent(lease.client()).await?;
            }
            Ok(())
        };
        if let Ok(Ok(())) = self.in_time(ended).await {
            lease.give_back();
        }
    }
}

impl Connections {
    /// Ends connections of this program, of this node's or another's, on which the server waits amid a statement for a client
    /// that says nothing: a node that stopped amid its COPY, or whose network did. The server itself does not: while it reads a
    /// COPY it looks at no timeout, and as long as the client's system answers, it would hold its locks for ever.
    async fn end_silent(&self, client: &ClientWrapper) -> Result<(), Failure> {
        let longer_than = self.statement_timeout.as_millis();
        let end = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid() \
             AND state = 'active' \
             AND wait_event = 'ClientRead' AND state_change < clock_timestamp() - interval '{longer_than} milliseconds'"
        );
        let ended = client.query(&end, &[]).await?.len();
        if ended > 0 {
            tracing::warn!(ended, "connections to PostgreSQL that stood still amid a statement were ended");
        }
        Ok(())
    }
}

/// With the certificates of when the connection is made.
impl MakeTlsConnect<Socket> for ClientTls {
    type Stream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;
    type TlsConnect = <MakeRustlsConnect as MakeTlsConnect<Socket>>::TlsConnect;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn make_tls_connect(&mut self, host: &str) -> Result<Self::TlsConnect, Self::Error> {
        let mut connect = MakeRustlsConnect::new(self.config()?);
        MakeTlsConnect::<Socket>::make_tls_connect(&mut connect, host).map_err(Into::into)
    }
}

/// The server did not answer in time.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("PostgreSQL did not answer within {} s; check that it runs", .0.as_secs_f64())]
pub(crate) struct Late(Duration);

/// How to connect: nobody may hold locks for ever, and plans must not depend on statistics that come later.
fn config(url: &str, options: &Options) -> port::Result<Config> {
    let mut config: Config = url.parse().map_err(|error: tokio_postgres::Error| {
        let advice = "write it as postgres://user:password@host:port/database";
        port::Error::DidNotHappen(format!("the store's url cannot be used: {}; {advice}", words(&error)))
    })?;
    let call_timeout = options.call_timeout.as_millis();
    let ours = [
        format!("statement_timeout={}", options.statement_timeout.as_millis()),
        format!("lock_timeout={}", options.lock_timeout.as_millis()),
        format!("idle_in_transaction_session_timeout={}", options.idle_in_transaction_timeout.as_millis()),
        format!("tcp_user_timeout={call_timeout}"),
        "tcp_keepalives_idle=10".into(),
        "tcp_keepalives_interval=5".into(),
        "tcp_keepalives_count=3".into(),
        // A client that is gone is noticed also amid a long statement.
        "client_connection_check_interval=2s".into(),
        // Every statement looks rows up by keys that it is given. A plan made while a table was empty must do the same.
        "enable_seqscan=off".into(),
        "enable_bitmapscan=off".into(),
        "enable_hashjoin=off".into(),
        "enable_mergejoin=off".into(),
        "jit=off".into(),
        "timezone=UTC".into(),
    ];
    let mut all = ours.map(|setting| format!("-c {setting}")).join(" ");
    if let Some(theirs) = config.get_options() {
        all = format!("{all} {theirs}");
    }
    config.options(all);
    if config.get_application_name().is_none() {
        config.application_name("orderly");
    }
    config.connect_timeout(options.connect_timeout).tcp_user_timeout(options.call_timeout);
    config.keepalives_idle(Duration::from_secs(10)).keepalives_interval(Duration::from_secs(5)).keepalives_retries(3);
    Ok(config)
}

/// A connection that goes back to its pool only when its work said that it ended well. Otherwise it is closed, whatever
/// happened: the server then rolls back what was open.
#[derive(Debug)]
pub(crate) struct Lease(Option<Object>);

impl Lease {
    pub(crate) fn client(&self) -> &ClientWrapper {
        self.0.as_ref().expect("it is taken only when the lease ends")
    }

    /// Nothing is open on it.
    pub(crate) fn give_back(mut self) {
        self.0 = None;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(object) = self.0.take() {
            drop(Object::take(object));
        }
    }
}
