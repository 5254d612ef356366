//! The Redis servers of this test run: one that is shared, a cluster, and one of its own for who breaks it.

use std::path::Path;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use orderly_stack::redis::{Options, Redis, RedisCluster};
use tempfile::TempDir;

/// A server and the folder that goes with it.
pub(crate) struct Temporary<T> {
    pub(crate) server: T,
    _folder: TempDir,
}

/// A folder that is named after this process: what is shared is never dropped, and left to the next run to remove.
fn folder() -> TempDir {
    const PREFIX: &str = "orderly-redis-";
    let temporary = std::env::temp_dir();
    for entry in std::fs::read_dir(&temporary).into_iter().flatten().flatten() {
        let name = entry.file_name().into_string().unwrap_or_default();
        let process = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        if process.is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists()) {
            // Another run may be at it too.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    TempDir::with_prefix_in(format!("{PREFIX}{}-", std::process::id()), temporary).expect("there is room for it")
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
        let server = RedisCluster::start(folder.path(), None).expect("a cluster can be started");
        Temporary { server, _folder: folder }
    });
    &CLUSTER.server
}

/// A server for one test alone.
pub(crate) fn own(options: Options) -> Temporary<Redis> {
    let folder = folder();
    let server = Redis::start(folder.path(), options).expect("Redis can be started");
    Temporary { server, _folder: folder }
}

/// A name that no other test has.
pub(crate) fn name(what: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("{what}-{}:", COUNT.fetch_add(1, Ordering::Relaxed))
}
