//! What is forgotten, and what is not.

use super::*;

pub(crate) const DAY_US: i64 = 86_400_000_000;

/// A session of 5 January, which takes bookings from its release on.
pub(crate) fn later() -> Command {
    Command::OpenSession(Box::new(Session {
        day: date(1970, 1, 5),
        ends_at: Timestamp::from_micros(9 * DAY_US),
        ..session(1, 9, Exclusivity::Session)
    }))
}

/// A booking in it.
pub(crate) fn late_book(number: u8) -> Command {
    match book(number, number, 1) {
        Command::Book(book) => {
            Command::Book(Book { session: SessionRef { day: date(1970, 1, 5), ..book.session }, ..book })
        }
        other => other,
    }
}

async fn kept(store: &dyn Store, partition: Partition) -> Vec<Offset> {
    let rows = store.decisions(partition, 0, 100).await.unwrap();
    rows.iter().map(|row| row.decision.position.offset).collect()
}

pub(crate) async fn forgets_old_days_and_what_goes_with_them(place: &impl Place) {
    let mut owner = Owner::claim(place.open().await, &[0, 1]).await;
    let store = Arc::clone(&owner.store);
    owner.decide(0, open(0, 9), Outcome::Applied);
    owner.decide(0, later(), Outcome::Applied);
    owner.decide(0, book(1, 1, 0), booked(1));
    owner.decide(1, None, rejected(Reason::Malformed));
    owner.commit().await;
    owner.now = DAY_US;
    owner.decide(0, late_book(2), booked(1));
    owner.decide(0, None, rejected(Reason::Malformed));
    owner.commit().await;
    owner.now = 2 * DAY_US;
    owner.decide(0, None, rejected(Reason::Malformed));
    owner.commit().await;
    // A partition's newest decision is kept by whoever asks.
    let all = [(0, 5), (1, 0)];
    assert_eq!(store.kept_since().await.unwrap(), None);
    assert_eq!(store.prune(date(1970, 1, 1), &all).await.unwrap(), 0, "nothing is older");
    assert_eq!(store.appointments(&id(0)).await.unwrap().len(), 1);

    assert_eq!(store.prune(date(1970, 1, 2), &[]).await.unwrap(), 0, "no partition was named");
    assert_eq!(kept(&*store, 0).await, [0, 1, 2, 3, 4, 5]);
    assert!(store.appointments(&id(0)).await.unwrap().is_empty(), "its day is past");
    assert_eq!(store.sessions(Date::MIN).await.unwrap().len(), 2, "sessions stay");

    assert_eq!(store.prune(date(1970, 1, 2), &all).await.unwrap(), 3);
    assert_eq!((kept(&*store, 0).await, kept(&*store, 1).await), (vec![3, 4, 5], vec![0]));
    assert!(store.decision(at(0, 2)).await.unwrap().is_none());
    assert_eq!(store.decisions(0, 1, 1).await.unwrap()[0].decision.position, at(0, 3), "a page begins after the gap");
    assert_eq!(store.prune(date(1970, 1, 2), &all).await.unwrap(), 0, "once is enough");

    assert_eq!(store.prune(date(1970, 1, 5), &all).await.unwrap(), 0, "a booking is kept as long as its appointment");
    let first = store.decision(at(0, 3)).await.unwrap().unwrap();
    assert_eq!(first.appointment.unwrap().number, 1);
    let repeat = owner.one(0, late_book(2), Outcome::Repeat { first: 3 }).await;
    assert_eq!(repeat.outcome, booked(1));

    assert_eq!(store.prune(date(1970, 1, 6), &all).await.unwrap(), 2);
    assert_eq!(kept(&*store, 0).await, [5, 6]);
    assert!(store.appointments(&id(1)).await.unwrap().is_empty());
    let seen = store.seen_tickets(0, Timestamp::from_micros(0), 10).await.unwrap();
    assert!(seen.is_empty(), "{seen:?}");
    owner.now = 6 * DAY_US;
    owner.one(0, late_book(3), booked(2)).await;
    assert_eq!(store.prune(date(1970, 1, 3), &all).await.unwrap(), 0);
    drop((owner, store));
    let store = place.open().await;
    assert_eq!(store.kept_since().await.unwrap(), Some(date(1970, 1, 6)), "it never goes back");
    assert_eq!(kept(&*store, 0).await, [5, 6, 7]);
}
