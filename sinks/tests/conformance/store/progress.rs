//! Takeovers, and commits as a whole.

use super::*;

pub(crate) async fn claims_raise_the_fence(place: &impl Place) {
    let store = place.open().await;
    assert!(store.progress().await.unwrap().is_empty());
    let first = store.claim(&[3, 1], "ann").await.unwrap();
    assert_eq!(first.iter().map(|claim| (claim.partition, claim.next_offset)).collect::<Vec<_>>(), [(3, 0), (1, 0)]);
    let second = store.claim(&[1], "bob").await.unwrap();
    assert!(second[0].fence > first[1].fence);
    let progress = store.progress().await.unwrap();
    let owners: Vec<_> = progress.iter().map(|row| (row.partition, row.owner.as_str(), row.fence)).collect();
    assert_eq!(owners, [(1, "bob", second[0].fence), (3, "ann", first[0].fence)]);
}

pub(crate) async fn commits_decisions_with_their_progress(place: &impl Place) {
    let mut owner = Owner::claim(place.open().await, &[0, 1]).await;
    owner.decide(0, open(0, 2), Outcome::Applied);
    owner.decide(1, None, rejected(Reason::Malformed));
    owner.decide(0, book(1, 1, 0), booked(1));
    owner.decide(0, book(2, 2, 9), rejected(Reason::UnknownSession));
    let commit = owner.take();
    let committed = owner.store.commit(&commit).await.unwrap();
    for (decision, committed) in commit.decisions.iter().zip(&committed) {
        assert_eq!(committed.position, decision.position);
        assert_eq!((committed.logged_at, committed.decided_at), (decision.logged_at, commit.decided_at));
        assert_eq!((committed.outcome, committed.corrected), (decision.outcome, false));
        assert_eq!(committed.ticket, decision.command.as_ref().and_then(Command::ticket));
        let row = owner.store.decision(decision.position).await.unwrap().unwrap();
        let kept = Committed { session: None, released: vec![], ..committed.clone() };
        assert_eq!(row.decision, kept);
        assert_eq!(row.patient_id.as_ref(), decision.command.as_ref().and_then(Command::patient_id));
    }
    let sessions: Vec<_> = committed.iter().map(|row| row.session_id.clone()).collect();
    assert_eq!(sessions, [Some(id(0)), None, Some(id(0)), None]);
    let progress = owner.store.progress().await.unwrap();
    assert_eq!(progress.iter().map(|row| row.next_offset).collect::<Vec<_>>(), [3, 1]);
    assert!(owner.store.decision(at(0, 3)).await.unwrap().is_none());
    let page = owner.store.decisions(0, 1, 1).await.unwrap();
    assert_eq!(page.iter().map(|row| row.decision.position).collect::<Vec<_>>(), [at(0, 1)]);
    assert_eq!(owner.store.decisions(0, 1, 10).await.unwrap().len(), 2);
}

pub(crate) async fn refuses_what_does_not_fit_and_changes_nothing(place: &impl Place) {
    let mut owner = Owner::claim(place.open().await, &[0, 1]).await;
    owner.one(0, open(0, 2), Outcome::Applied).await;
    owner.decide(0, book(1, 1, 0), booked(1));
    owner.decide(1, open(1, 2), Outcome::Applied);
    owner.decide(0, book(2, 2, 0), booked(2));
    let good = owner.take();
    let before = everything(&*owner.store).await;

    let mut wrong_start = good.clone();
    wrong_start.advances[0].from += 1;
    wrong_start.advances[0].to += 1;
    wrong_start.decisions[0].position.offset += 1;
    wrong_start.decisions[2].position.offset += 1;
    let mut gap = good.clone();
    gap.decisions[2].position.offset += 1;
    let mut too_few = good.clone();
    too_few.decisions.pop();
    let mut swapped = good.clone();
    swapped.decisions.swap(0, 2);
    let mut not_announced = good.clone();
    not_announced.advances.pop();
    let mut back = good.clone();
    back.advances[0].to = 0;
    let mut impossible = good.clone();
    impossible.decisions[0].outcome = Outcome::Applied;
    for commit in [wrong_start, gap, too_few, swapped, not_announced, back, impossible] {
        is_corrupt(&owner.store.commit(&commit).await);
        assert_eq!(everything(&*owner.store).await, before);
    }
    let answers = owner.store.commit(&good).await.unwrap();
    assert_eq!(answers.iter().map(|row| row.outcome).collect::<Vec<_>>(), [booked(1), Outcome::Applied, booked(2)]);
}

pub(crate) async fn refuses_an_owner_that_lost_a_partition(place: &impl Place) {
    let store = place.open().await;
    let mut first = Owner::claim(Arc::clone(&store), &[0, 1]).await;
    first.one(0, open(0, 2), Outcome::Applied).await;
    let mut second = Owner::claim(Arc::clone(&store), &[1]).await;
    let before = everything(&*store).await;
    first.decide(0, book(1, 1, 0), booked(1));
    first.decide(1, open(1, 1), Outcome::Applied);
    is_fenced(&store.commit(&first.take()).await, 1);
    is_fenced(&store.mark_published(&[(0, first.fences[&0], 1), (1, first.fences[&1], 0)]).await, 1);
    let mut mixed = Owner::claim(Arc::clone(&store), &[5]).await;
    mixed.decide(5, None, rejected(Reason::Malformed));
    let mut commit = mixed.take();
    commit.decisions[0].fence += 1;
    is_fenced(&store.commit(&commit).await, 5);
    commit.decisions[0].fence -= 1;
    commit.advances[0].partition = 6;
    commit.decisions[0].position.partition = 6;
    is_fenced(&store.commit(&commit).await, 6);
    let changed = store.progress().await.unwrap();
    assert_eq!(changed.iter().map(|row| row.next_offset).collect::<Vec<_>>(), [1, 0, 0]);
    assert!(before.contains("session-0") && store.appointments(&id(0)).await.unwrap().is_empty());
    second.one(1, open(1, 1), Outcome::Applied).await;
    assert_eq!(store.sessions(DAY).await.unwrap().len(), 2);
}

pub(crate) async fn answers_a_commit_that_is_there_already(place: &impl Place) {
    let mut owner = Owner::claim(place.open().await, &[0, 1]).await;
    owner.decide(0, open(0, 3), Outcome::Applied);
    owner.decide(0, book(1, 1, 0), booked(1));
    owner.commit().await;
    owner.decide(0, cancel(1, 1, 0), cancelled(1));
    owner.decide(1, open(1, 3), Outcome::Applied);
    owner.decide(0, cancel(1, 1, 0), cancelled(1));
    owner.decide(1, book(1, 1, 1), booked(1));
    owner.decide(1, book(1, 1, 1), Outcome::Repeat { first: 1 });
    owner.decide(0, book(4, 4, 7), rejected(Reason::UnknownSession));
    let commit = owner.take();
    let answers = owner.store.commit(&commit).await.unwrap();
    assert!(answers[3].corrected, "the ticket booked before");
    let before = everything(&*owner.store).await;
    assert_eq!(owner.store.commit(&commit).await.unwrap(), answers);
    assert_eq!(everything(&*owner.store).await, before);

    let mut other = commit.clone();
    other.decisions[0].command = Some(cancel(2, 1, 0));
    is_corrupt(&owner.store.commit(&other).await);
    owner.decide(0, close(0), Outcome::Applied);
    owner.decide(1, close(1), Outcome::Applied);
    let mut half = owner.take();
    let alone = Commit {
        decided_at: half.decided_at,
        advances: vec![half.advances[0]],
        decisions: vec![half.decisions[0].clone()],
        resigned: Vec::new(),
    };
    let closed = owner.store.commit(&alone).await.unwrap();
    assert_eq!(owner.store.commit(&alone).await.unwrap(), closed);
    is_corrupt(&owner.store.commit(&half).await);
    is_corrupt(&owner.store.commit(&commit).await);
    half.advances.remove(0);
    half.decisions.remove(0);
    owner.store.commit(&half).await.unwrap();
}

pub(crate) async fn keeps_everything_when_it_is_opened_again(place: &impl Place) {
    let mut owner = Owner::claim(place.open().await, &[0]).await;
    owner.decide(0, open(0, 3), Outcome::Applied);
    owner.decide(0, book(1, 1, 0), booked(1));
    owner.decide(0, book(2, 2, 0), booked(2));
    owner.decide(0, cancel(1, 1, 0), cancelled(1));
    owner.commit().await;
    let before = everything(&*owner.store).await;
    drop(owner);
    let store = place.open().await;
    assert_eq!(everything(&*store).await, before);
    let claim = store.claim(&[0], "owner").await.unwrap().pop().unwrap();
    assert_eq!((claim.next_offset, claim.published_offset), (4, 0));
    let mut owner = Owner::claim(store, &[0]).await;
    let answer = owner.one(0, book(3, 3, 0), booked(1)).await;
    assert_eq!(answer.session.unwrap().booked, 2);
}

pub(crate) async fn marks_what_is_published(place: &impl Place) {
    let mut owner = Owner::claim(place.open().await, &[0]).await;
    owner.one(0, open(0, 3), Outcome::Applied).await;
    owner.decide(0, close(0), Outcome::Applied);
    owner.commit().await;
    let published = |store: Arc<dyn Store>| async move { store.progress().await.unwrap()[0].published_offset };
    assert_eq!(published(Arc::clone(&owner.store)).await, 1, "a commit tells what was published before it");
    owner.store.mark_published(&[(0, owner.fences[&0], 2)]).await.unwrap();
    owner.store.mark_published(&[(0, owner.fences[&0], 1)]).await.unwrap();
    assert_eq!(published(Arc::clone(&owner.store)).await, 2, "it never goes back");
    is_corrupt(&owner.store.mark_published(&[(0, owner.fences[&0], 3)]).await);
}
