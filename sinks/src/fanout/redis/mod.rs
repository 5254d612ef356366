//! The fan-out on Redis Streams.
