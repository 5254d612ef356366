//! What is carried over, decided by the rules.

use jiff::civil::{date, time};
use orderly_domain::inventory::{DepartmentDay, Holding};
use orderly_domain::{Command, Exclusivity, Outcome, Session, ticket};
use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use super::*;

fn session(number: u32, capacity: u32, release_at: Timestamp) -> Session {
    Session {
        session_id: format!("session-{number}").parse().expect("valid"),
        doctor_id: format!("doctor-{}", number % 3).parse().expect("valid"),
        doctor_name: "李明 Li Ming".into(),
        department: "cardiology".parse().expect("valid"),
        campus: "east".parse().expect("valid"),
        day: date(2030, 1, 7),
        start: time(8, 0, 0, 0),
        end: time(12, 0, 0, 0),
        timezone: "Asia/Shanghai".into(),
        capacity,
        release_at,
        ends_at: Timestamp::from_millis(4_000_000_000_000),
        exclusivity: Exclusivity::DepartmentDay,
    }
}

/// Sessions of a department's day as a store may have them: any numbers held, each by another patient; some given back by
/// patients who hold another one now.
fn day(random: &mut SmallRng, now: Timestamp) -> Vec<Snapshot> {
    let mut patients = 0..;
    let mut snapshot = |number| {
        let capacity = random.random_range(1..40);
        let releases = [0, now.as_millis() - 1, now.as_millis() + 86_400_000];
        let release_at = Timestamp::from_millis(releases[random.random_range(0..releases.len())]);
        let closed = random.random_ratio(1, 5);
        let mut numbers: Vec<u32> = (1..=capacity).collect();
        numbers.shuffle(random);
        numbers.truncate(random.random_range(0..=numbers.len()));
        let mut holding = |number, active| {
            let patient: u32 = patients.next().expect("endless");
            let patient_id = format!("patient-{patient}").parse().expect("valid");
            let ticket = ticket::Id::derive(&patient_id, "key");
            Holding { ticket, patient_id, number, booked_at: u64::from(patient), active }
        };
        let mut holdings: Vec<_> = numbers.iter().map(|number| holding(*number, !closed)).collect();
        holdings.extend(numbers.first().map(|number| holding(*number, false)));
        Snapshot { session: session(number, capacity, release_at), closed, holdings }
    };
    (0..5).map(&mut snapshot).collect()
}

/// Everybody holds the same number afterwards, whatever numbers are free in between; nobody else holds any.
#[test]
fn everybody_holds_the_number_that_they_held() {
    let now = Timestamp::from_millis(1_800_000_000_000);
    for seed in 0..300 {
        let snapshots = day(&mut SmallRng::seed_from_u64(seed), now);
        let mut rules = DepartmentDay::default();
        let mut offset = 0;
        for snapshot in &snapshots {
            let mut held: Vec<_> = snapshot.holdings.iter().filter(|holding| holding.active).collect();
            held.sort_unstable_by_key(|holding| holding.number);
            let mut held = held.into_iter().peekable();
            for command in carry::commands(snapshot, &mut carry::Given::new(), now) {
                let outcome = rules.apply(&command, offset, now).outcome;
                offset += 1;
                match command {
                    Command::Book(book) => {
                        let Outcome::Booked { number } = outcome else { panic!("seed {seed}: {outcome}") };
                        if let Some(holding) = held.next_if(|holding| holding.ticket == book.ticket) {
                            assert_eq!((number, book.patient_id), (holding.number, holding.patient_id.clone()));
                        }
                    }
                    Command::Cancel(_) => {
                        assert!(matches!(outcome, Outcome::Cancelled { .. }), "seed {seed}: {outcome}");
                    }
                    _ => assert_eq!(outcome, Outcome::Applied, "seed {seed}"),
                }
            }
            assert!(held.next().is_none(), "seed {seed}: everybody has booked");
        }
        for (id, remaining) in rules.remaining() {
            let snapshot =
                snapshots.iter().find(|snapshot| snapshot.session.session_id == *id).expect("it was carried");
            let held = u32::try_from(snapshot.holdings.iter().filter(|holding| holding.active).count()).expect("few");
            let expected = if snapshot.closed { 0 } else { snapshot.session.capacity - held };
            assert_eq!(remaining, expected, "seed {seed}: {id}");
        }
    }
}
