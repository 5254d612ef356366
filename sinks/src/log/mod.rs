//! Adapters of the intent log port.
