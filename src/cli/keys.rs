//! Commands for tokens, keys and certificates.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use orderly_domain::PatientId;
use orderly_ingress::auth::Role;

use super::{Source, time};

/// Options of `orderly token`.
#[derive(Debug, Args)]
pub(crate) struct Token {
    /// Where the configuration comes from.
    #[command(flatten)]
    pub source: Source,

    /// Whom the token is for; a patient's own identifier for the role patient
    #[arg(long, value_name = "NAME")]
    pub sub: PatientId,

    /// patient, ops, analyst or auditor
    #[arg(long, value_name = "ROLE")]
    pub role: Role,

    /// The API client that asks for them: the claim azp
    #[arg(long, value_name = "NAME")]
    pub client: Option<String>,

    /// The patient's member level: the claim member_level
    #[arg(long, value_name = "LEVEL")]
    pub level: Option<String>,

    /// How long it is good: 90s, 30m, 8h
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = time)]
    pub ttl: std::time::Duration,
}

/// Commands of `orderly keys`.
#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Add a key that seals from now on
    #[command(after_help = "Examples:
  orderly keys rotate --config orderly.toml
      A new first key in the file personal.keys_file; the others still open what they sealed. Without the file, it is made.
  orderly keys rotate --data /var/lib/orderly
      The same for the file personal.keys in the data folder.

Servers take it over within seconds, without a restart. Run `orderly keys reencrypt` after it.")]
    Rotate {
        /// Where the configuration comes from.
        #[command(flatten)]
        source: Source,
    },
    /// Seal with the newest key what older ones sealed
    #[command(after_help = "Example:
  orderly keys reencrypt --config orderly.toml
      Goes through the store in small transactions, also while servers run. It may be stopped, and begun again.

Exit status 1 when there are rows that no key here opens; they stay as they are.")]
    Reencrypt {
        /// Where the configuration comes from.
        #[command(flatten)]
        source: Source,
    },
    /// List the keys, how many rows need each, and which may go
    #[command(after_help = "Example:
  orderly keys list --config orderly.toml

A key may go when no row of the store needs it, and when the log has dropped what was sealed before the next key was made
(log.retention_hours). Then remove its line from the file.")]
    List {
        /// Where the configuration comes from.
        #[command(flatten)]
        source: Source,
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
    },
}

/// Commands of `orderly certs`.
#[derive(Debug, Subcommand)]
pub(crate) enum Certs {
    /// Make a certificate for this machine, and the root that signs it, which nobody but you trusts
    #[command(after_help = "Example:
  orderly certs dev --out certs
  ORDERLY_TLS__CERTIFICATE_FILE=certs/certificate.pem ORDERLY_TLS__KEY_FILE=certs/key.pem orderly serve --demo
  curl --cacert certs/roots.pem https://localhost:8080/healthz
  ORDERLY_URL=https://localhost:8080 ORDERLY_CA_FILE=certs/roots.pem orderly policy get

It is good for localhost and the loopback addresses, for servers and for clients. Run it again for a new one by the same root: a
server that runs takes it over.")]
    Dev {
        /// The folder to write roots.pem, roots.key, certificate.pem and key.pem to; it is made when it is missing
        #[arg(long, value_name = "DIR", default_value = "certs")]
        out: PathBuf,
    },
}
