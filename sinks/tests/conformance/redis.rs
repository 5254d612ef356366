//! The Redis servers of this test run: one that is shared, a cluster, and one of its own for who breaks it.

use std::path::PathBuf;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use orderly_stack::redis::{Options, Redis, RedisCluster};
use tempfile::TempDir;

/// A server and the folder that goes with it.
pub(crate) struct Temporary<T> {
    pub(crate) server: T,
    _folder: TempDir,
}

fn folder() -> TempDir {
    TempDir::with_prefix("orderly-redis-").expect("there is room for temporary files")
}

fn path(folder: &TempDir) -> PathBuf {
    folder.path().to_owned()
}

/// A server that many tests share; each takes keys of its own.
pub(crate) fn shared() -> &'static Redis {
    static SHARED: LazyLock<Temporary<Redis>> = LazyLock::new(|| own(Options::default()));
    &SHARED.server
}

/// A cluster that many tests share; each takes keys of its own.
pub(crate) fn cluster() -> &'static RedisCluster {
    static CLUSTER: LazyLock<Temporary<RedisCluster>> = LazyLock::new(|| {
        let folder = folder();
        let server = RedisCluster::start(&path(&folder), None).expect("a cluster can be started");
        Temporary { server, _folder: folder }
    });
    &CLUSTER.server
}

/// A server for one test alone.
pub(crate) fn own(options: Options) -> Temporary<Redis> {
    let folder = folder();
    let server = Redis::start(&path(&folder), options).expect("Redis can be started");
    Temporary { server, _folder: folder }
}

/// A name that no other test has.
pub(crate) fn name(what: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("{what}-{}:", COUNT.fetch_add(1, Ordering::Relaxed))
}
