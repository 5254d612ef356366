//! The log and the group of its readers.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use async_trait::async_trait;
use orderly_domain::port::log::{Appended, Delivery, Extent, IntentLog, LogReader, Record};
use orderly_domain::port::{Error, Result};
use orderly_domain::{Offset, Partition, Position, Timestamp};
use tokio::time::Instant;

use crate::edge::{Edge, Server};
use crate::plan::PARTITIONS;
use crate::world::{State, World};

/// How long a member may take to let go of a partition before it is given to another.
const PATIENCE: Duration = Duration::from_millis(900);

/// A reader's number.
type Member = u64;

#[derive(Default)]
pub(crate) struct Log {
    pub(crate) records: BTreeMap<Partition, Vec<Record>>,
    last: Timestamp,
    members: BTreeMap<Member, Assigned>,
    owners: BTreeMap<Partition, Member>,
    /// Where a partition goes once its owner has let go, and until when that is waited for.
    moves: BTreeMap<Partition, (Option<Member>, Instant)>,
    next_member: Member,
    turn: usize,
}

struct Assigned {
    node: usize,
    /// What it may read, and from where on once it has said so.
    reads: BTreeMap<Partition, Option<Offset>>,
    tells: VecDeque<Delivery>,
    /// Let go of when it comes back for more.
    leaving: Vec<Partition>,
}

impl Log {
    fn append(&mut self, partition: Partition, payload: Vec<u8>, now: Timestamp) -> Appended {
        // One order over all partitions, also when the clock stands still.
        let logged_at = now.max(Timestamp::from_micros(self.last.as_micros() + 1));
        self.last = logged_at;
        let records = self.records.entry(partition).or_default();
        let position = Position { partition, offset: records.len() as Offset };
        records.push(Record { position, logged_at, payload });
        Appended { position, logged_at }
    }

    pub(crate) fn end(&self, partition: Partition) -> Offset {
        self.records.get(&partition).map_or(0, Vec::len) as Offset
    }

    fn join(&mut self, node: usize, now: Instant) -> Member {
        let member = self.next_member;
        self.next_member += 1;
        self.members
            .insert(member, Assigned { node, reads: BTreeMap::new(), tells: VecDeque::new(), leaving: Vec::new() });
        self.rebalance(now);
        member
    }

    fn leave(&mut self, member: Member, now: Instant) {
        if self.members.remove(&member).is_some() {
            self.owners.retain(|_, owner| *owner != member);
            self.rebalance(now);
        }
    }

    /// Shares the partitions anew.
    pub(crate) fn rebalance(&mut self, now: Instant) {
        self.turn += 1;
        let members: Vec<Member> = self.members.keys().copied().collect();
        for partition in 0..PARTITIONS {
            let target = (!members.is_empty()).then(|| members[(usize::from(partition) + self.turn) % members.len()]);
            let owner = self.owners.get(&partition).copied();
            // One that was told to let go has to be given it again.
            if owner == target && !self.moves.contains_key(&partition) {
                continue;
            }
            if let Some(owner) = owner
                && !self.moves.contains_key(&partition)
                && let Some(assigned) = self.members.get_mut(&owner)
            {
                assigned.reads.remove(&partition);
                assigned.tells.push_back(Delivery::Revoked(vec![partition]));
            }
            let until = self.moves.get(&partition).map_or(now + PATIENCE, |(_, until)| *until);
            self.moves.insert(partition, (target, until));
        }
        self.settle(now);
    }

    /// Takes everything from a node's members at once; they hear of it when they ask next, and the others own it already.
    pub(crate) fn evict(&mut self, node: usize, now: Instant) {
        let evicted: Vec<Member> =
            self.members.iter().filter(|(_, assigned)| assigned.node == node).map(|(member, _)| *member).collect();
        for member in evicted {
            if let Some(assigned) = self.members.get_mut(&member) {
                let lost: Vec<_> = std::mem::take(&mut assigned.reads).into_keys().collect();
                if !lost.is_empty() {
                    assigned.tells.push_back(Delivery::Revoked(lost));
                }
            }
            self.owners.retain(|_, owner| *owner != member);
        }
        self.rebalance(now);
    }

    /// Gives out what has been let go of, or was waited for long enough.
    fn settle(&mut self, now: Instant) {
        let moves: Vec<_> = self.moves.iter().map(|(partition, to)| (*partition, *to)).collect();
        for (partition, (target, until)) in moves {
            if self.owners.contains_key(&partition) && now < until {
                continue;
            }
            self.moves.remove(&partition);
            self.owners.remove(&partition);
            if let Some(target) = target
                && let Some(assigned) = self.members.get_mut(&target)
            {
                self.owners.insert(partition, target);
                assigned.reads.insert(partition, None);
                assigned.tells.push_back(Delivery::Assigned(vec![partition]));
            }
        }
    }

    fn next(&mut self, member: Member, records_max: usize, now: Instant) -> Option<Delivery> {
        let left = self.members.get_mut(&member).map(|assigned| std::mem::take(&mut assigned.leaving))?;
        for partition in left {
            if self.owners.get(&partition) == Some(&member) && self.moves.contains_key(&partition) {
                self.owners.remove(&partition);
            }
        }
        self.settle(now);
        let assigned = self.members.get_mut(&member)?;
        if let Some(told) = assigned.tells.pop_front() {
            if let Delivery::Revoked(partitions) = &told {
                assigned.leaving.clone_from(partitions);
            }
            return Some(told);
        }
        let mut records = Vec::new();
        while records.len() < records_max {
            let ahead = assigned.reads.iter().filter_map(|(partition, from)| {
                let from = usize::try_from((*from)?).ok()?;
                self.records.get(partition)?.get(from)
            });
            let Some(first) = ahead.min_by_key(|record| (record.logged_at, record.position)).cloned() else { break };
            if let Some(Some(from)) = assigned.reads.get_mut(&first.position.partition) {
                *from += 1;
            }
            records.push(first);
        }
        (!records.is_empty()).then_some(Delivery::Records(records))
    }

    /// A member forgets what it was told, lets go of what it was to let go of, and hears of the rest once more.
    fn restart(&mut self, member: Member) {
        let Some(assigned) = self.members.get_mut(&member) else { return };
        for told in std::mem::take(&mut assigned.tells) {
            if let Delivery::Revoked(partitions) = told {
                assigned.leaving.extend(partitions);
            }
        }
        assigned.reads.values_mut().for_each(|from| *from = None);
        if !assigned.reads.is_empty() {
            assigned.tells.push_back(Delivery::Assigned(assigned.reads.keys().copied().collect()));
        }
    }

    /// Gives dead machines' partitions to others.
    pub(crate) fn bury(&mut self, node: usize, now: Instant) {
        let dead: Vec<Member> =
            self.members.iter().filter(|(_, assigned)| assigned.node == node).map(|(member, _)| *member).collect();
        for member in dead {
            self.leave(member, now);
        }
    }
}

/// The log, as one process reaches it.
pub(crate) struct Port(pub(crate) Edge);

#[async_trait]
impl IntentLog for Port {
    fn partitions(&self) -> u16 {
        PARTITIONS
    }

    async fn append(&self, partition: Partition, _key: &str, payload: Vec<u8>) -> Result<Appended> {
        let work = move |state: &mut State| {
            let now = state.log_now();
            state.counts.intents += 1;
            Ok(state.log.append(partition, payload, now))
        };
        self.0.call(Server::Log, "append", work).await
    }

    async fn extents(&self) -> Result<Vec<Extent>> {
        let state = self.0.world.state();
        Ok((0..PARTITIONS).map(|partition| Extent { partition, start: 0, end: state.log.end(partition) }).collect())
    }

    async fn logged_at(&self, places: &[Position]) -> Result<Vec<Option<Timestamp>>> {
        let state = self.0.world.state();
        let record = |place: &Position| {
            let offset = usize::try_from(place.offset).ok()?;
            Some(state.log.records.get(&place.partition)?.get(offset)?.logged_at)
        };
        Ok(places.iter().map(record).collect())
    }

    fn trouble(&self) -> Option<String> {
        None
    }

    async fn reader(&self) -> Result<Box<dyn LogReader>> {
        self.0.running().await;
        let now = Instant::now();
        let node = self.0.node;
        let member = self.0.world.state().log.join(node, now);
        self.0.world.ring();
        Ok(Box::new(Reader { edge: self.0.clone(), member }))
    }

    async fn scan(&self, from: &[(Partition, Offset)]) -> Result<Box<dyn LogReader>> {
        Ok(Box::new(Scan { world: self.0.world.clone(), at: from.iter().copied().collect() }))
    }

    async fn trim(&self, _before: Timestamp, _decided: &[(Partition, Offset)]) -> Result<u64> {
        Ok(0)
    }
}

struct Reader {
    edge: Edge,
    member: Member,
}

impl Reader {
    fn poll(&self, records_max: usize) -> Option<Delivery> {
        let now = Instant::now();
        let mut state = self.edge.world.state();
        if state.log_away_until.is_some_and(|until| until > now) {
            return None;
        }
        let records_max = 1 + state.random.below(records_max);
        let delivery = state.log.next(self.member, records_max, now)?;
        let (node, member) = (self.edge.node, self.member);
        state.say(|| match &delivery {
            Delivery::Assigned(partitions) => format!("n{node} r{member} is assigned {partitions:?}"),
            Delivery::Revoked(partitions) => format!("n{node} r{member} loses {partitions:?}"),
            Delivery::Records(records) => {
                let places: Vec<_> = records.iter().map(|record| record.position.to_string()).collect();
                format!("n{node} r{member} reads {}", places.join(" "))
            }
        });
        Some(delivery)
    }
}

#[async_trait]
impl LogReader for Reader {
    async fn next(&mut self, records_max: usize) -> Result<Delivery> {
        loop {
            self.edge.running().await;
            let wait = {
                let mut state = self.edge.world.state();
                let longest = state.noise.latency_ms_max.max(1) * 500;
                Duration::from_micros(state.random.within(0..longest))
            };
            tokio::time::sleep(wait).await;
            self.edge.running().await;
            let changed = self.edge.world.changed();
            if let Some(delivery) = self.poll(records_max) {
                self.edge.world.ring();
                return Ok(delivery);
            }
            tokio::select! {
                biased;
                () = changed => {}
                () = tokio::time::sleep(Duration::from_millis(100)) => {}
            }
        }
    }

    async fn seek(&mut self, from: &[(Partition, Offset)]) -> Result<()> {
        self.edge.running().await;
        let mut state = self.edge.world.state();
        for (partition, offset) in from {
            if *offset > state.log.end(*partition) {
                return Err(Error::Corrupt(format!("the log of partition {partition} ends before {offset}")));
            }
            if let Some(assigned) = state.log.members.get_mut(&self.member)
                && let Some(reads) = assigned.reads.get_mut(partition)
            {
                *reads = Some(*offset);
            }
        }
        Ok(())
    }

    fn restart(&mut self) {
        self.edge.world.state().log.restart(self.member);
        self.edge.world.ring();
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.edge.world.state();
        // A dead machine says no goodbye; and a run that has ended has no time any more.
        if state.is_current(self.edge.node, self.edge.incarnation) && tokio::runtime::Handle::try_current().is_ok() {
            state.log.leave(self.member, Instant::now());
            drop(state);
            self.edge.world.ring();
        }
    }
}

/// For whoever looks and decides nothing.
struct Scan {
    world: World,
    at: BTreeMap<Partition, Offset>,
}

impl Scan {
    fn take(&mut self, records_max: usize) -> Vec<Record> {
        let state = self.world.state();
        let mut records = Vec::new();
        for (partition, at) in &mut self.at {
            let all = state.log.records.get(partition).map_or(&[][..], Vec::as_slice);
            let ahead = all.iter().skip(usize::try_from(*at).unwrap_or(usize::MAX)).take(records_max - records.len());
            let before = records.len();
            records.extend(ahead.cloned());
            *at += (records.len() - before) as Offset;
        }
        records
    }
}

#[async_trait]
impl LogReader for Scan {
    async fn next(&mut self, records_max: usize) -> Result<Delivery> {
        let records = self.take(records_max);
        if records.is_empty() {
            std::future::pending::<()>().await;
        }
        Ok(Delivery::Records(records))
    }

    async fn seek(&mut self, from: &[(Partition, Offset)]) -> Result<()> {
        self.at.extend(from.iter().copied());
        Ok(())
    }

    /// It was never told of anything.
    fn restart(&mut self) {}
}
