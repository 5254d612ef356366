//! An ingress that serves TLS, and its certificate, which is replaced while it runs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use tokio::task::block_in_place;
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::front::{Front, certificate};
use crate::recovery::until;

/// The files that `orderly certs dev` writes into a folder.
#[derive(Clone, Debug)]
pub(crate) struct Certificates(PathBuf);

impl Certificates {
    /// Makes them, of the root that is there, if one is.
    ///
    /// # Errors
    /// When they cannot be made.
    pub(crate) fn make(program: &Path, folder: PathBuf) -> anyhow::Result<Self> {
        let mut make = Command::new(program);
        make.args(["certs", "dev", "--out"]).arg(&folder);
        let told = make.output().context("cannot start the program")?;
        anyhow::ensure!(told.status.success(), "no certificates: {}", String::from_utf8_lossy(&told.stderr));
        Ok(Self(folder))
    }

    pub(crate) fn roots(&self) -> PathBuf {
        self.0.join("roots.pem")
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.0.join("certificate.pem")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.0.join("key.pem")
    }
}

impl Cluster {
    /// Replaces the certificate of the ingresses that serve TLS: whoever connects is shown the new one, and connections from
    /// before go on. Counts from the replacement.
    ///
    /// # Errors
    /// When one of these is not so.
    pub(crate) async fn rotate_certificates(&self) -> anyhow::Result<Instant> {
        let fronts: Vec<&Front> = self.ingresses.iter().filter_map(|node| node.front()).collect();
        anyhow::ensure!(!fronts.is_empty(), "no ingress serves TLS");
        let mut open = Vec::new();
        for front in &fronts {
            let mut connection = front.connect().await?;
            connection.healthy().await?;
            open.push(connection);
        }
        let file = self.certificates.certificate();
        let before = certificate(&file)?;
        let since = Instant::now();
        block_in_place(|| Certificates::make(&self.program, self.certificates.0.clone()))?;
        let made = certificate(&file)?;
        anyhow::ensure!(made != before, "the new certificate is the old one");
        for (front, connection) in fronts.iter().zip(&mut open) {
            anyhow::ensure!(connection.certificate()? == before, "the ingress had another certificate before");
            until("the new certificate is shown", async || {
                let shown = front.connect().await?.certificate()?;
                anyhow::ensure!(shown == made, "a new connection is shown the old certificate");
                Ok(())
            })
            .await?;
            connection.healthy().await.context("a connection from before the new certificate does not go on")?;
        }
        Ok(since)
    }
}
