//! What every meeting of ingress nodes must do.

use std::time::Duration;

use orderly_domain::port::Peers;
use orderly_domain::port::peers::Share;
use orderly_sinks::peers::redis::{self, Options};

use crate::redis::{cluster, name, shared};

/// How long a node counts in these tests. Longer than any pause between two calls that a busy machine makes.
const COUNTS_FOR: Duration = Duration::from_secs(60);

struct Meeting {
    urls: Vec<String>,
    key: String,
}

impl Meeting {
    fn node(&self, node: &str, counts_for: Duration) -> impl Peers {
        let (urls, key) = (self.urls.clone(), self.key.clone());
        redis::Peers::new(Options { urls, key, node: node.into(), counts_for, ..Options::default() }).expect("readable")
    }
}

fn meetings() -> [Meeting; 2] {
    [vec![shared().url()], cluster().urls()].map(|urls| Meeting { urls, key: name("peers") })
}

#[tokio::test]
async fn a_node_alone_has_everything() {
    for meeting in meetings() {
        let node = meeting.node("a", COUNTS_FOR);
        for demand in [0.0, 10_000.0, f64::NAN, -1.0] {
            assert_eq!(node.share(demand).await.expect("told"), Share { share: 1.0, nodes: 1 });
        }
    }
}

#[tokio::test]
async fn nodes_share_by_what_they_are_asked() {
    for meeting in meetings() {
        let [busy, calm, idle] = ["busy", "calm", "idle"].map(|name| meeting.node(name, COUNTS_FOR));
        let demands = [3_000.0, 1_000.0, 0.0];
        // Once so that all are known, once to be told.
        let mut shares = Vec::new();
        for _ in 0..2 {
            shares = vec![busy.share(demands[0]).await, calm.share(demands[1]).await, idle.share(demands[2]).await];
        }
        let shares: Vec<_> = shares.into_iter().map(|share| share.expect("told")).collect();
        assert!(shares.iter().all(|told| told.nodes == 3), "{shares:?}");
        let total: f64 = shares.iter().map(|told| told.share).sum();
        assert!((total - 1.0).abs() < 1e-6, "{shares:?}");
        let [busy, calm, idle] = [shares[0].share, shares[1].share, shares[2].share];
        assert!((0.68..0.76).contains(&busy) && (0.23..0.27).contains(&calm), "{shares:?}");
        assert!((0.01..0.05).contains(&idle), "it has something for the first who asks: {shares:?}");
    }
}

#[tokio::test]
async fn who_leaves_or_dies_leaves_its_share_to_the_others() {
    for meeting in meetings() {
        let (stays, goes) = (meeting.node("stays", COUNTS_FOR), meeting.node("goes", COUNTS_FOR));
        goes.share(500.0).await.expect("told");
        assert_eq!(stays.share(500.0).await.expect("told"), Share { share: 0.5, nodes: 2 });
        goes.leave().await.expect("told");
        assert_eq!(stays.share(500.0).await.expect("told"), Share { share: 1.0, nodes: 1 });

        let dies = meeting.node("dies", Duration::from_millis(50));
        dies.share(500.0).await.expect("told");
        // It is not heard of again.
        while stays.share(500.0).await.expect("told").nodes > 1 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_server_that_is_away_is_told() {
    let nowhere = Meeting { urls: vec!["redis://127.0.0.1:1".into()], key: name("peers") };
    nowhere.node("a", COUNTS_FOR).share(1.0).await.expect_err("nobody listens there");
}
