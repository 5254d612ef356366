//! Callers and nodes that go away amid a commit: nothing stays open behind them.

use orderly_stack::proxy::{Proxy, Way};

use super::*;

/// A store with one connection for writes, whose connections have a name of their own in `pg_stat_activity`.
async fn narrow(schema: &Schema, url: &str, call_timeout: Duration) -> Arc<Sql> {
    schema.create().await;
    let url = format!("{url}&application_name={}", schema.name());
    let options = Options { url, writers: 1, call_timeout, ..schema.options() };
    Arc::new(Sql::open(options, &Registry::new()).await.unwrap())
}

/// Whether a transaction of the store's connections is `state`.
fn has(schema: &Schema, state: &str) -> String {
    let of = format!("application_name = '{}'", schema.name());
    format!("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE {of} AND {state})")
}

/// No transaction is open, whether it waits or works.
async fn nothing_is_open(shell: &Client, schema: &Schema) {
    until(shell, &has(schema, "xact_start IS NOT NULL").replace("SELECT EXISTS", "SELECT NOT EXISTS")).await;
}

/// Somebody else holds what the commit needs; the caller goes away while it waits. The commit is brought to its end, and the
/// pool's only connection is as good as before.
#[tokio::test]
async fn a_caller_that_goes_away_amid_a_commit_leaves_nothing_open() {
    let schema = Schema::new(&SERVER);
    let store = narrow(&schema, schema.url(), Duration::from_secs(60)).await;
    let mut owner = Owner::claim(store, &[0]).await;
    owner.one(0, open(0, 9), Outcome::Applied).await;
    let other = shell(schema.url()).await;
    for round in 1..=5_u8 {
        other.batch_execute("BEGIN; SELECT FROM partitions FOR UPDATE").await.unwrap();
        owner.decide(0, book(round, round, 0), booked(u32::from(round)));
        let commit = owner.take();
        let (store, task) = (Arc::clone(&owner.store), commit.clone());
        let caller = tokio::spawn(async move { store.commit(&task).await });
        until(&other, &has(&schema, "wait_event_type = 'Lock'")).await;
        let progress = owner.store.progress().await.unwrap();
        assert_eq!(progress[0].next_offset, u64::from(round), "reads have connections of their own");
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
        other.batch_execute("ROLLBACK").await.unwrap();
        nothing_is_open(&other, &schema).await;
        assert_eq!(owner.store.progress().await.unwrap()[0].next_offset, u64::from(round) + 1, "it was ended");
        assert_eq!(
            owner.store.commit(&commit).await.unwrap()[0].outcome,
            booked(u32::from(round)),
            "and can be asked for"
        );
    }
    nothing_is_open(&other, &schema).await;
    assert_eq!(owner.store.sessions(DAY).await.unwrap()[0].booked, 5);
}

/// The store itself gives a commit up amid its transaction: its time is over. The connection is closed, and with it the
/// transaction; the pool makes another.
#[tokio::test]
async fn a_commit_that_is_given_up_does_not_poison_the_pool() {
    let schema = Schema::new(&SERVER);
    drop(schema.open().await);
    let hasty = narrow(&schema, schema.url(), Duration::from_millis(300)).await;
    let mut owner = Owner::claim(schema.open().await, &[0]).await;
    owner.one(0, open(0, 9), Outcome::Applied).await;
    let other = shell(schema.url()).await;
    owner.decide(0, book(1, 1, 0), booked(1));
    let commit = owner.take();
    for _ in 0..3 {
        other.batch_execute("BEGIN; SELECT FROM partitions FOR UPDATE").await.unwrap();
        did_not_happen(&hasty.commit(&commit).await);
        other.batch_execute("ROLLBACK").await.unwrap();
        nothing_is_open(&other, &schema).await;
    }
    let answers = loop {
        match hasty.commit(&commit).await {
            Ok(answers) => break answers,
            // A busy machine may take longer than that for what nobody is in the way of.
            Err(port::Error::DidNotHappen(_) | port::Error::MayHaveHappened(_)) => {}
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(answers[0].outcome, booked(1));
    nothing_is_open(&other, &schema).await;
    assert_eq!(hasty.progress().await.unwrap()[0].next_offset, 2);
}

/// A node that stops amid its commit holds its partition's row. The server ends its transaction after
/// `idle_in_transaction_timeout`, long before the node would have, and the next owner goes on.
#[tokio::test]
async fn a_node_that_stops_amid_a_commit_frees_its_locks() {
    let schema = Schema::new(&SERVER);
    drop(schema.open().await);
    // Its `COMMIT` does not leave it: to the server, it has stopped.
    let port = SERVER.port().to_string();
    let proxy = Proxy::start(SERVER.port()).unwrap();
    let url = schema.url().replacen(&port, &proxy.port().to_string(), 1);
    let url = format!("{url}&application_name={}", schema.name());
    let idle_in_transaction_timeout = Duration::from_millis(500);
    let call_timeout = Duration::from_secs(600);
    let options = Options { url, writers: 1, call_timeout, idle_in_transaction_timeout, ..schema.options() };
    let stopped = Arc::new(Sql::open(options, &Registry::new()).await.unwrap());
    let mut owner = Owner::claim(stopped, &[0]).await;
    owner.one(0, open(0, 3), Outcome::Applied).await;
    owner.decide(0, book(1, 1, 0), booked(1));
    let commit = owner.take();
    proxy.set(Way::LoseRequest(b"COMMIT".to_vec()));
    let (store, task) = (Arc::clone(&owner.store), commit.clone());
    let stopping = tokio::spawn(async move { store.commit(&task).await });
    let admin = shell(schema.url()).await;
    until(&admin, &has(&schema, "state = 'idle in transaction'")).await;
    let holds = "SELECT COUNT(*) FROM pg_locks JOIN pg_stat_activity USING (pid) \
                 WHERE application_name = $1 AND relation = 'partitions'::regclass";
    let held: i64 = admin.query_one(holds, &[&schema.name()]).await.unwrap().get(0);
    assert!(held > 0, "it holds the partitions");

    let mut next = Owner::claim(schema.open().await, &[0]).await;
    nothing_is_open(&admin, &schema).await;
    let unsure = stopping.await.unwrap();
    assert!(matches!(unsure, Err(port::Error::MayHaveHappened(_))), "the server closed its connection: {unsure:?}");
    next.decide(0, book(2, 2, 0), booked(1));
    assert_eq!(next.commit().await[0].outcome, booked(1), "what was not committed is not there");
    // It wakes up, and tries again what it knows nothing of.
    proxy.set(Way::Forward);
    is_fenced(&owner.store.commit(&commit).await, 0);
    assert_eq!(next.store.sessions(DAY).await.unwrap()[0].booked, 1);
}

/// A node that stops amid the rows of a COPY holds its partition's row as well, and no timeout of the server's ends that: whoever
/// waits for the row ends it, once it took longer than a statement may.
#[tokio::test]
async fn a_node_that_stops_amid_a_copy_is_ended_by_whoever_waits_for_it() {
    let schema = Schema::new(&SERVER);
    drop(Owner::claim(schema.open().await, &[0]).await);
    let admin = shell(schema.url()).await;
    let url = format!("{}&application_name={}", schema.url(), schema.name());
    let stopped = shell(&url).await;
    stopped.batch_execute("BEGIN; SET statement_timeout = '50ms'; SELECT FROM partitions FOR UPDATE").await.unwrap();
    let rows = stopped.copy_in::<_, bytes::Bytes>("COPY decisions FROM STDIN").await.unwrap();
    until(&admin, &has(&schema, "state = 'active' AND wait_event = 'ClientRead'")).await;

    let lock_timeout = Duration::from_millis(100);
    let statement_timeout = Duration::from_secs(1);
    let options = Options { url, lock_timeout, statement_timeout, ..schema.options() };
    let store = Sql::open(options, &Registry::new()).await.unwrap();
    let claims = async {
        loop {
            match store.claim(&[0], "next").await {
                Ok(claims) => break claims,
                Err(error) => assert!(matches!(error, port::Error::DidNotHappen(_)), "{error}"),
            }
        }
    };
    let claims = tokio::time::timeout(Duration::from_secs(60), claims).await.expect("it holds the row for ever");
    assert_eq!(claims.len(), 1);
    nothing_is_open(&admin, &schema).await;
    drop((rows, stopped));
}

/// The network forgets connections: one call waits in vain, and those that come after it do not find the next dead one.
#[tokio::test]
async fn of_connections_that_died_together_one_call_suffers() {
    let schema = Schema::new(&SERVER);
    schema.create().await;
    let proxy = Proxy::start(SERVER.port()).unwrap();
    let url = schema.url().replacen(&SERVER.port().to_string(), &proxy.port().to_string(), 1);
    let options = Options { url, readers: 4, call_timeout: Duration::from_secs(2), ..schema.options() };
    let store = Sql::open(options, &Registry::new()).await.unwrap();
    let read = || store.sessions(DAY);
    futures::future::try_join_all((0..32).map(|_| read())).await.unwrap();
    proxy.set(Way::HalfOpen);
    proxy.set(Way::Forward);
    did_not_happen(&read().await);
    for _ in 0..8 {
        read().await.unwrap();
    }
}
