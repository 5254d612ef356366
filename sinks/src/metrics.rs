//! The names of the metrics that these adapters publish.
