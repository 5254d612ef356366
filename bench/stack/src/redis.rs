//! Redis, alone or as a cluster.
