//! The configuration as each part's own options.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow, ensure};
use orderly_ingress::throttle::Policy;
use orderly_operators::RecentTickets;

use super::{Config, Profile};

impl Config {
    /// The intent log's.
    pub(crate) fn log_options(&self) -> orderly_sinks::log::sqlite::Options {
        let log = &self.log;
        orderly_sinks::log::sqlite::Options {
            partitions: log.partitions,
            queue_records_max: log.queue_records_max,
            group_records_max: log.group_records_max,
            payload_bytes_max: log.payload_bytes_max,
            size_max_bytes: log.size_max_bytes,
        }
    }

    /// How long decided records are kept.
    pub(crate) fn retention(&self) -> Duration {
        Duration::from_secs(u64::from(self.log.retention_hours) * 3_600)
    }

    /// The store's.
    pub(crate) fn store_options(&self) -> orderly_sinks::store::sqlite::Options {
        let store = &self.store;
        orderly_sinks::store::sqlite::Options {
            readers: store.readers,
            queue_max: store.queue_max,
            cache_bytes: store.cache_bytes,
            sessions_cached_max: store.sessions_cached_max,
            size_max_bytes: store.size_max_bytes,
        }
    }

    /// The analytics'.
    pub(crate) fn analytics_options(&self) -> orderly_sinks::analytics::sqlite::Options {
        let analytics = &self.analytics;
        orderly_sinks::analytics::sqlite::Options {
            readers: analytics.readers,
            queue_max: analytics.queue_max,
            cache_bytes: analytics.cache_bytes,
            size_max_bytes: analytics.size_max_bytes,
        }
    }

    /// The intent log's, on Kafka.
    pub(crate) fn kafka_options(&self) -> orderly_sinks::log::kafka::Options {
        let (kafka, log) = (&self.kafka, &self.log);
        orderly_sinks::log::kafka::Options {
            brokers: kafka.brokers.clone(),
            topic: kafka.intents_topic.clone(),
            group: kafka.group.clone(),
            replication: kafka.replication,
            partitions: log.partitions,
            retention: self.retention(),
            queue_records_max: log.queue_records_max,
            payload_bytes_max: log.payload_bytes_max,
            properties: self.kafka_properties(),
            ..Default::default()
        }
    }

    /// The events', on Kafka.
    pub(crate) fn kafka_feed_options(&self) -> orderly_sinks::feed::kafka::Options {
        orderly_sinks::feed::kafka::Options {
            brokers: self.kafka.brokers.clone(),
            topic: self.kafka.events_topic.clone(),
            partitions: self.log.partitions,
            replication: self.kafka.replication,
            properties: self.kafka_properties(),
            ..Default::default()
        }
    }

    /// The ledger's, on Redis.
    pub(crate) fn redis_ledger_options(&self) -> orderly_sinks::ledger::redis::Options {
        orderly_sinks::ledger::redis::Options {
            urls: self.redis.urls(),
            tls: self.servers_tls.client(),
            response_timeout: Duration::from_millis(self.redis.timeout_ms),
            log_partitions: self.log.partitions,
            ..Default::default()
        }
    }

    /// The fan-out's, on Redis.
    pub(crate) fn redis_fanout_options(&self) -> orderly_sinks::fanout::redis::Options {
        orderly_sinks::fanout::redis::Options {
            urls: self.redis.urls(),
            tls: self.servers_tls.client(),
            response_timeout: Duration::from_millis(self.redis.timeout_ms),
            ..Default::default()
        }
    }

    /// The meeting of ingress nodes, in Redis.
    pub(crate) fn redis_peers_options(&self, node: String) -> orderly_sinks::peers::redis::Options {
        orderly_sinks::peers::redis::Options {
            urls: self.redis.urls(),
            tls: self.servers_tls.client(),
            response_timeout: Duration::from_millis(self.redis.timeout_ms),
            node,
            ..Default::default()
        }
    }

    /// The store's, on PostgreSQL.
    pub(crate) fn postgres_options(&self) -> orderly_sinks::store::postgres::Options {
        orderly_sinks::store::postgres::Options {
            read_url: self.postgres.read_url.clone(),
            tls: self.servers_tls.client(),
            writers: self.postgres.writers,
            readers: self.postgres.readers,
            ..orderly_sinks::store::postgres::Options::new(&self.postgres.url)
        }
    }

    /// The analytics', on ClickHouse. Reads the password's file, if there is one.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn clickhouse_options(&self) -> anyhow::Result<orderly_sinks::analytics::clickhouse::Options> {
        let clickhouse = &self.clickhouse;
        let read = |path: &std::path::PathBuf| {
            std::fs::read_to_string(path).map(|text| text.trim_end().to_owned()).with_context(|| {
                format!("ClickHouse's password file {} (clickhouse.password_file) cannot be read", path.display())
            })
        };
        Ok(orderly_sinks::analytics::clickhouse::Options {
            url: clickhouse.url.clone(),
            tls: self.servers_tls.client(),
            database: clickhouse.database.clone(),
            user: clickhouse.user.clone(),
            password: clickhouse.password_file.as_ref().map(read).transpose()?,
            retention_days: clickhouse.retention_days,
            ..Default::default()
        })
    }

    /// The breakers'.
    pub(crate) fn breaker_settings(&self) -> orderly_domain::breaker::Settings {
        let breakers = &self.breakers;
        orderly_domain::breaker::Settings {
            window: Duration::from_millis(breakers.window_ms),
            calls_min: breakers.calls_min,
            failed_share_max: breakers.failed_share_max,
            mean_max: Duration::from_millis(breakers.mean_max_ms),
            pause: Duration::from_millis(breakers.pause_ms),
            pause_max: Duration::from_millis(breakers.pause_max_ms),
            probes_good: breakers.probes_good,
        }
    }

    /// The pipeline's, which takes partitions over as `owner`.
    pub(crate) fn pipeline_options(&self, owner: String) -> orderly_pipeline::Options {
        let pipeline = &self.pipeline;
        orderly_pipeline::Options {
            stepped: false,
            workers: pipeline.workers,
            epoch_records_max: pipeline.epoch_records_max,
            epoch_linger: Duration::from_millis(pipeline.epoch_linger_ms.unwrap_or(match self.profile {
                Profile::Embedded => 1,
                Profile::Distributed => 5,
            })),
            epochs_in_flight_max: pipeline.epochs_in_flight_max,
            batch_records_max: pipeline.batch_records_max,
            ledger_lanes: pipeline.ledger_lanes,
            recent: RecentTickets {
                tickets_max: pipeline.dedup_tickets_max,
                window: Duration::from_secs(pipeline.dedup_window_s),
            },
            owner,
        }
    }

    /// The embedded audit trail's.
    pub(crate) fn audit_sqlite_options(&self) -> orderly_sinks::audit::sqlite::Options {
        orderly_sinks::audit::sqlite::Options {
            algorithm: self.audit.algorithm,
            size_max_bytes: self.audit.size_max_bytes,
            ..Default::default()
        }
    }

    /// The audit trail's, on PostgreSQL.
    pub(crate) fn audit_postgres_options(&self) -> orderly_sinks::audit::postgres::Options {
        let database = self.postgres_options();
        orderly_sinks::audit::postgres::Options { algorithm: self.audit.algorithm, database }
    }

    /// The audit trail's at the HTTP server.
    fn audit_options(&self) -> orderly_ingress::audit::Options {
        let audit = &self.audit;
        let days = Duration::from_secs(u64::from(audit.retention_days) * 86_400);
        orderly_ingress::audit::Options {
            node: String::new(),
            queue_entries_max: audit.queue_entries_max,
            refusals_per_minute: audit.refusals_per_minute,
            write_timeout: Duration::from_millis(audit.write_timeout_ms),
            retention: (!days.is_zero()).then_some(days),
        }
    }

    /// The HTTP server's. Reads the files of the policy and of the names, if there are any.
    ///
    /// # Errors
    /// When one of them cannot be read or used.
    pub(crate) fn ingress_options(&self, demo: bool) -> anyhow::Result<orderly_ingress::Options> {
        let ingress = &self.ingress;
        let ops = self.ops_files()?;
        ensure!(
            ops.is_none() || self.ops.listen.is_some(),
            "the configuration cannot be used: ops has certificates and no address, and without one ops would be answered where \
             everybody is; set ops.listen, or leave all of ops out"
        );
        Ok(orderly_ingress::Options {
            listen: self.listen,
            demo,
            operations_only: false,
            challenge: None,
            exclusivity: ingress.exclusivity,
            names: ingress.names_file.as_deref().map(read_names).transpose()?.unwrap_or_default(),
            policy: self.policy.file.as_deref().map(read_policy).transpose()?.unwrap_or_default(),
            audit: self.audit_options(),
            shed: orderly_ingress::Bounds {
                wait_max: Duration::from_millis(ingress.shed_wait_max_ms),
                undecided_max: ingress.undecided_max,
            },
            tls: self.tls_files()?,
            ops: self.ops.listen.zip(ops).map(|(listen, tls)| orderly_ingress::OpsListener { listen, tls }),
            trusted_proxies: ingress
                .trusted_proxies
                .parse::<orderly_ingress::Proxies>()
                .context("ingress.trusted_proxies")?
                .writing(ingress.trusted_proxies_header),
            arrivals_file: ingress.arrivals_file.clone(),
            arrivals_bytes_max: ingress.arrivals_bytes_max,
            connections_max: ingress.connections_max,
            connections_per_address_max: ingress.connections_per_address_max,
            waiters_max: ingress.waiters_max,
            ticket_streams_max: ingress.ticket_streams_max,
            session_streams_max: ingress.session_streams_max,
            streams_per_address_max: ingress.streams_per_address_max,
            idempotency_window: ingress.idempotency_window,
            tokens_cached_max: ingress.tokens_cached_max,
            header_bytes_max: ingress.header_bytes_max,
            body_bytes_max: ingress.body_bytes_max,
            sessions_body_bytes_max: ingress.sessions_body_bytes_max,
            header_timeout: Duration::from_millis(ingress.header_timeout_ms),
            body_timeout: Duration::from_millis(ingress.body_timeout_ms),
            sessions_body_timeout: Duration::from_millis(ingress.sessions_body_timeout_ms),
            write_timeout: Duration::from_millis(ingress.write_timeout_ms),
            request_timeout: Duration::from_millis(ingress.request_timeout_ms),
            wait_max: Duration::from_millis(ingress.wait_max_ms),
            stream_max: Duration::from_millis(ingress.stream_max_ms),
            position_interval: Duration::from_millis(ingress.position_interval_ms),
            sessions_interval: Duration::from_millis(ingress.sessions_interval_ms),
            heartbeat_interval: Duration::from_millis(ingress.heartbeat_interval_ms),
            policy_interval: Duration::from_millis(ingress.policy_interval_ms),
            drain_max: Duration::from_millis(ingress.drain_max_ms),
        })
    }
}

/// Reads a throttle policy: JSON where the name ends in `.json`, else TOML.
///
/// # Errors
/// When the file cannot be read, or the policy cannot be used.
pub(crate) fn read_policy(path: &Path) -> anyhow::Result<Policy> {
    let name = path.display();
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("the policy file {name} cannot be read; check the path"))?;
    let json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let policy = if json { Policy::from_json(&text) } else { Policy::from_toml(&text) };
    policy.map_err(|problems| {
        anyhow!("{}", problems.join("\n")).context(format!("the policy file {name} cannot be used"))
    })
}

/// Reads the names of departments and campuses.
///
/// # Errors
/// When the file cannot be read, or a name cannot be used.
fn read_names(path: &Path) -> anyhow::Result<orderly_ingress::HospitalNames> {
    let name = path.display();
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("the file of names {name} cannot be read; check the path"))?;
    orderly_ingress::HospitalNames::from_toml(&text)
        .map_err(|problem| anyhow!(problem).context(format!("the file of names {name} cannot be used")))
}

#[cfg(test)]
mod tests {
    use confique::{Config as _, Layer as _};

    use super::*;

    /// The defaults that are printed are the ones that the parts have by themselves.
    #[test]
    fn defaults_agree_with_the_parts() {
        let config = Config::from_layer(<Config as confique::Config>::Layer::default_values()).expect("complete");
        assert_eq!(config.log_options(), orderly_sinks::log::sqlite::Options::default());
        assert_eq!(config.store_options(), orderly_sinks::store::sqlite::Options::default());
        assert_eq!(config.analytics_options(), orderly_sinks::analytics::sqlite::Options::default());
        assert_eq!(config.audit_sqlite_options(), orderly_sinks::audit::sqlite::Options::default());
        assert_eq!(config.breaker_settings(), orderly_domain::breaker::Settings::default());
        let pipeline = orderly_pipeline::Options::default();
        assert_eq!(format!("{:?}", config.pipeline_options(pipeline.owner.clone())), format!("{pipeline:?}"));
        let ingress = config.ingress_options(false).expect("no file to read");
        assert_eq!(format!("{ingress:?}"), format!("{:?}", orderly_ingress::Options::default()));
        let names = orderly_ingress::auth::Names::default();
        assert_eq!((config.auth.issuer, config.auth.audience), (names.issuer, names.audience));
    }
}
