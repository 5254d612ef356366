//! Certificates: the listener's, and those for the connections to servers.

use std::net::IpAddr;

use anyhow::{Context as _, anyhow, ensure};
use orderly_sinks::tls::{ClientTls, Identity};

use super::sections::{Ops, Redis, ServersTls};
use super::{Config, Profile};

impl Config {
    /// The listener's.
    ///
    /// # Errors
    /// When one file is named without the other.
    pub(super) fn tls_files(&self) -> anyhow::Result<Option<orderly_ingress::tls::Files>> {
        let tls = &self.tls;
        match (&tls.certificate_file, &tls.key_file) {
            (Some(certificate), Some(key)) => Ok(Some(orderly_ingress::tls::Files {
                certificate: certificate.clone(),
                key: key.clone(),
                client_roots: tls.client_roots_file.clone(),
            })),
            (None, None) if tls.client_roots_file.is_none() => Ok(None),
            _ => {
                Err(anyhow!("TLS needs both tls.certificate_file and tls.key_file; set both, or leave all of tls out"))
            }
        }
    }

    /// Those of the listener for ops: its own, else the other listener's, and the roots of who is let in.
    ///
    /// # Errors
    /// When a part is missing.
    pub(crate) fn ops_files(&self) -> anyhow::Result<Option<orderly_ingress::tls::Files>> {
        let Ops { listen, client_roots_file, certificate_file, key_file } = &self.ops;
        let Some(roots) = client_roots_file else {
            ensure!(
                listen.is_none() && certificate_file.is_none() && key_file.is_none(),
                "the listener for ops lets in whoever shows a certificate: set ops.client_roots_file to the file of the roots \
                 that sign them, or leave all of ops out"
            );
            return Ok(None);
        };
        let pair = match (certificate_file, key_file) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => self.tls.certificate_file.as_ref().zip(self.tls.key_file.as_ref()),
            _ => None,
        };
        let (certificate, key) = pair.context(
            "the listener for ops needs a certificate: set both ops.certificate_file and ops.key_file, or neither and both \
             tls.certificate_file and tls.key_file",
        )?;
        Ok(Some(orderly_ingress::tls::Files {
            certificate: certificate.clone(),
            key: key.clone(),
            client_roots: Some(roots.clone()),
        }))
    }

    /// What librdkafka is told of TLS. It reads the files when a client is made.
    pub(super) fn kafka_properties(&self) -> Vec<(String, String)> {
        if !self.kafka.tls {
            return Vec::new();
        }
        let ClientTls { roots, identity } = self.servers_tls.client();
        let roots = roots.map_or_else(|| "probe".to_owned(), |path| path.display().to_string());
        let mut properties = vec![("security.protocol", "ssl".to_owned()), ("ssl.ca.location", roots)];
        if let Some(Identity { certificate, key }) = identity {
            properties.push(("ssl.certificate.location", certificate.display().to_string()));
            properties.push(("ssl.key.location", key.display().to_string()));
        }
        properties.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Whoever names certificates for the servers means all of them.
    ///
    /// # Errors
    /// When a certificate comes without its key, or a server would be spoken to in clear.
    pub(super) fn validate_servers_tls(&self) -> anyhow::Result<()> {
        let ServersTls { roots_file, certificate_file, key_file } = &self.servers_tls;
        ensure!(
            certificate_file.is_some() == key_file.is_some(),
            "a certificate needs its key: set both servers_tls.certificate_file and servers_tls.key_file, or neither"
        );
        if self.profile == Profile::Embedded || (roots_file.is_none() && certificate_file.is_none()) {
            return Ok(());
        }
        let postgres = |url: &str| url.contains("sslmode=require");
        let auditor = self.auditor.url.as_deref();
        let servers = [
            ("kafka.tls", self.kafka.tls, "set it to true"),
            ("redis.urls", self.redis.urls().iter().all(|url| url.starts_with("rediss://")), "begin with rediss://"),
            ("postgres.url", postgres(&self.postgres.url), "end with ?sslmode=require"),
            ("postgres.read_url", self.postgres.read_url.as_deref().is_none_or(postgres), "end with ?sslmode=require"),
            ("clickhouse.url", self.clickhouse.url.starts_with("https://"), "begin with https://"),
            (
                "auditor.url",
                auditor.is_none_or(|url| url.starts_with("https://") || is_here(url)),
                "begin with https://",
            ),
        ];
        for (key, speaks_tls, advice) in servers {
            ensure!(speaks_tls, "servers_tls is set, and `{key}` would be spoken to in clear; {advice}");
        }
        Ok(())
    }
}

impl Redis {
    /// The addresses, one by one.
    pub(super) fn urls(&self) -> Vec<String> {
        self.urls.split(',').map(|url| url.trim().to_owned()).collect()
    }
}

impl ServersTls {
    /// For connections from here.
    pub(super) fn client(&self) -> ClientTls {
        let files = self.certificate_file.clone().zip(self.key_file.clone());
        let identity = files.map(|(certificate, key)| Identity { certificate, key });
        ClientTls { roots: self.roots_file.clone(), identity }
    }
}

/// Whether an address is on this machine, so that nobody else hears what is said.
fn is_here(url: &str) -> bool {
    let Ok(url) = url.parse::<reqwest::Url>() else { return false };
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}
