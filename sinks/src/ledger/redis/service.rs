//! The ledger's handle.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures::future::join_all;
use futures::{StreamExt as _, stream};
use orderly_domain::decision::{Decision, Outcome, Reason};
use orderly_domain::inventory::{Admission, Snapshot, is_past};
use orderly_domain::personal::Pseudonyms;
use orderly_domain::port::ledger::{Doubt, Request};
use orderly_domain::port::store::SessionState;
use orderly_domain::port::{self, Error, Result};
use orderly_domain::{Command, Fence, Partition, Position, SessionId, Timestamp, partition_of};
use orderly_lua::{APPLY, RESTORE, SETTLE, Script};
use prometheus::Registry;
use redis::{FromRedisValue, Value};

use super::Options;
use super::call::{Action, Call, Step, bytes};
use super::keys::{Day, NAMES, date_of, pattern, siblings};
use super::known::{Known, Seen};
use super::metrics::Metrics;
use super::part::{lent, parts};
use super::reply::{self, Reply};
use crate::redis::{Address, Connection, Servers};

/// Days that are asked about at once; further ones wait for a gate.
const GATES: usize = 64;
/// Sessions or days that are read or restored at once.
const AT_ONCE: usize = 32;

/// The ledger in Redis.
pub struct Ledger {
    servers: Servers,
    pseudonyms: Pseudonyms,
    prefix: String,
    batch_max: usize,
    log_partitions: u16,
    /// Tells this ledger's calls from those of others.
    caller: String,
    calls: AtomicU64,
    /// About one day, one call at a time: what a call learns must not be overtaken by the next.
    gates: Vec<tokio::sync::Mutex<()>>,
    known: Mutex<Known>,
    unfinished: Mutex<HashMap<Day, Unfinished>>,
    metrics: Metrics,
}

impl Ledger {
    /// Opens the ledger. It knows no session until it is restored. Redis is told pseudonyms in place of patients, so all that
    /// share it must have theirs from one key. Metrics are registered on `registry`.
    ///
    /// # Errors
    /// When Redis cannot be reached, or throws keys away when its memory is full.
    pub async fn open(options: Options, pseudonyms: Pseudonyms, registry: &Registry) -> Result<Self> {
        let Options { urls, tls, response_timeout, connections, batch_max, prefix, log_partitions } = options;
        if prefix.contains('{') {
            return Err(Error::DidNotHappen(format!("the prefix {prefix:?} must not contain {{; choose another")));
        }
        let servers = Servers::new(Address { urls, tls }, response_timeout, connections)?;
        servers.check_keeps_everything().await?;
        Ok(Self {
            servers,
            pseudonyms,
            prefix,
            batch_max: batch_max.max(1),
            log_partitions: log_partitions.max(1),
            caller: format!("{:016x}", RandomState::new().build_hasher().finish()),
            calls: AtomicU64::new(1),
            gates: (0..GATES).map(|_| tokio::sync::Mutex::new(())).collect(),
            known: Mutex::new(Known::default()),
            unfinished: Mutex::default(),
            metrics: Metrics::register(registry)?,
        })
    }

    fn unfinished(&self) -> MutexGuard<'_, HashMap<Day, Unfinished>> {
        self.unfinished.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is known, and shows how much it is.
    fn learn(&self, change: impl FnOnce(&mut Known)) {
        let mut known = self.known();
        change(&mut known);
        self.metrics.known_sessions.set(i64::try_from(known.len()).unwrap_or(i64::MAX));
    }

    /// Decides these steps of one day, in order, some at a time. What was asked before and not answered whole goes on where it
    /// was: what is decided must not be decided anew.
    async fn decide_day(&self, day: &Day, steps: &[Step<'_>]) -> Result<Vec<Admission>> {
        let _gate = self.gates[gate_of(day)].lock().await;
        let asked: Vec<_> = steps.iter().map(|step| (step.position, step.fence)).collect();
        let before = self.unfinished().remove(day).filter(|before| before.asked == asked);
        let mut now = before.unwrap_or_else(|| Unfinished { asked, answered: Vec::new(), sent: 0 });
        while now.answered.len() < steps.len() {
            let rest = &steps[now.answered.len()..];
            let some = &rest[..rest.len().min(self.batch_max)];
            let number = self.calls.fetch_add(1, Ordering::Relaxed);
            let repeats = now.sent;
            if repeats == 0 {
                now.sent = number;
            }
            match self.do_some(day, some, number, repeats).await {
                Ok(admissions) => {
                    now.answered.extend(admissions);
                    now.sent = 0;
                }
                Err(error) => {
                    // All else ends in a takeover, which asks anew.
                    if matches!(error, Error::MayHaveHappened(_) | Error::DidNotHappen(_)) {
                        self.unfinished().insert(day.clone(), now);
                    }
                    return Err(error);
                }
            }
        }
        // Another day's part of the same request may have to be asked again.
        let answered = now.answered.clone();
        self.unfinished().insert(day.clone(), now);
        Ok(answered)
    }

    /// Takes these steps of one day back, some at a time.
    async fn undo_day(&self, day: &Day, steps: &[Step<'_>]) -> Result<()> {
        let _gate = self.gates[gate_of(day)].lock().await;
        for steps in steps.chunks(self.batch_max) {
            let number = self.calls.fetch_add(1, Ordering::Relaxed);
            self.do_some(day, steps, number, 0).await?;
        }
        Ok(())
    }

    async fn do_some(&self, day: &Day, steps: &[Step<'_>], number: u64, repeats: u64) -> Result<Vec<Admission>> {
        let call = Call::new(&self.caller, number, repeats, day, steps, &self.known(), &self.pseudonyms)?;
        self.metrics.call_commands.observe(f64::from(u32::try_from(steps.len()).unwrap_or(u32::MAX)));
        let (versions, answers) = match self.call(&APPLY, day, number, &call.args).await? {
            Reply::Done { versions, answers } => (versions, answers),
            Reply::Fenced(index) => {
                let entry = call.entries.get(index);
                return Err(entry.map_or_else(unreadable, |entry| Error::Fenced { partition: entry.partition }));
            }
            Reply::Lost(index) => {
                let entry = index.and_then(|index| call.entries.get(index));
                return Err(lost(entry.map(|entry| &entry.key.0), day));
            }
            Reply::Overtaken => return Err(overtaken()),
        };
        let admissions: Option<Vec<_>> =
            steps.iter().zip(&answers).map(|(step, answer)| reply::admission(answer, step.position.offset)).collect();
        match admissions.filter(|_| answers.len() == steps.len() && versions.len() == call.entries.len()) {
            Some(admissions) => {
                self.learn(|known| {
                    for (entry, version) in call.entries.iter().zip(versions) {
                        match version {
                            0 => known.forget(day, &entry.key),
                            version => known.see(day, &entry.key, Seen { fence: entry.fence, version }, number),
                        }
                    }
                });
                Ok(admissions)
            }
            None => {
                self.servers.discard_all().await;
                Err(unreadable())
            }
        }
    }

    /// Tells of committed releases of a day: for each a kind and a name.
    async fn settle_day(&self, day: &Day, releases: &[Vec<u8>]) -> Result<()> {
        let keys = &day.keys(&self.prefix);
        for some in releases.chunks(2 * self.batch_max) {
            let args = &[&[bytes(&self.caller)], some].concat();
            let ask = |mut connection: Connection| async move { SETTLE.call::<()>(&mut connection, keys, args).await };
            self.servers.call(SETTLE.name(), day.lane(), ask).await?;
        }
        Ok(())
    }

    /// One call of a script about a day.
    async fn call(&self, script: &Script<6>, day: &Day, number: u64, args: &[Vec<u8>]) -> Result<Reply> {
        let _timer = self.metrics.call_seconds.start_timer();
        let keys = day.keys(&self.prefix);
        let ask = |mut connection: Connection| async move { script.call::<Value>(&mut connection, &keys, args).await };
        let value = self.servers.call(script.name(), day.lane(), ask).await?;
        match Reply::read(value, &self.caller, number) {
            Some(reply) => Ok(reply),
            None => {
                self.servers.discard_all().await;
                Err(unreadable())
            }
        }
    }

    async fn restore_session(&self, fence: Fence, snapshot: Snapshot) -> Result<()> {
        let session = &snapshot.session;
        let day = Day { date: session.day, department: session.department.clone() };
        let key = (session.session_id.clone(), session.doctor_id.clone());
        let _gate = self.gates[gate_of(&day)].lock().await;
        let seen = self.known().get(&day, &key).filter(|seen| seen.fence == fence);
        self.learn(|known| known.forget(&day, &key));
        let (mut version, mut last_call) = (seen.map_or(1, |seen| seen.version + 1), 0);
        for part in parts(&snapshot, fence, version, &self.pseudonyms) {
            let number = self.calls.fetch_add(1, Ordering::Relaxed);
            let args: Vec<_> = [bytes(&self.caller), bytes(number)].into_iter().chain(part).collect();
            match self.call(&RESTORE, &day, number, &args).await? {
                Reply::Done { versions, .. } => {
                    (version, last_call) = (versions.first().copied().unwrap_or(version), number);
                }
                Reply::Fenced(_) => {
                    return Err(Error::Fenced { partition: partition_of(&key.1, self.log_partitions) });
                }
                Reply::Lost(_) => {
                    let text = format!("Redis lost what was restored of session {} so far; restore it again", key.0);
                    return Err(Error::DidNotHappen(text));
                }
                Reply::Overtaken => return Err(overtaken()),
            }
        }
        self.learn(|known| known.see(&day, &key, Seen { fence, version }, last_call));
        Ok(())
    }

    /// Those of a day's sessions that lag behind the store.
    async fn behind_of(&self, day: Day, states: Vec<&SessionState>) -> Result<Vec<SessionId>> {
        let [key, _, holders, ..] = &day.keys(&self.prefix);
        let ids: Vec<_> = states.iter().map(|state| state.session.session_id.to_string()).collect();
        let released: Vec<_> = ids.iter().map(|id| format!("r{id}")).collect();
        // In this order a cancellation in between is not taken for a loss.
        let records: Vec<Option<String>> = self.fields(&day, key, &ids).await?;
        let released: Vec<Option<u32>> = self.fields(&day, holders, &released).await?;
        let mut behind = Vec::new();
        for ((state, record), released) in states.into_iter().zip(records).zip(released) {
            let id = &state.session.session_id;
            let is_behind = |record| reply::is_behind(record, released.unwrap_or(0), state.booked);
            let lags = record.as_deref().map_or(Some(true), is_behind);
            if lags.ok_or_else(|| Error::Corrupt(format!("the record of session {id} in {key:?}: {record:?}")))? {
                behind.push(id.clone());
            }
        }
        Ok(behind)
    }

    /// Fields of a hash of that day.
    async fn fields<T: FromRedisValue>(&self, day: &Day, key: &str, fields: &[String]) -> Result<Vec<Option<T>>> {
        let ask = |mut connection: Connection| async move {
            redis::cmd("HMGET").arg(key).arg(fields).query_async(&mut connection).await
        };
        self.servers.call("HMGET", day.lane(), ask).await
    }

    async fn lend_session(&self, fence: Fence, snapshot: Snapshot, doubt: Doubt) -> Result<()> {
        let day = Day { date: snapshot.session.day, department: snapshot.session.department.clone() };
        let _gate = self.gates[gate_of(&day)].lock().await;
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        let lent = lent(&snapshot, fence, doubt, &self.pseudonyms);
        let args: Vec<_> = [bytes(&self.caller), bytes(number)].into_iter().chain(lent).collect();
        match self.call(&RESTORE, &day, number, &args).await? {
            // Whoever has it by a later takeover has restored it.
            Reply::Done { .. } | Reply::Fenced(_) | Reply::Lost(_) => Ok(()),
            Reply::Overtaken => Err(overtaken()),
        }
    }

    async fn remaining_of(&self, key: String) -> Result<Vec<(SessionId, u32)>> {
        let key = &key;
        let ask = |mut connection: Connection| async move {
            redis::cmd("HGETALL").arg(key).query_async(&mut connection).await
        };
        let records: Vec<(String, String)> = self.servers.call("HGETALL", 0, ask).await?;
        let mut remaining = Vec::with_capacity(records.len());
        for (session, record) in records {
            let broken = || Error::Corrupt(format!("the record of session {session:?} in {key:?}: {record:?}"));
            let left = reply::remaining(&record).ok_or_else(broken)?;
            if let Some(left) = left {
                remaining.push((session.parse().map_err(|_| broken())?, left));
            }
        }
        Ok(remaining)
    }
}

#[async_trait]
impl port::Ledger for Ledger {
    async fn apply(&self, requests: &[Request<'_>]) -> Result<Vec<Admission>> {
        let mut admissions: Vec<Admission> = vec![Reason::Expired.into(); requests.len()];
        let mut days = Days::default();
        for (index, request) in requests.iter().enumerate() {
            let Request { position, logged_at, fence, command } = *request;
            // A day that is past is answered without a look at it.
            if !is_past(command.department_day().1, logged_at) {
                days.add(index, Step { position, logged_at, fence, action: Action::Do(command) });
            }
        }
        let answers = join_all(days.0.iter().map(|(day, (_, steps))| self.decide_day(day, steps))).await;
        let answers = all(answers)?;
        {
            let mut unfinished = self.unfinished();
            days.0.keys().for_each(|day| drop(unfinished.remove(day)));
        }
        for (answers, (indexes, _)) in answers.into_iter().zip(days.0.values()) {
            for (index, admission) in indexes.iter().zip(answers) {
                admissions[*index] = admission;
            }
        }
        Ok(admissions)
    }

    async fn hold(&self, held: &HashMap<Partition, Fence>) -> Result<()> {
        self.learn(|known| known.hold(held, |doctor| partition_of(doctor, self.log_partitions)));
        Ok(())
    }

    async fn restore(&self, snapshots: Vec<(Fence, Snapshot)>) -> Result<()> {
        let sessions = snapshots.into_iter().map(|(fence, snapshot)| self.restore_session(fence, snapshot));
        all(stream::iter(sessions).buffer_unordered(AT_ONCE).collect().await)?;
        Ok(())
    }

    async fn behind(&self, sessions: &[SessionState]) -> Result<Vec<SessionId>> {
        let mut days: HashMap<Day, Vec<&SessionState>> = HashMap::new();
        for state in sessions {
            let day = Day { date: state.session.day, department: state.session.department.clone() };
            days.entry(day).or_default().push(state);
        }
        let days = days.into_iter().map(|(day, states)| self.behind_of(day, states)).collect::<Vec<_>>();
        let behind = stream::iter(days).buffer_unordered(AT_ONCE).collect().await;
        Ok(all(behind)?.into_iter().flatten().collect())
    }

    async fn lend(&self, snapshots: Vec<(Fence, Snapshot)>, doubt: Doubt) -> Result<()> {
        let sessions = snapshots.into_iter().map(|(fence, snapshot)| self.lend_session(fence, snapshot, doubt));
        all(stream::iter(sessions).buffer_unordered(AT_ONCE).collect().await)?;
        Ok(())
    }

    async fn undo(&self, refused: &[Decision]) -> Result<()> {
        let mut days = Days::default();
        for (index, decision) in refused.iter().enumerate() {
            if let (Some(command @ Command::Book(_)), Outcome::Booked { .. })
            | (Some(command @ Command::OpenSession(_)), Outcome::Applied) = (&decision.command, decision.outcome)
            {
                let Decision { position, logged_at, fence, .. } = *decision;
                days.add(index, Step { position, logged_at, fence, action: Action::Undo(command) });
            }
        }
        all(join_all(days.0.iter().map(|(day, (_, steps))| self.undo_day(day, steps))).await)?;
        Ok(())
    }

    async fn settle(&self, committed: &[Decision]) -> Result<()> {
        let mut days: HashMap<Day, Vec<Vec<u8>>> = HashMap::new();
        for decision in committed {
            let release = match (&decision.command, decision.outcome) {
                (Some(Command::Cancel(cancel)), Outcome::Cancelled { .. }) => {
                    [bytes("c"), cancel.ticket.as_bytes().to_vec()]
                }
                (Some(Command::CloseSession(close)), Outcome::Applied) => {
                    [bytes("x"), bytes(&close.session.session_id)]
                }
                _ => continue,
            };
            let (department, date) = decision.command.as_ref().map(Command::department_day).expect("it has a command");
            days.entry(Day { date, department: department.clone() }).or_default().extend(release);
        }
        all(join_all(days.iter().map(|(day, releases)| self.settle_day(day, releases))).await)?;
        Ok(())
    }

    async fn prune(&self, logged_at: Timestamp) -> Result<()> {
        let keys = self.servers.keys(&pattern(&self.prefix, "*")).await?;
        let days: BTreeSet<_> = keys
            .iter()
            .filter(|key| date_of(&self.prefix, key).is_some_and(|date| is_past(date, logged_at)))
            .filter_map(|key| siblings(key))
            .collect();
        // A day goes as a whole: a process that lags behind sees all of it or nothing.
        let unlink = |keys: [String; NAMES.len()]| async move {
            let ask = |mut connection: Connection| async move {
                redis::cmd("UNLINK").arg(&keys).query_async(&mut connection).await
            };
            self.servers.call::<(), _>("UNLINK", 0, ask).await
        };
        all(stream::iter(days).map(unlink).buffer_unordered(AT_ONCE).collect().await)?;
        self.learn(|known| known.prune(logged_at));
        self.unfinished().retain(|day, _| !is_past(day.date, logged_at));
        Ok(())
    }

    async fn remaining(&self) -> Result<Vec<(SessionId, u32)>> {
        let keys = self.servers.keys(&pattern(&self.prefix, "sessions")).await?;
        let days = keys.into_iter().map(|key| self.remaining_of(key));
        let days = stream::iter(days).buffer_unordered(AT_ONCE).collect().await;
        Ok(all(days)?.into_iter().flatten().collect())
    }
}

/// What was asked of one day and is not answered whole, so that it will be asked again.
struct Unfinished {
    asked: Vec<(Position, Fence)>,
    /// The first of them.
    answered: Vec<Admission>,
    /// The number of the first call that asked for the next of them; 0 when there was none.
    sent: u64,
}

/// Steps by day, each with its index in the order asked.
#[derive(Default)]
struct Days<'a>(HashMap<Day, (Vec<usize>, Vec<Step<'a>>)>);

impl<'a> Days<'a> {
    fn add(&mut self, index: usize, step: Step<'a>) {
        let (department, date) = step.command().department_day();
        let (indexes, steps) = self.0.entry(Day { date, department: department.clone() }).or_default();
        indexes.push(index);
        steps.push(step);
    }
}

fn gate_of(day: &Day) -> usize {
    usize::try_from(day.lane() >> 32).expect("32 bits fit") % GATES
}

/// All answers, or the error from which the caller learns most: one that trying again does not heal.
fn all<T>(answers: Vec<Result<T>>) -> Result<Vec<T>> {
    let weight = |error: &Error| match error {
        Error::Corrupt(_) => 3,
        Error::Fenced { .. } => 2,
        Error::Lost(_) | Error::Conflict { .. } => 1,
        _ => 0,
    };
    let mut done = Vec::with_capacity(answers.len());
    let mut worst: Option<Error> = None;
    for answer in answers {
        match answer {
            Ok(answer) => done.push(answer),
            Err(error) if worst.as_ref().is_none_or(|worst| weight(&error) > weight(worst)) => worst = Some(error),
            Err(_) => {}
        }
    }
    worst.map_or(Ok(done), Err)
}

fn lost(session: Option<&SessionId>, day: &Day) -> Error {
    let what = session.map_or_else(|| "what it was told".into(), |session| format!("session {session}"));
    Error::Lost(format!("Redis does not know {what} of {} {}, or not newly enough", day.department, day.date))
}

fn overtaken() -> Error {
    Error::MayHaveHappened("a later call reached Redis first; ask again".into())
}

fn unreadable() -> Error {
    Error::MayHaveHappened("Redis answered something that was not asked; its connections were dropped".into())
}
