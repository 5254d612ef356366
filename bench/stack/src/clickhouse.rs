//! ClickHouse: Debian's server of 2018.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::{Process, Spec, Tls, free_port};

const PROGRAM: &str = "clickhouse-server";
/// It starts within half a second; a busy machine is given time.
const START_MAX: Duration = Duration::from_secs(60);
/// How long a part is kept after it was merged, in seconds. It is for power cuts; small inserts make many files meanwhile.
const OLD_PARTS_S: u32 = 5;
/// How often other ports are tried when somebody took the free ones first.
const ATTEMPTS: usize = 5;

/// What can be set.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The port of its HTTP interface; a free one when `None`.
    pub http_port: Option<u16>,
    /// The port of `clickhouse-client`; a free one when `None`.
    pub tcp_port: Option<u16>,
    /// Listen for HTTPS too, on a free port.
    pub tls: Option<Tls>,
    /// The most memory of one statement, in bytes; 2 GiB when `None`.
    pub memory_max_bytes: Option<u64>,
}

/// A running server with one user, `default`, without a password, on the loopback address.
#[derive(Debug)]
pub struct ClickHouse {
    process: Process,
    spec: Spec,
    http_port: u16,
    https_port: Option<u16>,
    tcp_port: u16,
}

impl ClickHouse {
    /// Starts one in a folder, with what an earlier one left there.
    ///
    /// # Errors
    /// When the program is missing, the folder cannot be written, or it is not ready in time.
    pub fn start(folder: &Path, options: &Options) -> anyhow::Result<Self> {
        let program = program()?;
        for part in ["data", "tmp", "user_files", "format_schemas"] {
            std::fs::create_dir_all(folder.join(part)).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let folder = folder.canonicalize()?;
        let chosen = options.http_port.is_some() && options.tcp_port.is_some();
        let mut failed = None;
        for _ in 0..if chosen { 1 } else { ATTEMPTS } {
            let http_port = options.http_port.map_or_else(free_port, Ok)?;
            let tcp_port = options.tcp_port.map_or_else(free_port, Ok)?;
            let tls = options.tls.as_ref().map(|tls| Ok::<_, anyhow::Error>((free_port()?, tls))).transpose()?;
            write_configuration(&folder, http_port, tls, tcp_port, options.memory_max_bytes.unwrap_or(2 << 30))?;
            let https_port = tls.map(|(port, _)| port);
            let spec = Spec {
                program: program.clone(),
                args: vec![format!("--config-file={}", folder.join("config.xml").display())],
                env: vec![],
                user: None,
                log: folder.join("server.log"),
            };
            match start(&spec, http_port) {
                Ok(process) => return Ok(Self { process, spec, http_port, https_port, tcp_port }),
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.context("it was tried at least once")?)
    }

    /// Starts it again, on the same ports and in the same folder, after it was killed or stopped; stops it before if it
    /// runs.
    ///
    /// # Errors
    /// As [`ClickHouse::start`].
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.process.stop()?;
        self.process = start(&self.spec, self.http_port)?;
        Ok(())
    }

    /// The address of its HTTP interface.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.http_port)
    }

    /// The same, for clients that speak TLS.
    #[must_use]
    pub fn tls_url(&self) -> Option<String> {
        self.https_port.map(|port| format!("https://127.0.0.1:{port}"))
    }

    /// The port of its HTTP interface.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.http_port
    }

    /// The port of `clickhouse-client`.
    #[must_use]
    pub const fn tcp_port(&self) -> u16 {
        self.tcp_port
    }

    /// Its process, to be signalled or killed.
    #[must_use]
    pub const fn process(&self) -> &Process {
        &self.process
    }
}

fn start(spec: &Spec, http_port: u16) -> anyhow::Result<Process> {
    let process = Process::start(spec)?;
    process.wait_until_ready(START_MAX, || answers(http_port))?;
    Ok(process)
}

/// Whether the server behind a port says that it is ready.
pub(crate) fn answers(http_port: u16) -> bool {
    let ping = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", http_port))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"GET /ping HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ping().is_ok_and(|answer| answer.contains("Ok."))
}

fn program() -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // A plain user's PATH lacks the folder of servers.
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    match folders.map(|folder| folder.join(PROGRAM)).find(|file| file.is_file()) {
        Some(file) => Ok(file),
        None => bail!("{PROGRAM} is missing; install it: apt-get install --no-install-recommends clickhouse-server"),
    }
}

fn write_configuration(
    folder: &Path,
    http_port: u16,
    tls: Option<(u16, &Tls)>,
    tcp_port: u16,
    memory_max_bytes: u64,
) -> anyhow::Result<()> {
    let at = |part: &str| folder.join(part).display().to_string();
    let (data, tmp, users) = (at("data/"), at("tmp/"), at("users.xml"));
    let (user_files, format_schemas) = (at("user_files/"), at("format_schemas/"));
    let https = tls.map_or_else(String::new, |(port, tls)| {
        format!(
            "<https_port>{port}</https_port>
    <openSSL><server>
        <certificateFile>{}</certificateFile>
        <privateKeyFile>{}</privateKeyFile>
        <caConfig>{}</caConfig>
        <verificationMode>strict</verificationMode>
    </server></openSSL>",
            tls.certificate.display(),
            tls.key.display(),
            tls.roots.display()
        )
    });
    let config = format!(
        r#"<?xml version="1.0"?>
<yandex>
    <logger><level>warning</level><console>1</console></logger>
    <listen_host>127.0.0.1</listen_host>
    <http_port>{http_port}</http_port>
    {https}
    <tcp_port>{tcp_port}</tcp_port>
    <path>{data}</path>
    <tmp_path>{tmp}</tmp_path>
    <user_files_path>{user_files}</user_files_path>
    <format_schema_path>{format_schemas}</format_schema_path>
    <mark_cache_size>268435456</mark_cache_size>
    <uncompressed_cache_size>0</uncompressed_cache_size>
    <users_config>{users}</users_config>
    <default_profile>default</default_profile>
    <default_database>default</default_database>
    <timezone>UTC</timezone>
    <merge_tree><old_parts_lifetime>{OLD_PARTS_S}</old_parts_lifetime></merge_tree>
</yandex>
"#
    );
    let users = format!(
        r#"<?xml version="1.0"?>
<yandex>
    <profiles><default><max_memory_usage>{memory_max_bytes}</max_memory_usage></default></profiles>
    <users>
        <default>
            <password></password>
            <networks><ip>127.0.0.1</ip></networks>
            <profile>default</profile>
            <quota>default</quota>
        </default>
    </users>
    <quotas><default></default></quotas>
</yandex>
"#
    );
    std::fs::write(folder.join("config.xml"), config).context("cannot write config.xml")?;
    std::fs::write(folder.join("users.xml"), users).context("cannot write users.xml")
}
