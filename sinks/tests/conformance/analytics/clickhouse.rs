//! Analytics in ClickHouse, on a real server of 2018 and, when asked for, on today's engine.

mod chdb;
mod engine;
mod faults;
mod queries;
mod random;

use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use orderly_sinks::analytics::clickhouse::{Analytics as ClickHouse, Options};
use orderly_stack::clickhouse::{ClickHouse as Server, Options as ServerOptions};
use prometheus::Registry;

use super::*;

/// One server for all tests of this process; each has a database of its own.
static SERVER: LazyLock<Server> =
    LazyLock::new(|| Server::start(&folder("server"), &ServerOptions::default()).expect("a ClickHouse server"));

static DATABASES: AtomicU32 = AtomicU32::new(0);

/// Where analytics are opened.
struct Database(Options);

impl Place for Database {
    async fn open(&self) -> Arc<dyn Analytics> {
        Arc::new(self.own().await)
    }
}

impl Database {
    /// A database of its own on a server.
    fn on(url: String) -> Self {
        let database = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        Self(Options { url, database, ..Options::default() })
    }

    /// Another database on the same server, opened the same way.
    fn another(&self) -> Self {
        let Self(new) = Self::on(self.0.url.clone());
        Self(Options { database: new.database, ..self.0.clone() })
    }

    /// Opened, as what it is.
    async fn own(&self) -> ClickHouse {
        ClickHouse::open(self.0.clone(), &Registry::new()).await.unwrap()
    }

    /// A client beside the adapter.
    fn client(&self) -> ::clickhouse::Client {
        let client = ::clickhouse::Client::default().with_url(&self.0.url).with_database(&self.0.database);
        client.with_validation(false).with_compression(::clickhouse::Compression::None)
    }

    async fn execute(&self, sql: &str) {
        self.client().query_raw(sql).execute().await.unwrap();
    }

    async fn number(&self, sql: &str) -> u64 {
        self.client().query_raw(sql).fetch_one().await.unwrap()
    }
}

fn database() -> Database {
    Database::on(SERVER.url())
}

/// A folder for a server of this process. Those of ended processes are removed.
fn folder(name: &str) -> PathBuf {
    let all = std::env::temp_dir().join("orderly-clickhouse-tests");
    for stale in std::fs::read_dir(&all).into_iter().flatten().flatten() {
        if !Path::new("/proc").join(stale.file_name()).exists() {
            let _ = std::fs::remove_dir_all(stale.path());
        }
    }
    let folder = all.join(std::process::id().to_string()).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

super::suite!(database());
engine::suite!(database());

#[tokio::test]
async fn keeps_rows_without_compression_and_in_small_batches() {
    let mut place = database();
    place.0 = Options { compress: false, batch_rows_max: 2, ..place.0 };
    super::keeps_rows_when_it_is_opened_again(&place).await;
}

#[tokio::test]
async fn says_what_to_correct() {
    let Database(options) = database();
    let wrong = [
        (Options { user: "nobody".into(), ..options.clone() }, "correct the user and password"),
        (Options { password: Some("secret".into()), ..options.clone() }, "correct the user and password"),
        (Options { url: "http://127.0.0.1:1".into(), ..options.clone() }, "start it, or correct the address"),
        (Options { url: "127.0.0.1:8123".into(), ..options }, "must be http://host:port"),
    ];
    for (options, advice) in wrong {
        let error = ClickHouse::open(options, &Registry::new()).await.unwrap_err();
        assert!(matches!(error, Error::DidNotHappen(_)), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(advice) && !text.contains("secret"), "{text}");
    }
}
