//! ClickHouse.
