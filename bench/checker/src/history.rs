//! The log and the decisions on it, side by side, in the one order in which they were decided.

use std::collections::{BTreeMap, VecDeque};

use jiff::civil::Date;
use orderly_domain::envelope::{self, Intent, day_number};
use orderly_domain::port::Error;
use orderly_domain::port::log::{Delivery, Extent, IntentLog, LogReader, Record};
use orderly_domain::port::store::{DecisionRow, Progress, Store};
use orderly_domain::{Command, Offset, Partition, Position, Timestamp, partition_of};

use crate::report::{Invariant, Report};

/// Records or decisions of a partition that are in memory at a time.
const PAGE: usize = 1_000;

/// One place in the log, with what lies there and what came of it.
#[derive(Debug)]
pub(crate) struct Moment {
    pub(crate) position: Position,
    pub(crate) logged_at: Timestamp,
    /// `None` when the log has dropped it, or never had it.
    pub(crate) record: Option<Record>,
    /// `None` when it is missing.
    pub(crate) decision: Option<DecisionRow>,
}

/// What a record asks for; `None` when it cannot be read, or lies in a partition that is not its doctor's.
pub(crate) fn asked(record: &Record, partitions: u16) -> Result<Option<Command>, crate::Error> {
    let Record { position, payload, .. } = record;
    match envelope::decode(payload) {
        Ok(Intent { command, .. }) => {
            let is_here = partition_of(command.doctor_id(), partitions) == position.partition;
            Ok(is_here.then_some(command))
        }
        Err(envelope::Error::Malformed(_)) => Ok(None),
        Err(source @ envelope::Error::TooNew { .. }) => Err(crate::Error::TooNew { position: *position, source }),
    }
}

/// Everything below the store's progress, merged over the partitions by (log time, position).
pub(crate) struct History<'a> {
    log: &'a dyn IntentLog,
    store: &'a dyn Store,
    /// Earlier decisions may be forgotten.
    kept_since: Option<Date>,
    lanes: Vec<Lane>,
}

impl<'a> History<'a> {
    pub(crate) fn new(log: &'a dyn IntentLog, store: &'a dyn Store, kept_since: Option<Date>) -> Self {
        Self { log, store, kept_since, lanes: Vec::new() }
    }

    /// Goes on up to this progress, which was read before the extents.
    pub(crate) async fn extend(
        &mut self,
        progress: &[Progress],
        extents: &[Extent],
        report: &mut Report,
    ) -> Result<(), Error> {
        for Progress { partition, next_offset, .. } in progress {
            let Some(extent) = extents.iter().find(|extent| extent.partition == *partition) else {
                let row = format!("the store has decisions of partition {partition}, which the log does not have");
                report.violated(Invariant::ExactlyOnce, row);
                continue;
            };
            match self.lanes.iter_mut().find(|lane| lane.extent.partition == *partition) {
                Some(lane) => {
                    lane.bound = *next_offset;
                    lane.extent.end = extent.end;
                }
                None => self.lanes.push(self.open_lane(*extent, *next_offset, report).await?),
            }
        }
        let decided = |partition| {
            progress.iter().find(|progress| progress.partition == partition).map_or(0, |progress| progress.next_offset)
        };
        report.in_flight =
            extents.iter().map(|extent| extent.end.saturating_sub(decided(extent.partition).max(extent.start))).sum();
        Ok(())
    }

    /// A partition, from the first decision on that is kept. Whatever the log still has before that must be older than what
    /// is kept.
    async fn open_lane(&self, extent: Extent, bound: Offset, report: &mut Report) -> Result<Lane, Error> {
        let Some(kept_since) = self.kept_since else { return Lane::open(self.log, extent, bound, 0).await };
        let rows = self.store.decisions(extent.partition, 0, 1).await?;
        let first = rows.first().map_or(0, |row| row.decision.position.offset);
        let Some(forgotten) = first.checked_sub(1).filter(|last| (extent.start..extent.end).contains(last)) else {
            return Lane::open(self.log, extent, bound, first).await;
        };
        let mut lane = Lane::open(self.log, extent, bound, forgotten).await?;
        lane.read_records().await?;
        if let Some(record) = lane.records.front()
            && record.logged_at.utc_day() >= i64::from(day_number(kept_since))
        {
            let Position { partition, offset } = record.position;
            let row = format!("partition {partition}: records up to {offset} have no decision, and are not that old");
            report.violated(Invariant::NoLoss, row);
        }
        (lane.first, lane.next) = (first, first);
        Ok(lane)
    }

    /// Whether the log has dropped records, so that it cannot be decided again from its start.
    pub(crate) fn is_trimmed(&self) -> bool {
        self.lanes.iter().any(|lane| lane.extent.start > 0)
    }

    /// Whether the store has forgotten decisions.
    pub(crate) fn is_pruned(&self) -> bool {
        self.lanes.iter().any(|lane| lane.first > 0)
    }

    /// The next place, up to the progress that was given last.
    pub(crate) async fn next(&mut self, report: &mut Report) -> Result<Option<Moment>, Error> {
        let mut earliest: Option<(Timestamp, Position, usize)> = None;
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            if lane.head.is_none() {
                lane.head = lane.find_head(self.store, report).await?;
            }
            if let Some((logged_at, position)) = lane.head
                && earliest.is_none_or(|(at, place, _)| (logged_at, position) < (at, place))
            {
                earliest = Some((logged_at, position, index));
            }
        }
        Ok(earliest.map(|(logged_at, position, index)| {
            let (record, decision) = self.lanes[index].take(position);
            Moment { position, logged_at, record, decision }
        }))
    }

    /// Up to which offset of each partition everything was told of.
    pub(crate) fn told(&self) -> BTreeMap<Partition, Offset> {
        self.lanes.iter().map(|lane| (lane.extent.partition, lane.next)).collect()
    }

    /// The log time up to which everything was told of that lies in any partition; `None` when nothing was.
    pub(crate) fn watermark(&self) -> Option<Timestamp> {
        let behind = self.lanes.iter().filter(|lane| lane.next < lane.extent.end);
        let newest = self.lanes.iter().map(|lane| lane.last_logged_at).max();
        behind.map(|lane| lane.last_logged_at).min().or(newest)
    }

    /// Looks at what lies at and above each partition's progress. Only true of a store that stands still.
    pub(crate) async fn check_progress(
        &self,
        progress: &[Progress],
        idle: bool,
        report: &mut Report,
    ) -> Result<(), Error> {
        for Progress { partition, next_offset, published_offset, .. } in progress {
            report.looked_at(Invariant::AtomicProgress, 1);
            if published_offset > next_offset {
                let row = format!(
                    "partition {partition}: published up to {published_offset}, decided only up to {next_offset}"
                );
                report.violated(Invariant::AtomicProgress, row);
            }
            if let Some(row) = self.store.decisions(*partition, *next_offset, 1).await?.first() {
                let row = format!("{} is decided, though next_offset is {next_offset}", row.decision.position);
                report.violated(Invariant::AtomicProgress, row);
            }
        }
        if idle && report.in_flight > 0 {
            let row = format!("{} records of the log are not decided though all should be", report.in_flight);
            report.violated(Invariant::NoLoss, row);
        }
        Ok(())
    }
}

/// One partition.
struct Lane {
    /// Of the whole log.
    partitions: u16,
    extent: Extent,
    /// The first offset whose decision is kept.
    first: Offset,
    /// The first offset that is not looked at.
    bound: Offset,
    /// The first offset that is not told of.
    next: Offset,
    /// The next place to tell of, once it is found.
    head: Option<(Timestamp, Position)>,
    reader: Box<dyn LogReader>,
    records: VecDeque<Record>,
    decisions: VecDeque<DecisionRow>,
    last_logged_at: Timestamp,
}

impl Lane {
    async fn open(log: &dyn IntentLog, extent: Extent, bound: Offset, first: Offset) -> Result<Self, Error> {
        let start = first.clamp(extent.start, extent.end);
        let reader = log.scan(&[(extent.partition, start)]).await?;
        Ok(Self {
            partitions: log.partitions(),
            extent,
            first,
            bound,
            next: first,
            head: None,
            reader,
            records: VecDeque::new(),
            decisions: VecDeque::new(),
            last_logged_at: Timestamp::from_micros(i64::MIN),
        })
    }

    /// The next place that has a record or a decision.
    async fn find_head(
        &mut self,
        store: &dyn Store,
        report: &mut Report,
    ) -> Result<Option<(Timestamp, Position)>, Error> {
        let partition = self.extent.partition;
        if self.next >= self.bound {
            return Ok(None);
        }
        if self.decisions.is_empty() {
            self.decisions = store.decisions(partition, self.next, PAGE).await?.into();
        }
        let decision = self.decisions.front().map(|row| (row.decision.position.offset, row.decision.logged_at));
        let Some(decision) = decision.filter(|(offset, _)| *offset < self.bound) else {
            let row = format!("partition {partition}: next_offset is {}, decisions end at {}", self.bound, self.next);
            self.accuse_undecided(report).await?;
            report.violated(Invariant::AtomicProgress, row);
            self.next = self.bound;
            return Ok(None);
        };
        while self.records.pop_front_if(|record| record.position.offset < self.next).is_some() {}
        if self.records.is_empty() && self.next.max(self.extent.start) < self.extent.end {
            self.read_records().await?;
        }
        let record = self.records.front().map(|record| (record.position.offset, record.logged_at));
        let (offset, logged_at) = record.filter(|(offset, _)| *offset <= decision.0).unwrap_or(decision);
        if offset > self.next {
            let row = format!("partition {partition}: records {}..{offset} have no decision", self.next);
            report.violated(Invariant::NoLoss, row);
            self.next = offset;
        }
        let position = Position { partition, offset };
        if offset >= self.extent.end {
            let row = format!("{position} is decided, but the log ends at {}", self.extent.end);
            report.violated(Invariant::ExactlyOnce, row);
        }
        if logged_at < self.last_logged_at {
            let row = format!("{position}: its log time lies before that of the record ahead of it");
            report.violated(Invariant::InOrder, row);
        }
        self.last_logged_at = logged_at;
        Ok(Some((logged_at, position)))
    }

    /// Accuses the sessions of what records are left below the bound: none has a decision. Whom a record of a newer version
    /// names is not known here.
    async fn accuse_undecided(&mut self, report: &mut Report) -> Result<(), Error> {
        let end = self.bound.min(self.extent.end);
        self.next = self.next.max(self.extent.start);
        while self.records.pop_front_if(|record| record.position.offset < self.next).is_some() {}
        while self.next < end {
            if self.records.is_empty() {
                self.read_records().await?;
            }
            let record = self.records.pop_front_if(|record| record.position.offset < end);
            let Some(record) = record else { break };
            if let Ok(Some(command)) = asked(&record, self.partitions) {
                report.accuse(command.session_id());
            }
            self.next = record.position.offset + 1;
        }
        Ok(())
    }

    /// What lies at the head, which is told of with this.
    fn take(&mut self, head: Position) -> (Option<Record>, Option<DecisionRow>) {
        self.head = None;
        self.next = head.offset + 1;
        let record = self.records.pop_front_if(|record| record.position == head);
        (record, self.decisions.pop_front_if(|row| row.decision.position == head))
    }

    /// Reads records from `next` on, of which the log has at least one.
    async fn read_records(&mut self) -> Result<(), Error> {
        while self.records.is_empty() {
            match self.reader.next(PAGE).await? {
                Delivery::Records(records) => {
                    self.records = records.into_iter().filter(|record| record.position.offset >= self.next).collect();
                }
                Delivery::Assigned(_) => {}
                Delivery::Revoked(_) => {
                    let partition = self.extent.partition;
                    let cause = format!("the reader lost partition {partition} during the check; check again");
                    return Err(Error::DidNotHappen(cause));
                }
            }
        }
        Ok(())
    }
}
