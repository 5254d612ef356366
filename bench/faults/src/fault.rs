//! What can go wrong.

use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

/// A fault. Where a server is killed, recovery counts from the kill, its restart included; elsewhere from the end of the fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// kill -9 of a pipeline; the others take its partitions over
    PipelineKilled,
    /// One more pipeline joins; counts from its start
    PipelineAdded,
    /// SIGSTOP of a pipeline past its session timeout; it wakes up and its commit is refused
    PipelineStopped,
    /// SIGTERM of a pipeline, which decides what it has read and hands its partitions over; it is started again
    PipelineDrained,
    /// kill -9 of an ingress; patients turn to the other one
    IngressKilled,
    /// SIGSTOP of an ingress; whoever it has heard gets no answer until it wakes up
    IngressStopped,
    /// kill -9 of the relay
    RelayKilled,
    /// SIGSTOP of the relay, shorter and longer than its turn lasts
    RelayStopped,
    /// kill -9 of the auditor
    AuditorKilled,
    /// SIGSTOP of the auditor
    AuditorStopped,
    /// Ops put a policy in force that lets hardly anybody in, and then the old one again
    PolicySwapped,
    /// A pipeline and an ingress are restarted with a wrong clock, some minutes ahead or seconds behind, and again with the
    /// right one; counts from that
    ClockShifted,
    /// The certificate of an ingress is replaced while it runs; counts from the replacement
    CertificatesRotated,
    /// kill -9 of Kafka
    KafkaKilled,
    /// SIGSTOP of Kafka
    KafkaStopped,
    /// Kafka's log directory is gone: every pipeline stops with an alarm. Once, after everything else
    KafkaLost,
    /// kill -9 of Redis; its append-only file has everything
    RedisKilled,
    /// SIGSTOP of Redis
    RedisStopped,
    /// FLUSHALL
    RedisFlushed,
    /// kill -9 of Redis; it comes back with a copy from before the last bookings
    RedisOld,
    /// Redis does what it is asked to, and nobody hears of it
    RedisUnheard,
    /// Every answer of Redis comes late
    RedisSlow,
    /// All connections to Redis are cut, and no new one is made
    RedisCut,
    /// Connections to Redis stay open and nothing passes, on those of before and of meanwhile for ever
    RedisHalfOpen,
    /// Redis cannot write to its disk
    RedisFull,
    /// kill -9 of PostgreSQL
    PostgresKilled,
    /// SIGSTOP of PostgreSQL, all of its processes
    PostgresStopped,
    /// PostgreSQL does what it is asked to, and nobody hears of it
    PostgresUnheard,
    /// Every answer of PostgreSQL comes late
    PostgresSlow,
    /// All connections to PostgreSQL are cut, and no new one is made
    PostgresCut,
    /// Connections to PostgreSQL stay open and nothing passes, on those of before and of meanwhile for ever
    PostgresHalfOpen,
    /// PostgreSQL's disk is full; when it cannot even write its log, it ends and is started once there is space
    PostgresFull,
    /// A COMMIT is on its way to PostgreSQL when that is killed: it did not happen
    PostgresKilledBeforeCommit,
    /// PostgreSQL has committed, and is killed before anybody hears of it: it happened
    PostgresKilledAfterCommit,
    /// kill -9 of ClickHouse
    ClickhouseKilled,
    /// SIGSTOP of ClickHouse
    ClickhouseStopped,
    /// ClickHouse does what it is asked to, and nobody hears of it
    ClickhouseUnheard,
    /// All connections to ClickHouse are cut, and no new one is made
    ClickhouseCut,
}

impl Fault {
    /// One of every kind, in an order that keeps the cluster at its size.
    pub const ALL: [Self; 38] = [
        Self::PipelineKilled,
        Self::PipelineAdded,
        Self::PipelineStopped,
        Self::PipelineDrained,
        Self::IngressKilled,
        Self::IngressStopped,
        Self::RelayKilled,
        Self::RelayStopped,
        Self::AuditorKilled,
        Self::AuditorStopped,
        Self::PolicySwapped,
        Self::ClockShifted,
        Self::CertificatesRotated,
        Self::KafkaKilled,
        Self::KafkaStopped,
        Self::KafkaLost,
        Self::RedisKilled,
        Self::RedisStopped,
        Self::RedisFlushed,
        Self::RedisOld,
        Self::RedisUnheard,
        Self::RedisSlow,
        Self::RedisCut,
        Self::RedisHalfOpen,
        Self::RedisFull,
        Self::PostgresKilled,
        Self::PostgresStopped,
        Self::PostgresUnheard,
        Self::PostgresSlow,
        Self::PostgresCut,
        Self::PostgresHalfOpen,
        Self::PostgresFull,
        Self::PostgresKilledBeforeCommit,
        Self::PostgresKilledAfterCommit,
        Self::ClickhouseKilled,
        Self::ClickhouseStopped,
        Self::ClickhouseUnheard,
        Self::ClickhouseCut,
    ];

    /// Its name on the command line and in reports.
    #[must_use]
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Whether it can be done amid others to a cluster with so many pipelines, so that some are always left and not too many
    /// run.
    #[must_use]
    pub const fn is_possible_with(self, pipelines: usize) -> bool {
        match self {
            Self::PipelineKilled | Self::PipelineStopped => pipelines > 2,
            Self::PipelineAdded => pipelines < 4,
            Self::KafkaLost => false,
            _ => true,
        }
    }

    /// Whether only analysts notice it.
    #[must_use]
    pub const fn is_of_clickhouse(self) -> bool {
        matches!(
            self,
            Self::ClickhouseKilled
                | Self::ClickhouseStopped
                | Self::ClickhouseUnheard
                | Self::ClickhouseCut
                | Self::RelayKilled
                | Self::RelayStopped
        )
    }

    /// How long it lasts, at least and at most, where that is free.
    #[must_use]
    pub const fn lasts(self) -> (Duration, Duration) {
        let seconds = match self {
            // Shorter and longer than the session timeout of a pipeline.
            Self::KafkaStopped => (3, 15),
            // Longer than the second that Redis is given for an answer.
            Self::RedisStopped | Self::RedisUnheard | Self::RedisCut | Self::RedisHalfOpen => (2, 10),
            // Shorter and longer than PostgreSQL is given for a call: 7 s to write, 15 s to read.
            Self::PostgresStopped | Self::PostgresUnheard | Self::PostgresCut | Self::PostgresHalfOpen => (2, 20),
            // From the moment at which it is noticed.
            Self::RedisFull | Self::PostgresFull => (2, 10),
            Self::ClockShifted => (1, 10),
            Self::RedisSlow | Self::PostgresSlow | Self::PolicySwapped => (2, 10),
            Self::ClickhouseStopped | Self::ClickhouseUnheard | Self::ClickhouseCut => (2, 20),
            // Shorter and longer than the ten seconds for which a relay that hangs keeps its turn.
            Self::RelayStopped | Self::AuditorStopped => (2, 20),
            // Shorter and longer than clients wait for an answer.
            Self::IngressStopped => (2, 10),
            _ => (0, 0),
        };
        (Duration::from_secs(seconds.0), Duration::from_secs(seconds.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_listed_once() {
        let mut all = Fault::ALL.to_vec();
        all.sort_unstable();
        assert_eq!(all, Fault::value_variants());
        assert_eq!(Fault::PostgresKilledAfterCommit.name(), "postgres-killed-after-commit");
    }

    #[test]
    fn there_is_always_something_to_do() {
        for pipelines in 2..=4 {
            let possible = Fault::ALL.iter().filter(|fault| fault.is_possible_with(pipelines));
            assert!(possible.count() > 14);
        }
    }
}
