//! A commit by partition: what is checked before any store touches a row.

use std::collections::BTreeMap;

use orderly_domain::command::Kind;
use orderly_domain::port::store::{Advance, Commit};
use orderly_domain::{Command, Decision, Partition, Position, port};

/// A partition's part of a commit.
#[derive(Debug)]
pub(super) struct Lane<'a> {
    pub(super) advance: &'a Advance,
    /// Its decisions, by their index in the commit; the first is that of offset `advance.from`.
    pub(super) rows: Vec<usize>,
}

/// Sorts a commit's decisions by partition and checks that they are what its advances announce.
pub(super) fn of(commit: &Commit) -> port::Result<BTreeMap<Partition, Lane<'_>>> {
    let mut lanes = BTreeMap::new();
    for advance in &commit.advances {
        let lane = Lane { advance, rows: Vec::new() };
        if lanes.insert(advance.partition, lane).is_some() || advance.to < advance.from {
            return Err(corrupt(&format!("partition {} is advanced twice, or back", advance.partition)));
        }
    }
    for (index, decision) in commit.decisions.iter().enumerate() {
        let Position { partition, offset } = decision.position;
        let Some(lane) = lanes.get_mut(&partition) else {
            return Err(corrupt(&format!("record {} is of a partition that is not advanced", decision.position)));
        };
        if decision.fence != lane.advance.fence {
            return Err(port::Error::Fenced { partition });
        }
        let expected = lane.advance.from + lane.rows.len() as u64;
        if offset != expected {
            return Err(corrupt(&format!("partition {partition}: offset {offset} comes where {expected} should")));
        }
        lane.rows.push(index);
    }
    for lane in lanes.values() {
        let Advance { partition, from, to, .. } = *lane.advance;
        if lane.rows.len() as u64 != to - from {
            let rows = lane.rows.len();
            return Err(corrupt(&format!("partition {partition}: {rows} decisions do not fill {from}..{to}")));
        }
    }
    Ok(lanes)
}

/// What was asked cannot be, whoever asks again.
pub(super) fn corrupt(what: &str) -> port::Error {
    port::Error::Corrupt(format!("{what}; stop, claim the partition anew and go on from the offset in the store"))
}

/// What a decision's record asked.
pub(super) fn kind(decision: &Decision) -> Kind {
    decision.command.as_ref().map_or(Kind::Malformed, Command::kind)
}
