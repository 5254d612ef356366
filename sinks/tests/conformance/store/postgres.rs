//! The PostgreSQL store, and what is its own: several nodes, a server that is killed or stopped, days.

use std::path::PathBuf;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use orderly_sinks::store::postgres::{Options, Store as Sql};
use orderly_stack::postgres::{Options as Setup, Postgres};
use prometheus::Registry;
use tokio_postgres::{Client, NoTls};

use super::*;

/// One server for all tests that leave it alone. Its data are not kept, so it need not wait for the disk.
static SERVER: LazyLock<Postgres> = LazyLock::new(|| {
    let setup = Setup { fsync: false, connections_max: 300, ..Setup::default() };
    Postgres::start(&folder(), setup).unwrap()
});

/// A folder that belongs to this process; those of processes that are gone are removed.
fn folder() -> PathBuf {
    const PREFIX: &str = "orderly-postgres-";
    for entry in std::fs::read_dir(std::env::temp_dir()).unwrap().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        if owner.is_some_and(|owner| !std::path::Path::new("/proc").join(owner).exists()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    std::env::temp_dir().join(format!("{PREFIX}{}", std::process::id()))
}

/// A connection for the tests themselves.
async fn shell(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// A schema of its own in the server's database.
struct Schema {
    url: String,
    name: String,
}

impl Schema {
    fn new(server: &Postgres) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("place_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        Self { url: format!("{}?options=-c%20search_path%3D{name}", server.url("postgres")), name }
    }

    fn options(&self) -> Options {
        Options { writers: 2, readers: 2, ..Options::new(&self.url) }
    }

    async fn node(&self) -> Arc<Sql> {
        let statement = format!("CREATE SCHEMA IF NOT EXISTS {}", self.name);
        shell(&self.url).await.batch_execute(&statement).await.unwrap();
        Arc::new(Sql::open(self.options(), &Registry::new()).await.unwrap())
    }
}

impl Place for Schema {
    async fn open(&self) -> Arc<dyn Store> {
        self.node().await
    }
}

super::suite!(Schema::new(&SERVER));
