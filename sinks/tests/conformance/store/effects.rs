//! What decisions do, and what the constraints make of those that cannot be.

use orderly_domain::port::store::AppointmentStatus;

use super::*;

pub(crate) async fn books_and_cancels(place: &impl Place) {
    let mut owner = Owner::claim(place.open().await, &[0]).await;
    owner.decide(0, open(0, 2), Outcome::Applied);
    let first = owner.decide(0, book(1, 1, 0), booked(1));
    owner.decide(0, book(2, 2, 0), booked(2));
    owner.decide(0, book(3, 3, 0), rejected(Reason::SoldOut));
    owner.decide(0, cancel(1, 1, 0), cancelled(1));
    let again = owner.decide(0, book(4, 4, 0), booked(1));
    let answers = owner.commit().await;
    assert!(answers.iter().all(|answer| !answer.corrected));
    let held: Vec<_> = answers.iter().map(|answer| answer.session.as_ref().map(|state| state.booked)).collect();
    assert_eq!(held, [Some(0), Some(1), Some(2), None, Some(1), Some(2)]);
    assert_eq!(answers[4].released, [first]);
    assert_eq!(answers[5].session.as_ref().unwrap().changed_at, again);
    let appointments = owner.store.appointments(&id(0)).await.unwrap();
    let seen: Vec<_> = appointments.iter().map(|row| (row.ticket, row.number, row.status, row.changed_at)).collect();
    let expected = [
        (ticket(1), 1, AppointmentStatus::Cancelled, at(0, 4)),
        (ticket(2), 2, AppointmentStatus::Booked, at(0, 2)),
        (ticket(4), 1, AppointmentStatus::Booked, at(0, 5)),
    ];
    assert_eq!(seen, expected);
    assert_eq!(owner.store.sessions(DAY).await.unwrap(), [answers[5].session.clone().unwrap()]);
}

pub(crate) async fn applies_over_partitions_in_the_order_given(place: &impl Place) {
    let mut owner = Owner::claim(place.open().await, &[0, 1]).await;
    owner.decide(0, open(0, 2), Outcome::Applied);
    owner.decide(1, open(1, 2), Outcome::Applied);
    owner.decide(1, book(1, 1, 1), booked(1));
    owner.decide(0, book(2, 1, 0), booked(1));
    owner.decide(1, cancel(1, 1, 1), cancelled(1));
    owner.decide(0, book(3, 1, 0), booked(1));
    let outcomes: Vec<_> = owner.commit().await.iter().map(|answer| answer.outcome).collect();
    assert_eq!(outcomes[3], rejected(Reason::AlreadyBooked), "before the cancellation");
    assert_eq!(outcomes[5], booked(1), "after it");
}

pub(crate) async fn has_the_last_word_on_bookings(place: &impl Place) {
    let mut owner = Owner::claim(place.open().await, &[0, 1]).await;
    owner.decide(0, open(0, 2), Outcome::Applied);
    owner.decide(1, open(1, 2), Outcome::Applied);
    owner.decide(1, Command::OpenSession(Box::new(session(2, 3, Exclusivity::Session))), Outcome::Applied);
    owner.decide(1, Command::OpenSession(Box::new(session(3, 3, Exclusivity::None))), Outcome::Applied);
    owner.decide(0, book(1, 1, 0), booked(1));
    owner.commit().await;
    for (partition, command, decided, kept) in [
        (1, book(1, 9, 1), booked(1), rejected(Reason::Duplicate)),
        (1, book(2, 1, 1), booked(1), rejected(Reason::AlreadyBooked)),
        (0, book(3, 3, 0), booked(1), rejected(Reason::SoldOut)),
        (0, book(4, 4, 0), booked(3), rejected(Reason::SoldOut)),
        (0, book(5, 5, 0), booked(0), rejected(Reason::SoldOut)),
        (0, book(6, 6, 8), booked(1), rejected(Reason::UnknownSession)),
        (1, book(7, 1, 2), booked(1), booked(1)),
        (1, book(8, 1, 2), booked(2), rejected(Reason::AlreadyBooked)),
        (1, book(9, 1, 3), booked(1), booked(1)),
        (1, book(10, 1, 3), booked(2), booked(2)),
    ] {
        owner.decide(partition, command.clone(), decided);
        let commit = owner.take();
        let answer = insist(&*owner.store, &commit).await.pop().unwrap();
        assert_eq!((answer.outcome, answer.corrected), (kept, kept != decided), "{command:?}");
        assert_eq!(answer.session.is_some(), kept == decided);
        let row = owner.store.decision(answer.position).await.unwrap().unwrap();
        assert_eq!((row.decision.outcome, row.decision.corrected), (kept, kept != decided));
    }
    let mut foreign = reference(0);
    foreign.doctor_id = "somebody else".parse().unwrap();
    let foreign =
        Command::Book(Book { ticket: ticket(20), patient_id: "p".parse().unwrap(), session: foreign, details: None });
    assert_eq!(owner.one(0, foreign, booked(2)).await.outcome, rejected(Reason::UnknownSession));
    owner.one(0, close(0), Outcome::Applied).await;
    assert_eq!(owner.one(0, book(21, 21, 0), booked(1)).await.outcome, rejected(Reason::SessionClosed));
    let held = owner.store.sessions(DAY).await.unwrap();
    assert_eq!(held.iter().map(|state| state.booked).collect::<Vec<_>>(), [0, 0, 1, 2]);
}

pub(crate) async fn has_the_last_word_on_what_ops_ask(place: &impl Place) {
    let mut owner = Owner::claim(place.open().await, &[0]).await;
    owner.decide(0, open(0, 3), Outcome::Applied);
    owner.decide(0, book(1, 1, 0), booked(1));
    owner.decide(0, book(2, 2, 0), booked(2));
    owner.decide(0, cancel(1, 1, 0), cancelled(1));
    owner.commit().await;
    let mut moved = session(0, 3, Exclusivity::DepartmentDay);
    moved.day = date(1970, 1, 2);
    for (command, reason) in [
        (Command::OpenSession(Box::new(moved)), Reason::SessionConflict),
        (open(0, 1), Reason::BelowBooked),
        (resize(0, 1), Reason::BelowBooked),
        (resize(9, 1), Reason::UnknownSession),
        (close(9), Reason::UnknownSession),
    ] {
        let answer = owner.one(0, command.clone(), Outcome::Applied).await;
        assert_eq!((answer.outcome, answer.corrected), (rejected(reason), true), "{command:?}");
    }
    let answer = owner.one(0, resize(0, 2), Outcome::Applied).await;
    let state = answer.session.unwrap();
    assert_eq!((state.session.capacity, state.booked, state.remaining()), (2, 1, 1));
    assert_eq!(owner.store.sessions(DAY).await.unwrap(), [state]);
    let lax = Command::OpenSession(Box::new(session(0, 5, Exclusivity::None)));
    let state = owner.one(0, lax, Outcome::Applied).await.session.unwrap();
    assert_eq!((state.session.capacity, state.session.exclusivity), (5, Exclusivity::DepartmentDay));
    owner.one(0, close(0), Outcome::Applied).await;
    assert_eq!(owner.one(0, resize(0, 4), Outcome::Applied).await.outcome, rejected(Reason::SessionClosed));
}

pub(crate) async fn cancels_nothing_that_is_not_held(place: &impl Place) {
    let mut owner = Owner::claim(place.open().await, &[0, 1]).await;
    owner.decide(0, open(0, 2), Outcome::Applied);
    owner.decide(1, open(1, 2), Outcome::Applied);
    owner.decide(0, book(1, 1, 0), booked(1));
    owner.decide(1, book(2, 1, 1), booked(1));
    let lost = owner.decide(1, cancel(2, 1, 1), cancelled(1));
    owner.decide(0, cancel(1, 2, 0), cancelled(1));
    owner.decide(0, cancel(1, 1, 0), cancelled(1));
    let answers = owner.commit().await;
    assert_eq!(answers[3].outcome, rejected(Reason::AlreadyBooked));
    assert_eq!(answers[4].position, lost);
    assert_eq!((answers[4].outcome, answers[4].corrected), (rejected(Reason::NotBooked), true), "its booking was lost");
    assert_eq!((answers[5].outcome, answers[5].corrected), (rejected(Reason::NotBooked), true), "another's booking");
    assert_eq!(answers[6].released.len(), 1);
    let again = owner.one(0, cancel(1, 1, 0), cancelled(1)).await;
    assert_eq!((again.outcome, again.corrected, again.session, again.released), (cancelled(1), false, None, vec![]));
    let unknown = owner.one(0, cancel(5, 5, 9), cancelled(1)).await;
    assert_eq!(unknown.outcome, rejected(Reason::UnknownSession));
    assert_eq!(owner.store.sessions(DAY).await.unwrap()[0].booked, 0);
}

pub(crate) async fn answers_repeats_with_the_first_outcome(place: &impl Place) {
    let mut owner = Owner::claim(place.open().await, &[0, 1]).await;
    owner.decide(1, open(1, 2), Outcome::Applied);
    owner.decide(1, book(9, 1, 1), booked(1));
    owner.decide(0, open(0, 2), Outcome::Applied);
    let first = owner.decide(0, book(1, 5, 0), booked(1));
    let lost = owner.decide(0, book(2, 1, 0), booked(2));
    let repeat = Outcome::Repeat { first: first.offset };
    let repeat_lost = Outcome::Repeat { first: lost.offset };
    owner.decide(0, book(1, 5, 0), repeat);
    owner.decide(0, book(2, 1, 0), repeat_lost);
    let answers = owner.commit().await;
    assert!(answers[4].corrected);
    let seen = |answer: &Committed| (answer.outcome, answer.first, answer.corrected, answer.session.is_some());
    assert_eq!(seen(&answers[5]), (booked(1), Some(first.offset), false, false));
    assert_eq!(seen(&answers[6]), (rejected(Reason::AlreadyBooked), Some(lost.offset), false, false));
    owner.decide(0, cancel(1, 5, 0), cancelled(1));
    owner.decide(0, book(1, 5, 0), repeat);
    owner.decide(0, book(2, 1, 0), repeat_lost);
    let answers = owner.commit().await;
    assert_eq!(seen(&answers[1]), (booked(1), Some(first.offset), false, false), "a decision never changes");
    assert_eq!(seen(&answers[2]), (rejected(Reason::AlreadyBooked), Some(lost.offset), false, false));
    let row = owner.store.decision(answers[1].position).await.unwrap().unwrap();
    assert_eq!(row.decision, answers[1]);
    assert_eq!(row.appointment.unwrap().status, AppointmentStatus::Cancelled);
    let before = everything(&*owner.store).await;
    let here = owner.next[&0];
    for (ticket, first) in [(1, 700), (3, first.offset), (1, here), (1, here + 1)] {
        owner.decide(0, book(ticket, 5, 0), Outcome::Repeat { first });
        let commit = owner.take();
        is_corrupt(&owner.store.commit(&commit).await);
        *owner.next.get_mut(&0).unwrap() -= 1;
        assert_eq!(everything(&*owner.store).await, before);
    }
}

pub(crate) async fn closes_and_reopens_sessions(place: &impl Place) {
    let mut owner = Owner::claim(place.open().await, &[0, 1]).await;
    owner.decide(0, open(0, 3), Outcome::Applied);
    owner.decide(1, open(1, 3), Outcome::Applied);
    owner.decide(0, book(1, 1, 0), booked(1));
    owner.decide(0, book(2, 2, 0), booked(2));
    owner.decide(0, book(3, 3, 0), booked(3));
    owner.decide(0, cancel(2, 2, 0), cancelled(2));
    owner.decide(0, close(0), Outcome::Applied);
    owner.decide(1, book(4, 1, 1), booked(1));
    let answers = owner.commit().await;
    assert_eq!(answers[6].released, [at(0, 1), at(0, 3)]);
    let closed = answers[6].session.clone().unwrap();
    assert_eq!((closed.closed, closed.booked, closed.remaining()), (true, 0, 0));
    assert!(!answers[7].corrected, "a closed session excludes nobody");
    let appointments = owner.store.appointments(&id(0)).await.unwrap();
    let seen: Vec<_> = appointments.iter().map(|row| (row.status, row.cause.as_deref())).collect();
    let ill = (AppointmentStatus::SessionClosed, Some("the doctor is ill"));
    assert_eq!(seen, [ill, (AppointmentStatus::Cancelled, None), ill]);
    let state = owner.one(0, open(0, 1), Outcome::Applied).await.session.unwrap();
    assert_eq!((state.closed, state.remaining()), (false, 1));
    assert_eq!(owner.one(0, book(5, 5, 0), booked(1)).await.outcome, booked(1));
}
