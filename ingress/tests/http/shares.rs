//! This node's share of what the policy gives all ingress nodes together.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use orderly_domain::port::peers::Share;
use orderly_domain::port::{Error, Peers, Result};
use orderly_ingress::throttle::{Limits, Policy, Rate};
use orderly_ingress::{Options, Ports};
use tokio::sync::watch;

use crate::kit::{Kit, PATIENCE, Setup, options, problem, session};

/// Three other nodes, which leave a quarter to this one.
#[derive(Default)]
struct Others {
    away: AtomicBool,
    /// The last demand that they heard of, in requests a second.
    demand: watch::Sender<f64>,
    /// How often they could not be reached.
    missed: watch::Sender<usize>,
    left: AtomicBool,
}

#[async_trait]
impl Peers for Others {
    async fn share(&self, demand_per_s: f64) -> Result<Share> {
        if self.away.load(Ordering::SeqCst) {
            self.missed.send_modify(|missed| *missed += 1);
            return Err(Error::DidNotHappen("the others are away".into()));
        }
        self.demand.send_replace(demand_per_s);
        Ok(Share { share: 0.25, nodes: 4 })
    }
    async fn leave(&self) -> Result<()> {
        self.left.store(true, Ordering::SeqCst);
        Ok(())
    }
}

async fn until<T: Send + Sync>(told: &watch::Sender<T>, reached: impl FnMut(&T) -> bool) {
    let mut told = told.subscribe();
    tokio::time::timeout(PATIENCE, told.wait_for(reached)).await.expect("it is told").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_lets_in_its_share_until_it_leaves() {
    let others = Arc::new(Others::default());
    let peers = Arc::clone(&others);
    let global = Some(Rate { rate_per_s: 0.001, burst: 12 });
    let mut kit = Kit::of(Setup {
        options: Options { policy: Policy::of(Limits { global, ..Limits::default() }), ..options() },
        edges: Box::new(move |ports| Ports { peers: Some(peers), ..ports }),
        ..Setup::default()
    })
    .await;
    kit.open(&[session("s1", "li", 50)]).await;
    let share = "orderly_ingress_throttle_share_ratio 0.25\n";
    kit.until_metric(share).await;
    kit.until_metric("orderly_ingress_nodes 4\n").await;
    let admitted = async |key: &str| kit.booking("ann", key, "s1").send().await.unwrap().status().is_success();
    assert!(admitted("k1").await);
    until(&others.demand, |demand| *demand > 0.0).await;

    // What came of the first miss is done by the second.
    others.away.store(true, Ordering::SeqCst);
    until(&others.missed, |missed| *missed >= 2).await;
    kit.until_metric(share).await;
    assert!(admitted("k2").await);
    assert!(admitted("k3").await);
    let told = problem(kit.booking("ann", "k4", "s1").send().await.unwrap(), 429, "rate-limited").await;
    assert_eq!(told["limit"], "global", "a quarter of twelve is used up: {told}");

    assert!(!others.left.load(Ordering::SeqCst));
    kit.stop.take().unwrap().send(()).unwrap();
    (&mut kit.server).await.unwrap();
    assert!(others.left.load(Ordering::SeqCst));
}
