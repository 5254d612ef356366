//! What the process tells about itself: its log lines, on stderr.

use std::io::IsTerminal as _;

use anyhow::{Context as _, anyhow};
use tracing_subscriber::EnvFilter;

use crate::config::{Config, LogFormat};
use crate::redaction;

/// Starts logging as configured. Passwords in addresses are hidden in every line, also in those of libraries.
///
/// # Errors
/// When `telemetry.log` is not a filter.
pub(crate) fn init(config: &Config) -> anyhow::Result<()> {
    let directives = &config.telemetry.log;
    let filter = EnvFilter::try_new(directives).with_context(|| {
        format!("telemetry.log is {directives:?}; use a level such as info, or info,orderly_pipeline=debug")
    })?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| redaction::Writer(std::io::stderr()));
    let lines = lines.with_ansi(std::io::stderr().is_terminal());
    let started = match config.telemetry.format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
    started.map_err(|cause| anyhow!(cause).context("logging cannot be started"))
}
