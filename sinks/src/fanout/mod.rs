//! Adapters of the fan-out port.
