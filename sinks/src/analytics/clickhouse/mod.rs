//! Analytics on ClickHouse.
