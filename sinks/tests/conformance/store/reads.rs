//! What can be asked.

use orderly_domain::inventory::DepartmentDay;
use orderly_domain::port::store::PolicyVersion;

use super::*;

pub(crate) async fn finds_the_appointment_of_a_ticket(place: &impl Place) {
    let mut owner = Owner::claim(place.open().await, &[0]).await;
    owner.decide(0, open(0, 3), Outcome::Applied);
    let first = owner.decide(0, book(1, 1, 0), booked(1));
    let repeat = owner.decide(0, book(1, 1, 0), Outcome::Repeat { first: first.offset });
    let refused = owner.decide(0, book(2, 1, 0), rejected(Reason::AlreadyBooked));
    owner.commit().await;
    let appointment = owner.store.appointments(&id(0)).await.unwrap().pop().unwrap();
    assert_eq!((appointment.position, appointment.patient_id.as_str()), (first, "patient-1"));
    for (position, expected) in [(first, Some(&appointment)), (repeat, Some(&appointment)), (refused, None)] {
        let row = owner.store.decision(position).await.unwrap().unwrap();
        assert_eq!(row.appointment.as_ref(), expected);
    }
    assert!(owner.store.appointments(&id(9)).await.unwrap().is_empty());
}

pub(crate) async fn sees_tickets_within_bounds(place: &impl Place) {
    let mut owner = Owner::claim(place.open().await, &[0, 1]).await;
    owner.decide(0, open(0, 1), Outcome::Applied);
    owner.decide(0, book(1, 1, 0), booked(1));
    owner.decide(0, book(2, 2, 0), rejected(Reason::SoldOut));
    owner.decide(1, book(8, 8, 9), rejected(Reason::UnknownSession));
    owner.decide(0, book(2, 2, 0), Outcome::Repeat { first: 2 });
    owner.decide(0, book(2, 2, 9), rejected(Reason::Duplicate));
    owner.decide(0, cancel(1, 1, 0), cancelled(1));
    owner.decide(0, None, rejected(Reason::Malformed));
    owner.decide(0, book(3, 3, 9), rejected(Reason::UnknownSession));
    let commit = owner.take();
    owner.store.commit(&commit).await.unwrap();
    let seen = |since: i64, most| {
        let (store, since) = (Arc::clone(&owner.store), Timestamp::from_micros(since));
        async move { store.seen_tickets(0, since, most).await.unwrap() }
    };
    let all = seen(0, 10).await;
    let rows: Vec<_> = all.iter().map(|seen| (seen.ticket, seen.first, seen.session_id.clone())).collect();
    assert_eq!(rows, [(ticket(1), 1, Some(id(0))), (ticket(2), 2, Some(id(0))), (ticket(3), 7, None)]);
    assert_eq!(all[1].logged_at, commit.decisions[2].logged_at);
    assert_eq!(seen(0, 2).await, all[1..]);
    assert_eq!(seen(0, 0).await, []);
    assert_eq!(seen(all[1].logged_at.as_micros(), 10).await, all[1..]);
    assert_eq!(seen(all[1].logged_at.as_micros() + 1, 10).await, all[2..]);
}

pub(crate) async fn lists_sessions_from_a_day_on(place: &impl Place) {
    let mut owner = Owner::claim(place.open().await, &[0]).await;
    for (number, day) in [(0, date(1970, 1, 9)), (1, date(1970, 1, 10)), (2, date(1970, 2, 1))] {
        let session = Session { day, ..session(number, 1, Exclusivity::Session) };
        owner.decide(0, Command::OpenSession(Box::new(session)), Outcome::Applied);
    }
    let answers = owner.commit().await;
    let states: Vec<_> = answers.into_iter().map(|answer| answer.session.unwrap()).collect();
    assert_eq!(owner.store.sessions(date(1970, 1, 1)).await.unwrap(), states);
    assert_eq!(owner.store.sessions(date(1970, 1, 10)).await.unwrap(), states[1..]);
    assert_eq!(owner.store.sessions(date(1970, 2, 2)).await.unwrap(), []);
}

pub(crate) async fn snapshots_let_a_ledger_go_on(place: &impl Place) {
    let mut owner = Owner::claim(place.open().await, &[0, 1]).await;
    let mut day = DepartmentDay::default();
    for (partition, command) in [
        (0, open(0, 3)),
        (1, open(1, 2)),
        (0, book(1, 1, 0)),
        (0, book(2, 2, 0)),
        (1, book(3, 3, 1)),
        (0, cancel(1, 1, 0)),
        (1, book(4, 2, 1)),
    ] {
        let (offset, logged_at) = (owner.next[&partition], Timestamp::from_micros(owner.now + 1));
        let outcome = day.apply(&command, offset, logged_at).outcome;
        owner.decide(partition, command, outcome);
    }
    owner.commit().await;
    let mut restored = DepartmentDay::default();
    for snapshot in owner.store.snapshots(&[0, 1], DAY).await.unwrap() {
        restored.restore(snapshot);
    }
    let later = Timestamp::from_micros(owner.now + 1);
    for (offset, command) in [book(1, 1, 0), book(2, 9, 1), book(5, 3, 0), book(6, 1, 0), book(7, 7, 1), book(8, 8, 1)]
        .into_iter()
        .enumerate()
    {
        let offset = 100 + offset as u64;
        assert_eq!(restored.apply(&command, offset, later), day.apply(&command, offset, later), "{command:?}");
    }
    let one = owner.store.snapshots(&[1], DAY).await.unwrap();
    assert_eq!(one.iter().map(|snapshot| &snapshot.session.session_id).collect::<Vec<_>>(), [&id(1)]);
    assert!(owner.store.snapshots(&[0, 1], date(1970, 1, 2)).await.unwrap().is_empty());
}

pub(crate) async fn numbers_policies(place: &impl Place) {
    let store = place.open().await;
    let policy = |version| PolicyVersion {
        version,
        document: r#"{"global":1}"#.into(),
        author: "ops-1".into(),
        reason: "the rush".into(),
        set_at: Timestamp::from_micros(7),
    };
    store.save_policy(&policy(1)).await.unwrap();
    store.save_policy(&policy(2)).await.unwrap();
    for version in [0, 1, 2, 4] {
        let answer = store.save_policy(&policy(version)).await;
        assert!(matches!(answer, Err(port::Error::Conflict { found: 2, .. })), "{answer:?}");
    }
    assert_eq!(store.policies(10).await.unwrap(), [policy(2), policy(1)]);
    assert_eq!(store.policies(1).await.unwrap(), [policy(2)]);
}
