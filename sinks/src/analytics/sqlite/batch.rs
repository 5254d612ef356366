//! Rows on their way to the writer's thread. Many rows are about the same few sessions; each is copied once.

use orderly_domain::command::Kind;
use orderly_domain::port::analytics::Row;
use orderly_domain::{Outcome, Position, Session, SessionId, Timestamp};
use rustc_hash::FxHashMap;

/// What a row says of its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    Nothing,
    /// Only its id is known: an index into `Batch::unknown`.
    Unknown(usize),
    /// An index into `Batch::sessions`.
    Session(usize),
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) position: Position,
    pub(super) logged_at: Timestamp,
    pub(super) decided_at: Timestamp,
    pub(super) kind: Kind,
    pub(super) patient: Option<String>,
    pub(super) outcome: Outcome,
    pub(super) repeat: bool,
    pub(super) about: About,
}

#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) entries: Vec<Entry>,
    /// Sessions as they were for one or more rows; one that changed in between is here twice.
    pub(super) sessions: Vec<Session>,
    pub(super) unknown: Vec<SessionId>,
}

impl Batch {
    pub(super) fn new(rows: &[Row]) -> Self {
        let mut batch = Self { entries: Vec::with_capacity(rows.len()), ..Self::default() };
        let mut newest: FxHashMap<&SessionId, usize> = FxHashMap::default();
        for row in rows {
            let about = match (&row.session, &row.session_id) {
                (Some(session), _) => {
                    let known = newest.get(&session.session_id).copied();
                    let index = known.filter(|index| batch.sessions[*index] == *session).unwrap_or_else(|| {
                        batch.sessions.push(session.clone());
                        batch.sessions.len() - 1
                    });
                    newest.insert(&session.session_id, index);
                    About::Session(index)
                }
                (None, Some(id)) => {
                    batch.unknown.push(id.clone());
                    About::Unknown(batch.unknown.len() - 1)
                }
                (None, None) => About::Nothing,
            };
            batch.entries.push(Entry {
                position: row.position,
                logged_at: row.logged_at,
                decided_at: row.decided_at,
                kind: row.kind,
                patient: row.patient.clone(),
                outcome: row.outcome,
                repeat: row.repeat,
                about,
            });
        }
        batch
    }
}
