//! The fan-out over a Redis stream.

use orderly_sinks::fanout::redis::{Fanout as Stream, Options};
use prometheus::Registry;

use super::*;
use crate::redis::{cluster, name, shared};

fn options(urls: Vec<String>) -> Options {
    Options { urls, stream: name("outcomes"), capacity_batches: CAPACITY_BATCHES, ..Options::default() }
}

async fn open(options: Options) -> Stream {
    Stream::open(options, &Registry::new()).await.expect("it can be opened")
}

super::suite!(open(options(vec![shared().url()])).await);

mod in_a_cluster {
    use super::{cluster, open, options};

    super::super::suite!(open(options(cluster().urls())).await);
}
