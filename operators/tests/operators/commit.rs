//! The store has the last word.

use std::sync::Arc;

use orderly_domain::clock::Manual;
use orderly_domain::port::{Ledger as _, Store as _};
use orderly_domain::{Command, Outcome, Reason, Timestamp};
use orderly_operators::{Admit, AsyncOperator as _, Commit, Draft, Neighbours, PublishedMarks, Retry, SessionMemory};
use orderly_sinks::store::sqlite::{Options, Store};
use prometheus::Registry;

use crate::kit::{Counted, PARTITION, book, counted, draft, session};

struct Stage {
    admit: Admit,
    commit: Commit,
    ledger: Arc<Counted>,
    _folder: tempfile::TempDir,
}

async fn stage() -> Stage {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(folder.path(), Options::default(), &Registry::new()).unwrap());
    let claims = store.claim(&[PARTITION], "test").await.unwrap();
    assert_eq!(claims[0].fence, 1, "the drafts of these tests carry fence 1");
    let (ledger, memory, marks) = (counted(), SessionMemory::default(), PublishedMarks::default());
    let admit = Admit::new(Arc::clone(&ledger) as _, memory.clone(), Retry::default());
    let clock = Arc::new(Manual::default());
    let neighbours = Neighbours::register(&Registry::new()).unwrap();
    let commit = Commit::new(store, Arc::clone(&ledger) as _, clock, memory, marks, neighbours, Retry::default());
    Stage { admit, commit, ledger, _folder: folder }
}

impl Stage {
    async fn outcomes(&self, drafts: Vec<Draft>) -> Vec<Outcome> {
        let decisions = self.admit.process_batch(drafts).await.unwrap();
        self.commit.process_batch(decisions).await.unwrap().into_iter().map(|committed| committed.outcome).collect()
    }
}

/// A ledger that lost its memory sells a place twice; the store refuses, and the number goes back to the next in line.
#[tokio::test]
async fn what_the_store_refuses_goes_back_to_the_ledger() {
    let stage = stage().await;
    let open = |name| Command::OpenSession(Box::new(session(name, 2)));
    let drafts = vec![draft(0, open("s")), draft(1, open("other")), draft(2, book(1, "ann", "s"))];
    assert_eq!(stage.outcomes(drafts).await[2], Outcome::Booked { number: 1 });

    let amnesia = orderly_domain::inventory::Snapshot { session: session("s", 2), closed: false, holdings: vec![] };
    stage.ledger.restore(vec![(1, amnesia)]).await.unwrap();
    let drafts = vec![draft(3, book(2, "ann", "other"))];
    assert_eq!(stage.outcomes(drafts).await, [Outcome::Rejected(Reason::AlreadyBooked)]);
    let remaining = stage.ledger.remaining().await.unwrap();
    assert!(remaining.contains(&("other".parse().unwrap(), 2)), "the number came back: {remaining:?}");
    let drafts = vec![draft(4, book(3, "bob", "other"))];
    assert_eq!(stage.outcomes(drafts).await, [Outcome::Booked { number: 1 }]);
}

/// After an outage one lane may be days ahead of another, whose records must find their sessions still there.
#[tokio::test]
async fn a_lane_that_is_days_ahead_forgets_nothing_that_another_has_to_decide() {
    let stage = stage().await;
    assert_eq!(
        stage.outcomes(vec![draft(0, Command::OpenSession(Box::new(session("s", 2))))]).await,
        [Outcome::Applied]
    );
    let mut later = draft(2, book(2, "bob", "elsewhere"));
    later.logged_at = Timestamp::from_micros(10 * 86_400_000_000);
    let ahead = stage.admit.process_batch(vec![later]).await.unwrap();
    let behind = stage.outcomes(vec![draft(1, book(1, "ann", "s"))]).await;
    assert_eq!(behind, [Outcome::Booked { number: 1 }]);
    stage.commit.process_batch(ahead).await.unwrap();
    assert_eq!(stage.ledger.remaining().await.unwrap(), [], "once all before it is committed, the day is forgotten");
}

#[tokio::test]
async fn a_gap_before_the_commit_stops_the_process() {
    let stage = stage().await;
    let drafts = vec![draft(0, book(1, "ann", "s")), draft(2, book(2, "bob", "s"))];
    let decisions = stage.admit.process_batch(drafts).await.unwrap();
    assert!(stage.commit.process_batch(decisions).await.is_err());
}
