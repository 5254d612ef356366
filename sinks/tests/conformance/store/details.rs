//! What is kept of the patients behind appointments: sealed, as it came, and no longer than it is needed.

use orderly_domain::personal::{Fields, Sealed};
use orderly_domain::port::store::Details;

use super::retention::{DAY_US, late_book, later};
use super::*;

fn sealed(key_id: u16, byte: u8) -> Sealed {
    Sealed::new(key_id, &[byte; 12], &[byte; 20])
}

/// Of whom only the name was given with every second booking.
fn fields(number: u8) -> Fields<Sealed> {
    let phone = number.is_multiple_of(2).then(|| sealed(1, 100 + number));
    Fields { name: Some(sealed(1, number)), phone, identity_number: None }
}

fn giving(command: Command, number: u8) -> Command {
    match command {
        Command::Book(book) => Command::Book(Book { details: Some(Box::new(fields(number))), ..book }),
        other => other,
    }
}

fn kept(position: Position, number: u8) -> Details {
    Details { position, ticket: ticket(number), fields: fields(number) }
}

pub(crate) async fn keeps_what_is_given_with_what_it_books(place: &impl Place) {
    let mut owner = Owner::claim(place.open().await, &[0, 1]).await;
    owner.decide(0, open(0, 3), Outcome::Applied);
    owner.decide(1, open(1, 3), Outcome::Applied);
    let first = owner.decide(0, giving(book(1, 1, 0), 1), booked(1));
    let second = owner.decide(0, giving(book(2, 2, 0), 2), booked(2));
    let without = owner.decide(0, book(3, 3, 0), booked(3));
    let refused = owner.decide(0, giving(book(4, 4, 0), 4), rejected(Reason::SoldOut));
    let corrected = owner.decide(1, giving(book(5, 1, 1), 5), booked(1));
    let short = owner.decide(1, giving(book(6, 6, 1), 6), booked(1));
    owner.decide(1, cancel(6, 6, 1), cancelled(1));
    let again = owner.decide(0, giving(book(1, 1, 0), 9), Outcome::Repeat { first: first.offset });
    let commit = owner.take();
    let answers = owner.store.commit(&commit).await.unwrap();
    assert_eq!(answers[6].outcome, rejected(Reason::AlreadyBooked));
    let all = [again, short, corrected, refused, without, second, first, first];
    let expected = [kept(first, 1), kept(second, 2)];
    assert_eq!(owner.store.details(&all).await.unwrap(), expected, "ascending, and nothing of others");
    assert_eq!(owner.store.details(&[]).await.unwrap(), []);
    owner.store.commit(&commit).await.unwrap();
    assert_eq!(owner.store.details_after(None, 10).await.unwrap(), expected, "once, however often it is committed");

    owner.one(0, cancel(2, 2, 0), cancelled(2)).await;
    assert_eq!(owner.store.details(&all).await.unwrap(), [kept(first, 1)], "who cancels is not called");
    owner.one(0, close(0), Outcome::Applied).await;
    assert_eq!(owner.store.details(&all).await.unwrap(), [kept(first, 1)], "who is cancelled has to be called");
    drop(owner);
    assert_eq!(place.open().await.details(&all).await.unwrap(), [kept(first, 1)]);
}

pub(crate) async fn seals_anew_page_by_page(place: &impl Place) {
    let mut owner = Owner::claim(place.open().await, &[0, 1]).await;
    owner.decide(0, open(0, 9), Outcome::Applied);
    owner.decide(1, open(1, 9), Outcome::Applied);
    let mut expected = Vec::new();
    for number in 1..=7 {
        let session = number % 2;
        let at = owner.decide(session.into(), giving(book(number, number, session), number), booked(number.into()));
        expected.push(kept(at, number));
    }
    owner.commit().await;
    expected.sort_by_key(|row| row.position);
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = owner.store.details_after(after, 3).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 3);
        after = Some(last.position);
        seen.extend(page);
    }
    assert_eq!(seen, expected);

    let anew =
        |row: &Details| Details { fields: Fields { name: Some(sealed(2, 1)), ..Fields::default() }, ..row.clone() };
    let mut resealed: Vec<_> = expected[..4].iter().map(anew).collect();
    let gone = Details { position: at(0, 99), ..resealed[0].clone() };
    let foreign = Details { ticket: ticket(99), ..resealed[3].clone() };
    let asked = [resealed[..3].to_vec(), vec![gone, foreign]].concat();
    assert_eq!(owner.store.reseal(&asked).await.unwrap(), 3, "what is not there, or of another ticket, stays so");
    resealed.truncate(3);
    resealed.extend_from_slice(&expected[3..]);
    assert_eq!(owner.store.details_after(None, 100).await.unwrap(), resealed);
    assert_eq!(owner.store.reseal(&[]).await.unwrap(), 0);
}

pub(crate) async fn forgets_them_with_their_appointments(place: &impl Place) {
    let mut owner = Owner::claim(place.open().await, &[0, 1]).await;
    owner.decide(0, open(0, 9), Outcome::Applied);
    owner.decide(0, later(), Outcome::Applied);
    owner.decide(0, giving(book(1, 1, 0), 1), booked(1));
    owner.decide(0, giving(book(3, 3, 0), 3), booked(2));
    owner.decide(0, close(0), Outcome::Applied);
    let stays = owner.decide(0, giving(late_book(2), 2), booked(1));
    owner.commit().await;
    owner.now = DAY_US;
    owner.one(0, resize(1, 8), Outcome::Applied).await;
    assert_eq!(owner.store.details_after(None, 10).await.unwrap().len(), 3);
    owner.store.prune(date(1970, 1, 2), &[]).await.unwrap();
    assert_eq!(owner.store.details_after(None, 10).await.unwrap(), [kept(stays, 2)]);
}
