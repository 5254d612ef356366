//! The fan-out over a Redis stream, on a server and on a cluster.

mod group;

use std::time::Duration;

use nix::sys::signal::Signal;
use orderly_domain::port;
use orderly_sinks::fanout::redis::{Fanout as Stream, Options};
use orderly_stack::redis::Options as Server;
use prometheus::Registry;

use super::*;
use crate::redis::{cluster, name, own, shared};

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

/// Publishes until it is published, as the pipeline does.
async fn publish(fanout: &Stream, batch: Arc<[Committed]>) {
    while let Err(error) = fanout.publish(Arc::clone(&batch)).await {
        assert!(matches!(error, port::Error::MayHaveHappened(_) | port::Error::DidNotHappen(_)), "{error}");
    }
}

#[tokio::test]
async fn tells_other_processes() {
    let options = options(vec![shared().url()]);
    let (one, other) = (open(options.clone()).await, open(options.clone()).await);
    let mut events = other.subscribe();
    one.publish(batch(3, 2)).await.unwrap();
    assert_eq!(hear(&mut events).await.as_deref(), Some(&*batch(3, 2)));
    let late = open(options).await;
    let mut late = late.subscribe();
    one.publish(batch(5, 1)).await.unwrap();
    assert_eq!(hear(&mut late).await.as_deref(), Some(&*batch(5, 1)), "what came before was not for it");
}

#[tokio::test]
async fn tells_of_a_gap_after_a_restart_and_goes_on() {
    let mut redis = own(Server::default());
    let fanout = open(options(vec![redis.server.url()])).await;
    let mut events = fanout.subscribe();
    for first in 0..2 {
        publish(&fanout, batch(first, 1)).await;
        assert_eq!(hear(&mut events).await.as_deref(), Some(&*batch(first, 1)));
    }
    redis.server.restart().unwrap();
    assert_eq!(hear(&mut events).await, None, "what was published may be lost");
    publish(&fanout, batch(2, 1)).await;
    assert_eq!(hear(&mut events).await.as_deref(), Some(&*batch(2, 1)));
}

#[tokio::test]
async fn tells_of_a_gap_when_it_was_flushed() {
    let redis = own(Server::default());
    let options = Options { idle: Duration::from_millis(50), ..options(vec![redis.server.url()]) };
    let fanout = open(options).await;
    let mut events = fanout.subscribe();
    publish(&fanout, batch(0, 1)).await;
    assert_eq!(hear(&mut events).await.as_deref(), Some(&*batch(0, 1)));
    redis.server.ask("FLUSHALL").unwrap();
    assert_eq!(hear(&mut events).await, None, "also when nothing is published");
    publish(&fanout, batch(1, 1)).await;
    assert_eq!(hear(&mut events).await.as_deref(), Some(&*batch(1, 1)));
}

#[tokio::test]
async fn tells_of_a_gap_where_the_stream_was_trimmed() {
    let options = Options { capacity_batches: 4_096, ..options(vec![shared().url()]) };
    let fanout = open(options.clone()).await;
    let mut events = fanout.subscribe();
    fanout.publish(batch(0, 1)).await.unwrap();
    assert_eq!(hear(&mut events).await.as_deref(), Some(&*batch(0, 1)));
    // While this thread waits for another one, the reader here reads nothing.
    let publisher = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let other = open(Options { kept_batches_max: 1, ..options }).await;
            for first in 1..=1_000 {
                other.publish(batch(first, 1)).await.unwrap();
            }
        });
    });
    publisher.join().unwrap();
    let (mut heard, mut gaps) = (vec![0], 0);
    while heard.last() != Some(&1_000) {
        match hear(&mut events).await {
            Some(committed) => heard.push(committed[0].position.offset),
            None => gaps += 1,
        }
    }
    assert!(heard.is_sorted() && heard.len() < 1_000, "{heard:?}");
    let jumps = heard.windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
    assert_eq!((gaps, jumps), (1, 1), "{heard:?}");
}

#[tokio::test]
async fn tells_of_a_gap_at_what_it_cannot_read() {
    let options = options(vec![shared().url()]);
    let fanout = open(options.clone()).await;
    let mut events = fanout.subscribe();
    shared().ask(&format!("XADD {} * n nonsense b nonsense", options.stream)).unwrap();
    assert_eq!(hear(&mut events).await, None);
    fanout.publish(batch(1, 1)).await.unwrap();
    while hear(&mut events).await.is_none() {}
}

#[tokio::test]
async fn says_what_a_silence_means() {
    let redis = own(Server::default());
    let brief = Duration::from_millis(200);
    let options = Options { response_timeout: brief, idle: brief, ..options(vec![redis.server.url()]) };
    let fanout = open(options).await;
    let mut events = fanout.subscribe();
    publish(&fanout, batch(0, 1)).await;
    assert_eq!(hear(&mut events).await.as_deref(), Some(&*batch(0, 1)));
    redis.server.process().signal(Signal::SIGSTOP).unwrap();
    let silent = fanout.publish(batch(1, 1)).await;
    assert!(matches!(silent, Err(port::Error::MayHaveHappened(_))), "{silent:?}");
    redis.server.process().signal(Signal::SIGCONT).unwrap();
    publish(&fanout, batch(1, 1)).await;
    // It may have been published twice, and the reader may have given up in between.
    while hear(&mut events).await.as_deref() != Some(&*batch(1, 1)) {}
    redis.server.process().kill().unwrap();
    let _ = fanout.publish(batch(2, 1)).await;
    let refused = fanout.publish(batch(2, 1)).await;
    assert!(matches!(refused, Err(port::Error::DidNotHappen(_))), "{refused:?}");
}
