//! The configuration: a TOML file, overridden by environment variables.

mod keys;
mod options;
mod print;
mod sections;
mod tls;

use std::path::Path;

use anyhow::{Context as _, ensure};
use confique::{Config as _, Layer as _};

use crate::redaction::{self, HIDDEN};

pub(crate) use options::read_policy;
pub(crate) use print::print;
pub(crate) use sections::{Config, LogFormat, Profile};

type Layer = <Config as confique::Config>::Layer;

/// Integers for which 0 means something; all others are at least 1.
const MAY_BE_ZERO: [&str; 5] = [
    "log.retention_hours",
    "store.retention_days",
    "audit.retention_days",
    "pipeline.epoch_linger_ms",
    "ingress.drain_max_ms",
];

/// The least that `store.retention_days` can be, if it is not 0: sessions are remembered for some days after they are past.
const RETENTION_DAYS_MIN: u32 = 7;

/// The least that `audit.retention_days` can be, if it is not 0.
const AUDIT_DAYS_MIN: u64 = orderly_domain::audit::RETENTION_MIN.as_secs() / 86_400;

/// The least that `ingress.header_bytes_max` can be: what the HTTP parser needs.
const HEADER_BYTES_MIN: usize = 8_192;

/// The most that `ingress.policy_interval_ms` can be: a policy is in force on every node within a second, which is two looks.
const POLICY_INTERVAL_MS_MAX: u64 = 500;

/// Reads the configuration from the environment, the file if there is one, and the defaults.
///
/// # Errors
/// When the file cannot be read, a key is unknown or a value cannot be used. Says which, and what is nearest.
pub(crate) fn load(file: Option<&Path>) -> anyhow::Result<Config> {
    keys::check_environment(std::env::vars_os().map(|(name, _)| name))?;
    let environment = Layer::from_env().context("the environment cannot be used")?;
    let from_file = file.map(read).transpose()?.unwrap_or_else(Layer::empty);
    let layers = environment.with_fallback(from_file).with_fallback(Layer::default_values());
    let config = Config::from_layer(layers).context("the configuration is not complete")?;
    validate(&config)?;
    Ok(config)
}

fn read(path: &Path) -> anyhow::Result<Layer> {
    let name = path.display();
    let text = std::fs::read_to_string(path).with_context(|| {
        format!("the configuration file {name} cannot be read; check the path, or leave --config out")
    })?;
    keys::check_file(&text).with_context(|| format!("the configuration file {name} cannot be used"))?;
    toml::from_str(&text).with_context(|| format!("the configuration file {name} cannot be used"))
}

fn validate(config: &Config) -> anyhow::Result<()> {
    let values = toml::Table::try_from(config).context("the configuration cannot be checked")?;
    for (path, value) in keys::values(&values) {
        ensure!(
            value.as_integer() != Some(0) || MAY_BE_ZERO.contains(&path.as_str()),
            "the configuration cannot be used: `{path}` is 0; set at least 1"
        );
        ensure!(
            !value.as_str().is_some_and(redaction::is_hidden),
            "the configuration cannot be used: the password in `{path}` is {HIDDEN}, as `orderly config --print` writes it; \
             put the password in its place"
        );
    }
    ensure!(
        redaction::in_address(&config.clickhouse.url) == config.clickhouse.url,
        "the configuration cannot be used: there is a password in `clickhouse.url`; write it into a file, name that by \
         `clickhouse.password_file`, and the user by `clickhouse.user`"
    );
    ensure!(
        config.ingress.header_bytes_max >= HEADER_BYTES_MIN,
        "the configuration cannot be used: `ingress.header_bytes_max` is {}; set at least {HEADER_BYTES_MIN}",
        config.ingress.header_bytes_max
    );
    let interval_ms = config.ingress.policy_interval_ms;
    ensure!(
        interval_ms <= POLICY_INTERVAL_MS_MAX,
        "the configuration cannot be used: `ingress.policy_interval_ms` is {interval_ms}; set at most {POLICY_INTERVAL_MS_MAX}, \
         so that a policy is in force on every node within a second"
    );
    let share = config.breakers.failed_share_max;
    ensure!(
        share > 0.0 && share <= 1.0,
        "the configuration cannot be used: `breakers.failed_share_max` is {share}; set a number above 0, and 1 at most"
    );
    let (days, window_s) = (config.store.retention_days, config.pipeline.dedup_window_s);
    let days_min = u64::from(RETENTION_DAYS_MIN).max(window_s.div_ceil(86_400) + 2);
    ensure!(
        days == 0 || u64::from(days) >= days_min,
        "the configuration cannot be used: `store.retention_days` is {days}; set 0 (for ever) or at least {days_min}, so that \
         what a retry is compared with (`pipeline.dedup_window_s`) is kept"
    );
    let days = config.audit.retention_days;
    ensure!(
        days == 0 || u64::from(days) >= AUDIT_DAYS_MIN,
        "the configuration cannot be used: `audit.retention_days` is {days}; set 0 (for ever) or at least {AUDIT_DAYS_MIN}"
    );
    config.validate_servers_tls().context("the configuration cannot be used")?;
    config.tls_files().and(config.ops_files()).context("the configuration cannot be used")?;
    ensure!(
        config.profile == Profile::Embedded || config.ticket.keys_file.is_some(),
        "the configuration cannot be used: in the distributed profile all processes sign tickets with the same keys; name \
         their file by `ticket.keys_file` (a line `1 BASE64` with 32 bytes or more: echo \"1 $(head -c 48 /dev/urandom | \
         base64 -w0)\" > ticket.keys && chmod 600 ticket.keys)"
    );
    ensure!(
        config.profile == Profile::Embedded || config.personal.keys_file.is_some(),
        "the configuration cannot be used: in the distributed profile all processes seal personal data with the same keys; \
         name their file by `personal.keys_file` (`ORDERLY_PERSONAL__KEYS_FILE=personal.keys orderly keys rotate` makes it)"
    );
    Ok(())
}
