//! Reads from a streaming standby that may lag.

use super::*;

/// What lies on the standby is read there, what does not is asked of the primary; without the standby nothing is missed.
#[tokio::test]
async fn a_standby_answers_what_it_has_and_the_primary_the_rest() {
    let (_dir, primary) = server();
    let standby_dir = tempfile::TempDir::new().unwrap();
    let standby = primary.standby(standby_dir.path()).unwrap();
    let schema = Schema::new(&primary);
    let mut owner = Owner::claim(schema.open().await, &[0]).await;
    owner.decide(0, open(0, 3), Outcome::Applied);
    owner.decide(0, book(1, 1, 0), booked(1));
    owner.commit().await;
    let read_url = schema.url().replacen(&primary.port().to_string(), &standby.port().to_string(), 1);
    let short = Duration::from_secs(1);
    let options = Options { read_url: Some(read_url.clone()), ..schema.options() };
    let options = Options { call_timeout: short, connect_timeout: short, ..options };
    let store = Sql::open(options, &Registry::new()).await.unwrap();
    let there = shell(&read_url).await;
    let has = |rows: u32| format!("SELECT COUNT(*) = {rows} FROM decisions");
    until(&there, &format!("SELECT to_regclass('{}.decisions') IS NOT NULL", schema.name())).await;
    until(&there, &has(2)).await;

    // It lags: what was committed since is asked of the primary.
    there.batch_execute("SELECT pg_wal_replay_pause()").await.unwrap();
    until(&there, "SELECT pg_get_wal_replay_pause_state() = 'paused'").await;
    owner.one(0, book(2, 2, 0), booked(2)).await;
    assert!(there.query_one(&has(2), &[]).await.unwrap().get::<_, bool>(0), "the standby does not have it");
    assert_eq!(decided(&store, 2).await, Some(booked(2)));
    assert_eq!(decided(&store, 3).await, None, "what nobody has decided is on neither");

    // The primary stands still: what the standby has is told, and nothing is made up about the rest.
    primary.pause();
    assert_eq!(decided(&store, 1).await, Some(booked(1)), "it came from the standby");
    did_not_happen(&store.decision(at(0, 2)).await);
    there.batch_execute("SELECT pg_wal_replay_resume()").await.unwrap();
    until(&there, &has(3)).await;
    assert_eq!(decided(&store, 2).await, Some(booked(2)), "it has caught up by what was sent before");
    primary.resume();

    // A store whose address leads there says so.
    let refused = Sql::open(Options { url: read_url, ..schema.options() }, &Registry::new()).await;
    let Err(port::Error::DidNotHappen(text)) = refused else { panic!("{refused:?}") };
    assert!(text.contains("must name the primary, not a replica"), "{text}");

    // Without the standby the primary has it all.
    standby.kill().unwrap();
    assert_eq!(decided(&store, 2).await, Some(booked(2)));
    owner.one(0, cancel(1, 1, 0), cancelled(1)).await;
    assert_eq!(decided(&store, 3).await, Some(cancelled(1)));
}

/// The outcome on a record of partition 0, which can be asked for.
async fn decided(store: &Sql, offset: Offset) -> Option<Outcome> {
    store.decision(at(0, offset)).await.unwrap().map(|row| row.decision.outcome)
}
