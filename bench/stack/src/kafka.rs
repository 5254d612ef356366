//! Apache Kafka, KRaft, one node or more.
