//! Decode: bytes to commands. What cannot be read is decided here, in its place in the line.

use orderly_domain::planted::{self, Bug};
use orderly_domain::{Outcome, Reason, envelope, partition_of};

use crate::draft::{Draft, Entry};
use crate::operator::{Error, Operator};

/// Reads records. Poison gets the final refusal `malformed`; so does a record that lies in another partition than its
/// doctor's, because no doctor may be decided in two places.
#[derive(Debug)]
pub struct Decode {
    partitions: u16,
}

impl Decode {
    /// For a log with that many partitions.
    #[must_use]
    pub const fn new(partitions: u16) -> Self {
        Self { partitions }
    }
}

impl Operator for Decode {
    type In = Entry;
    type Out = Draft;

    fn name(&self) -> &'static str {
        "decode"
    }

    fn process_batch(&mut self, batch: Vec<Entry>, out: &mut Vec<Draft>) -> Result<(), Error> {
        out.reserve(batch.len());
        for entry in batch {
            let command = match envelope::decode(&entry.payload) {
                Ok(intent) => Some(intent.command).filter(|command| {
                    partition_of(command.doctor_id(), self.partitions) == entry.position.partition
                        || planted::is(Bug::MisroutedTaken)
                }),
                Err(envelope::Error::Malformed(_)) if planted::is(Bug::PoisonSkipped) => continue,
                Err(envelope::Error::Malformed(cause)) => {
                    tracing::warn!(position = %entry.position, cause, "malformed record");
                    None
                }
                Err(source @ envelope::Error::TooNew { .. }) => {
                    return Err(Error::Record { position: entry.position, source });
                }
            };
            let outcome = command.is_none().then_some(Outcome::Rejected(Reason::Malformed));
            let Entry { position, logged_at, fence, .. } = entry;
            out.push(Draft { position, logged_at, fence, command, outcome });
        }
        Ok(())
    }
}
