//! The upper bound that people quote: a counter that is compared and swapped, in one process, and nothing is kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use async_trait::async_trait;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use super::System;
use crate::booking::{Attempt, Booked, Error, Outcome, Reason, Session};

struct Counter {
    session: Session,
    remaining: AtomicI32,
}

impl Counter {
    /// The next number, while there is one.
    fn take(&self) -> Option<i32> {
        let less = |remaining| (remaining > 0).then(|| remaining - 1);
        let before = self.remaining.fetch_update(Ordering::AcqRel, Ordering::Acquire, less).ok()?;
        Some(self.session.capacity - before + 1)
    }
}

/// Bookings in memory.
#[derive(Default)]
pub(super) struct Memory {
    sessions: DashMap<String, Arc<Counter>>,
    /// By patient and Idempotency-Key: session and number.
    keys: DashMap<(String, String), (String, i32)>,
    /// Patient, department and day.
    days: DashMap<(String, String, jiff::civil::Date), ()>,
}

#[async_trait]
impl System for Memory {
    async fn open(&self, sessions: Vec<Session>) -> Result<(), Error> {
        for session in sessions {
            let remaining = AtomicI32::new(session.capacity);
            self.sessions.insert(session.session_id.clone(), Arc::new(Counter { session, remaining }));
        }
        Ok(())
    }

    async fn book(&self, attempt: Attempt) -> Result<Outcome, Error> {
        let Attempt { session_id, patient_id, key } = attempt;
        let counter = Arc::clone(&*self.sessions.get(&session_id).ok_or(Error::UnknownSession)?);
        // Always in this order: an entry is a lock.
        let known = match self.keys.entry((patient_id.clone(), key)) {
            Entry::Occupied(known) => return Ok(Outcome::Booked { number: known.get().1 }),
            Entry::Vacant(new) => new,
        };
        let session = &counter.session;
        let Entry::Vacant(day) = self.days.entry((patient_id, session.department.clone(), session.day)) else {
            return Ok(Outcome::rejected(Reason::AlreadyBooked));
        };
        let Some(number) = counter.take() else { return Ok(Outcome::rejected(Reason::SoldOut)) };
        day.insert(());
        known.insert((session_id, number));
        Ok(Outcome::Booked { number })
    }

    async fn record(&self) -> Result<Vec<Booked>, Error> {
        let booked = |entry: dashmap::mapref::multiple::RefMulti<'_, (String, String), (String, i32)>| {
            let (session_id, number) = entry.value().clone();
            Booked { session_id, number, patient_id: entry.key().0.clone() }
        };
        Ok(self.keys.iter().map(booked).collect())
    }
}
