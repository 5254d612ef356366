//! The distributed profile on real servers: a rush during which nodes and servers are killed, stopped and emptied.

use std::time::{Duration, Instant};

use clap::Parser as _;
use nix::sys::signal::Signal;
use orderly_bench::rush;
use serde_json::Value;

use crate::program::{orderly, output};
use crate::server::Server;
use crate::stack::{CONFIG, Servers};

/// Long enough for any machine; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(50);

#[derive(clap::Parser)]
struct Arguments {
    #[command(flatten)]
    rush: rush::Options,
}

/// What its nodes know of the pipeline, as ops see it.
struct Watch {
    http: reqwest::Client,
    bearer: String,
}

impl Watch {
    async fn state(&self, node: &Server) -> Value {
        let ask = self.http.get(format!("{}/v1/pipeline", node.url())).bearer_auth(&self.bearer);
        let answer = async { ask.send().await?.json::<Value>().await };
        // A node that is being killed does not answer.
        answer.await.unwrap_or(Value::Null)
    }

    /// Waits until the node's state is as wanted.
    async fn until(&self, node: &Server, what: &str, wanted: impl Fn(&Value) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let state = self.state(node).await;
            if wanted(&state) {
                return;
            }
            assert!(Instant::now() < deadline, "in vain it was waited until {what}: {state}");
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until the node has decided something more, or nothing is left to decide.
    async fn until_it_decides(&self, node: &Server) {
        let before = decided(&self.state(node).await);
        let goes_on = |state: &Value| decided(state) > before || state["lag"].as_u64() == Some(0);
        self.until(node, "it decides", goes_on).await;
    }
}

fn decided(state: &Value) -> u64 {
    state["pipeline"]["decided_total"].as_u64().unwrap_or(0)
}

fn owns(state: &Value) -> usize {
    state["pipeline"]["partitions"].as_array().map_or(0, Vec::len)
}

/// One fault after the other in the middle of a rush: no acknowledged intent is lost, none is decided twice, no session is
/// oversold, and in the end the ledger, the store and analytics agree.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rush_survives_nodes_and_servers_that_fail() {
    let mut servers = tokio::task::block_in_place(Servers::start);
    let first = servers.node("pipeline");
    let second = servers.node("pipeline");
    let relay = servers.node("relay");
    let ingresses = [servers.node("ingress"), servers.node("ingress")];
    let token = ["token", "--sub", "amy", "--role", "ops", "--config", CONFIG];
    let bearer = output(orderly(servers.path()).args(token)).trim_end().to_owned();
    let watch = Watch { http: reqwest::Client::new(), bearer };
    for node in [&first, &second] {
        watch.until(node, "partitions are shared", |state| owns(state) == 4).await;
    }
    for ingress in &ingresses {
        watch.until(ingress, "the demo hospital is decided", |state| state["lag"].as_u64() == Some(0)).await;
    }

    let options = ["rush", "--seconds", "25", "--base-rate", "40", "--peak-factor", "25", "--drain-seconds", "120"];
    let options = Arguments::parse_from(options).rush;
    let urls = format!("{},{}", ingresses[0].url(), ingresses[1].url());
    let rush = tokio::spawn(async move { rush::run(&urls, &options).await });

    watch.until_it_decides(&second).await;
    first.kill();
    watch.until(&second, "it has taken over", |state| owns(state) == 8).await;
    watch.until_it_decides(&second).await;

    servers.redis.ask("FLUSHALL").expect("it is flushed");
    watch.until_it_decides(&second).await;
    tokio::task::block_in_place(|| {
        servers.redis.process().kill().expect("it is killed");
        servers.redis.restart().expect("it starts again");
        servers.clickhouse.process().kill().expect("it is killed");
    });
    watch.until_it_decides(&second).await;

    let third = servers.node("pipeline");
    watch.until(&third, "partitions are shared again", |state| owns(state) == 4).await;
    second.signal(Signal::SIGSTOP);
    watch.until(&third, "it has taken over", |state| owns(state) == 8).await;
    second.signal(Signal::SIGCONT);
    watch.until(&second, "it is back", |state| owns(state) == 4).await;

    tokio::task::block_in_place(|| {
        servers.postgres.kill().expect("it is killed");
        servers.postgres.restart().expect("it starts again");
        servers.kafka.restart(0).expect("it starts again");
        servers.clickhouse.restart().expect("it starts again");
    });

    let report = rush.await.expect("no panic").expect("it plays");
    assert!(report.passed(), "{}", report.to_text());
    let check = ["check", "--idle", "--config", CONFIG];
    output(orderly(servers.path()).args(check));
    for node in ingresses.into_iter().chain([second, third, relay]) {
        assert!(node.terminate().success());
    }
}
