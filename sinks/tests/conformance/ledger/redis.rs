//! The ledger in Redis, on a server and on a cluster.

use orderly_sinks::ledger::redis::{Ledger, Options};
use prometheus::Registry;

use super::*;
use crate::redis::{cluster, name, shared};

fn options(urls: Vec<String>) -> Options {
    Options { urls, prefix: name("ledger"), ..Options::default() }
}

async fn open(options: Options) -> Ledger {
    Ledger::open(options, &Registry::new()).await.expect("it can be opened")
}

super::suite!(open(options(vec![shared().url()])).await);

mod in_a_cluster {
    use super::{cluster, open, options};

    super::super::suite!(open(options(cluster().urls())).await);
}
