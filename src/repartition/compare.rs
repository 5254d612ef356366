//! Compares who holds what in two stores.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use orderly_domain::inventory::Snapshot;
use orderly_domain::personal::{Fields, Sealed};
use orderly_domain::port::Store;
use orderly_domain::{PatientId, Session, SessionId, Timestamp, ticket};

use super::append::given;
use super::to_come;

/// Differences that are listed.
const SHOWN_MAX: usize = 20;

/// What a session is, and who holds its numbers.
#[derive(PartialEq, Eq)]
struct Side {
    session: Session,
    closed: bool,
    held: BTreeMap<u32, (ticket::Id, PatientId, Option<Fields<Sealed>>)>,
}

/// How two stores compare.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    sessions: usize,
    appointments: usize,
    different: usize,
    /// The first differences, in words.
    first: Vec<String>,
}

/// Compares the sessions that are still to come.
///
/// # Errors
/// When a store cannot be read.
pub(super) async fn compare(old: &dyn Store, new: &dyn Store, now: Timestamp) -> anyhow::Result<Comparison> {
    let (old, mut new) = (sides(old, now).await?, sides(new, now).await?);
    let mut comparison = Comparison { sessions: old.len(), ..Comparison::default() };
    for (id, old) in old {
        comparison.appointments += old.held.len();
        let Some(new) = new.remove(&id) else {
            comparison.differs(format!("{id} is missing"));
            continue;
        };
        if old == new {
            continue;
        }
        if (&old.session, old.closed) != (&new.session, new.closed) {
            comparison.differs(format!("{id} is another session now, or is open where it was closed"));
        }
        for (number, holder) in &old.held {
            if new.held.get(number) != Some(holder) {
                comparison.differs(format!("{id}: number {number} is not held by the same ticket, with the same data"));
            }
        }
        for number in new.held.keys().filter(|number| !old.held.contains_key(number)) {
            comparison.differs(format!("{id}: number {number} is held, and was free"));
        }
    }
    for id in new.into_keys() {
        comparison.differs(format!("{id} is new"));
    }
    Ok(comparison)
}

async fn sides(store: &dyn Store, now: Timestamp) -> anyhow::Result<BTreeMap<SessionId, Side>> {
    let mut sides = BTreeMap::new();
    for (partition, snapshot) in to_come(store, now).await?.0 {
        let mut given = given(store, partition, &snapshot).await?;
        let Snapshot { session, closed, holdings } = snapshot;
        let active = holdings.into_iter().filter(|holding| holding.active);
        let held = active
            .map(|holding| (holding.number, (holding.ticket, holding.patient_id, given.remove(&holding.ticket))))
            .collect();
        sides.insert(session.session_id.clone(), Side { session, closed, held });
    }
    Ok(sides)
}

impl Comparison {
    fn differs(&mut self, text: String) {
        self.different += 1;
        if self.first.len() < SHOWN_MAX {
            self.first.push(text);
        }
    }

    pub(super) const fn is_same(&self) -> bool {
        self.different == 0
    }

    pub(super) fn to_text(&self) -> String {
        let Self { sessions, appointments, different, first } = self;
        let mut text = String::new();
        for line in first {
            writeln!(text, "{line}").expect("a text grows");
        }
        if *different > first.len() {
            writeln!(text, "… and {} more", different - first.len()).expect("a text grows");
        }
        let verdict = match different {
            0 => "Everybody holds the number that they held".to_owned(),
            _ => format!("{different} differences; do not start the new ingresses"),
        };
        writeln!(text, "{verdict}: {sessions} sessions and {appointments} appointments compared.")
            .expect("a text grows");
        text
    }
}
