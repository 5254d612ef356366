//! Another server takes the place of the one that was asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use orderly_stack::redis::{Options as Server, Redis as Node, RedisCluster};
use orderly_stack::wait_until;
use tokio::net::{TcpListener, TcpStream};

use super::failures::{is_lost_until_restored, open_session, reach, with_a_booking};
use super::*;

const PATIENCE: Duration = Duration::from_secs(60);

/// An address that leads to one server and later to another, as a service's name does. Connections stay where they are.
struct Moving {
    url: String,
    leads_to: Arc<AtomicU16>,
}

impl Moving {
    async fn to(server: &Node) -> Self {
        let leads_to = Arc::new(AtomicU16::new(server.port()));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let url = format!("redis://{}", listener.local_addr().expect("it listens"));
        let target = Arc::clone(&leads_to);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let port = target.load(Ordering::SeqCst);
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(("127.0.0.1", port)).await?;
                    tokio::io::copy_bidirectional(&mut client, &mut server).await
                });
            }
        });
        Self { url, leads_to }
    }

    fn move_to(&self, server: &Node) {
        self.leads_to.store(server.port(), Ordering::SeqCst);
    }
}

fn says(server: &Node, question: &str, answer: &str) {
    wait_until(answer, PATIENCE, || Ok(server.ask(question)?.contains(answer))).expect("it says so");
}

fn follow(replica: &Node, primary: &Node) {
    replica.ask(&format!("REPLICAOF 127.0.0.1 {}", primary.port())).expect("it follows");
    says(replica, "INFO replication", "master_link_status:up");
}

#[tokio::test]
async fn goes_on_with_the_replica_that_was_promoted() {
    let (old, new) = (own(Server::default()), own(Server::default()));
    let address = Moving::to(&old.server).await;
    follow(&new.server, &old.server);
    let ledger = with_a_booking(options(vec![address.url.clone()])).await;
    assert_eq!(old.server.ask("WAIT 1 0").unwrap(), "1", "the replica has it");

    // As a failover does it while the old one lives: the connections still lead there.
    new.server.ask("REPLICAOF NO ONE").unwrap();
    follow(&old.server, &new.server);
    address.move_to(&new.server);
    let refused = ask_under(&ledger, 1, &book(2, 2, 0)).await;
    assert!(
        matches!(&refused, Err(port::Error::DidNotHappen(text)) if text.contains("read only replica")),
        "{refused:?}"
    );
    assert_eq!(ask_under(&ledger, 1, &book(2, 2, 0)).await.unwrap(), Outcome::Booked { number: 2 });
    reach(&ledger).await;
    assert_eq!(ask_under(&ledger, 1, &book(1, 1, 0)).await.unwrap(), Outcome::Booked { number: 1 });
    assert_eq!(ask_under(&ledger, 1, &book(3, 3, 0)).await.unwrap(), Outcome::Rejected(Reason::SoldOut));
    assert_eq!(remaining(&ledger).await, [("session-0".into(), 0)]);
}

/// Redis replicates later than it answers: a replica may lack what was decided last. Nothing is given out twice.
#[tokio::test]
async fn says_that_the_promoted_replica_lacks_something() {
    let (old, new) = (own(Server::default()), own(Server::default()));
    let address = Moving::to(&old.server).await;
    follow(&new.server, &old.server);
    let ledger = open(options(vec![address.url.clone()])).await;
    assert_eq!(ask_under(&ledger, 1, &open_session()).await.unwrap(), Outcome::Applied);
    assert_eq!(old.server.ask("WAIT 1 0").unwrap(), "1");
    new.server.process().signal(Signal::SIGSTOP).unwrap();
    // What was sent to the replica must not lie at its door: it stops before the booking, and its link is gone after it.
    old.server.ask("CLIENT KILL TYPE replica").unwrap();
    assert_eq!(ask_under(&ledger, 1, &book(1, 1, 0)).await.unwrap(), Outcome::Booked { number: 1 });
    old.server.process().kill().unwrap();
    new.server.process().signal(Signal::SIGCONT).unwrap();
    new.server.ask("REPLICAOF NO ONE").unwrap();
    address.move_to(&new.server);
    reach(&ledger).await;
    assert_eq!(remaining(&ledger).await, [("session-0".into(), 2)], "it was promoted without the booking");
    is_lost_until_restored(&ledger).await;
}

#[tokio::test]
async fn follows_a_cluster_to_the_replica_that_was_promoted() {
    let folder = tempfile::TempDir::new().unwrap();
    let cluster = RedisCluster::start(folder.path(), None).unwrap();
    let ledger = with_a_booking(options(cluster.urls())).await;
    let primary = cluster.nodes().iter().find(|node| node.ask("DBSIZE").unwrap() != "0").expect("one has the session");
    let bus = orderly_stack::free_port().unwrap().to_string();
    let config = vec![("cluster-enabled".into(), "yes".into()), ("cluster-port".into(), bus.clone())];
    let replica = own(Server { config, ..Server::default() });
    let replica = &replica.server;
    primary.ask(&format!("CLUSTER MEET 127.0.0.1 {} {bus}", replica.port())).unwrap();
    let primary_id = primary.ask("CLUSTER MYID").unwrap();
    says(replica, "CLUSTER NODES", &primary_id);
    replica.ask(&format!("CLUSTER REPLICATE {primary_id}")).unwrap();
    says(replica, "INFO replication", "master_link_status:up");
    for node in cluster.nodes() {
        says(node, "CLUSTER NODES", &format!("slave {primary_id}"));
    }

    replica.ask("CLUSTER FAILOVER").unwrap();
    says(replica, "INFO replication", "role:master");
    says(primary, "INFO replication", "role:slave");
    reach(&ledger).await;
    assert_eq!(ask_under(&ledger, 1, &book(2, 2, 0)).await.unwrap(), Outcome::Booked { number: 2 });
    assert_eq!(ask_under(&ledger, 1, &book(1, 1, 0)).await.unwrap(), Outcome::Booked { number: 1 });
    assert_eq!(ask_under(&ledger, 1, &book(3, 3, 0)).await.unwrap(), Outcome::Rejected(Reason::SoldOut));
}
