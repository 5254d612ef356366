//! The intent log on Kafka.
