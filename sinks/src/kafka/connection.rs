//! How Kafka is reached.

use std::time::Duration;

use orderly_domain::port::Error;
use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;

/// How fast a lost broker is looked for again.
const RECONNECT_MS_MAX: u64 = 1_000;

/// Where the brokers are and how long to wait for them.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    /// `host:port`, with commas between.
    pub(crate) brokers: String,
    /// How long one request may take before it counts as failed.
    pub(crate) request_timeout: Duration,
    /// Further settings of librdkafka, for instance those of authentication; none of them replaces what promises rest on.
    pub(crate) properties: Vec<(String, String)>,
}

impl Connection {
    /// What every client is made with.
    pub(crate) fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", "orderly")
            .set("socket.timeout.ms", millis(self.request_timeout))
            .set("socket.keepalive.enable", "true")
            .set("socket.nagle.disable", "true")
            .set("reconnect.backoff.max.ms", RECONNECT_MS_MAX.to_string())
            .set_log_level(RDKafkaLogLevel::Warning);
        config
    }

    /// Nothing was changed, because Kafka did not answer, or not well.
    pub(crate) fn unanswered(&self, what: &str, error: &KafkaError) -> Error {
        Error::DidNotHappen(format!(
            "Kafka at {} did not {what} ({error}); see that its brokers run and that this is their address",
            self.brokers
        ))
    }
}

pub(crate) fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}

/// A client whose only words are lines in our log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        log_line(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "a Kafka client met an error");
    }
}

impl ConsumerContext for Quiet {}

/// Hands a line of librdkafka's log on. Brokers that come and go are not errors of ours.
pub(crate) fn log_line(level: RDKafkaLogLevel, facility: &str, text: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(target: "librdkafka", facility, "{text}");
        }
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => tracing::debug!(target: "librdkafka", facility, "{text}"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
            tracing::trace!(target: "librdkafka", facility, "{text}");
        }
    }
}
