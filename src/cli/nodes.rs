//! Commands that run a node, or move what nodes keep.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::{Source, time};

/// Options of `orderly serve` and `orderly ingress`.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Where the configuration comes from.
    #[command(flatten)]
    pub source: Source,

    /// Set up a demo hospital and give tokens to whoever asks; not for real patients
    #[arg(long)]
    pub demo: bool,

    /// The address and port to listen on [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,

    /// The throttle policy until ops set one (TOML, or JSON)
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
}

/// Options of `orderly pipeline` and `orderly relay`.
#[derive(Debug, Args)]
pub(crate) struct Node {
    /// Where the configuration comes from.
    #[command(flatten)]
    pub source: Source,

    /// The address and port to listen on for health and metrics [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
}

/// Options of `orderly follow`.
#[derive(Debug, Args)]
pub(crate) struct Follow {
    /// Where the configuration comes from.
    #[command(flatten)]
    pub source: Source,

    /// The group; it is made when it is missing
    #[arg(long, value_name = "NAME")]
    pub group: String,

    /// This consumer's name in the group, which no other has at the same time [default: host and process]
    #[arg(long, value_name = "NAME")]
    pub consumer: Option<String>,

    /// Where the group begins when it is made
    #[arg(long, value_enum, value_name = "WHERE", default_value_t = FollowFrom::Now)]
    pub from: FollowFrom,

    /// After how long another consumer takes over what one has not acknowledged: 60s, 5m
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time)]
    pub claim_after: std::time::Duration,
}

/// Where a group begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum FollowFrom {
    /// At the oldest outcome that there is.
    Start,
    /// With what is decided from now on.
    Now,
}

/// Options of `orderly repartition`.
#[derive(Debug, Args)]
pub(crate) struct Repartition {
    /// Where the old system's configuration comes from.
    #[command(flatten)]
    pub source: Source,

    /// The new system's configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    pub into: PathBuf,

    /// Compare the two systems instead, once the new one has decided what was carried over
    #[arg(long)]
    pub compare: bool,
}
