//! PostgreSQL.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use crate::Tls;
use crate::process::{Process, Spec, free_port, wait_until};

/// The role that owns every database; it needs no password from the loopback address.
pub const ROLE: &str = "orderly";

/// How a server's data are made: text is UTF-8 and sorts by its bytes.
pub const INITDB: [&str; 3] = ["--no-locale", "-E", "UTF8"];

/// The version that is tried: Debian 12 has it.
pub const VERSION: &str = "15";

/// Who may connect to a server that takes TLS.
const HBA: &str = "hostssl all all 127.0.0.1/32 trust clientcert=verify-full\nhostnossl all all 127.0.0.1/32 trust\n";

const READY_MAX: Duration = Duration::from_secs(60);
const STOP_MAX: Duration = Duration::from_secs(20);
/// What it says when a child of the server that was killed still has their memory.
const MEMORY_IN_USE: &str = "pre-existing shared memory block";
/// How often a start is tried: with other ports, when none was given.
const STARTS_MAX: usize = 5;
/// Where Debian's packages put the programs, one folder a version.
const DEBIAN: &str = "/usr/lib/postgresql";

/// How the server is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// The loopback port; `None` for one that is free.
    pub port: Option<u16>,
    /// Whether commits wait for the disk. Without it a power cut may lose them; a kill of the server does not.
    pub fsync: bool,
    /// Connections at once, at most.
    pub connections_max: u32,
    /// Take TLS too, on the same port; then whoever speaks it shows a certificate of the role.
    pub tls: Option<Tls>,
    /// More settings of `postgresql.conf`, by name.
    pub settings: Vec<(String, String)>,
}

impl Default for Options {
    fn default() -> Self {
        Self { port: None, fsync: true, connections_max: 100, tls: None, settings: Vec::new() }
    }
}

impl Options {
    /// What is set wherever the server runs, by name.
    #[must_use]
    pub fn all_settings(&self) -> Vec<(String, String)> {
        let switch = |on| if on { "on" } else { "off" };
        let settings = [
            ("max_connections", self.connections_max.to_string()),
            ("fsync", switch(self.fsync).to_owned()),
            ("full_page_writes", switch(self.fsync).to_owned()),
        ];
        let settings = settings.into_iter().map(|(name, value)| (name.to_owned(), value));
        settings.chain(self.settings.iter().cloned()).collect()
    }
}

/// A running PostgreSQL server on the loopback address. It is killed when this is dropped, and when this process ends.
#[derive(Debug)]
pub struct Postgres {
    process: Process,
    folder: PathBuf,
    options: Options,
    port: u16,
}

impl Postgres {
    /// Starts a server whose data lie in `folder`; makes them when there are none.
    ///
    /// # Errors
    /// When PostgreSQL is not installed, when the folder cannot be used, or when the server does not start.
    pub fn start(folder: &Path, options: Options) -> anyhow::Result<Self> {
        let programs = programs()?;
        let user = server_user()?;
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        if let Some((user, group)) = user {
            chown(folder, Some(user), Some(group))
                .with_context(|| format!("cannot give {} to the user postgres", folder.display()))?;
        }
        if !folder.join("data/PG_VERSION").exists() {
            make_data(&programs, folder, user)?;
        }
        let mut tries = if options.port.is_some() { 1 } else { STARTS_MAX };
        loop {
            tries -= 1;
            let port = options.port.map_or_else(free_port, Ok)?;
            match launch(&programs, folder, user, &options, port) {
                Ok(process) => return Ok(Self { process, folder: folder.to_owned(), options, port }),
                Err(_) if tries > 0 => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Ends the server, if it runs, and starts it again with the same data and port.
    ///
    /// # Errors
    /// When it does not stop or start.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.stop()?;
        let (programs, user) = (programs()?, server_user()?);
        wait_until("PostgreSQL starts again", READY_MAX, || {
            match launch(&programs, &self.folder, user, &self.options, self.port) {
                Ok(process) => self.process = process,
                // A child that was forked as its parent was killed keeps their memory for a moment, and the next server refuses.
                Err(error) if format!("{error:#}").contains(MEMORY_IN_USE) => return Ok(false),
                Err(error) => return Err(error),
            }
            Ok(true)
        })
    }

    /// Asks it to end its connections and stop, and waits.
    ///
    /// # Errors
    /// When it does not go.
    pub fn stop(&self) -> anyhow::Result<()> {
        self.resume();
        // SIGTERM would wait until every client has left by itself.
        let _ = self.process.signal(Signal::SIGINT);
        if wait_until("PostgreSQL stops", STOP_MAX, || Ok(!self.process.is_running())).is_err() {
            self.kill()?;
        }
        Ok(())
    }

    /// Kills all of its processes, as a machine that loses power would.
    ///
    /// # Errors
    /// When it does not go.
    pub fn kill(&self) -> anyhow::Result<()> {
        let children = self.children();
        let killed = self.process.kill();
        send(&children, Signal::SIGKILL);
        killed
    }

    /// Stops all of its processes where they are; connections stay open and nobody answers.
    pub fn pause(&self) {
        // The first one starts the others, so it is stopped first.
        let _ = self.process.signal(Signal::SIGSTOP);
        send(&self.children(), Signal::SIGSTOP);
    }

    /// Lets what [`Postgres::pause`] stopped go on.
    pub fn resume(&self) {
        send(&self.children(), Signal::SIGCONT);
        let _ = self.process.signal(Signal::SIGCONT);
    }

    /// Makes a database, unless it is there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create_database(&self, name: &str) -> anyhow::Result<()> {
        let mut create = Command::new(programs()?.join("createdb"));
        create.args(["-h", "127.0.0.1", "-U", ROLE, "-p", &self.port.to_string(), name]);
        let output = create.stdin(Stdio::null()).output().context("cannot start createdb")?;
        let told = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() && !told.contains("already exists") {
            bail!("the database {name} cannot be made: {told}");
        }
        Ok(())
    }

    /// The URL of a database.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{ROLE}@127.0.0.1:{}/{database}", self.port)
    }

    /// The same, for clients that speak TLS.
    #[must_use]
    pub fn tls_url(&self, database: &str) -> Option<String> {
        self.options.tls.as_ref().map(|_| format!("{}?sslmode=require", self.url(database)))
    }

    /// Its port on the loopback address.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Its first process.
    #[must_use]
    pub const fn process(&self) -> &Process {
        &self.process
    }

    /// The processes that serve its connections and its background work.
    fn children(&self) -> Vec<Pid> {
        let of_this = |stat: &str| {
            let mut fields = stat.rsplit(')').next()?.split_whitespace();
            (fields.nth(1)?.parse::<i32>().ok()? == self.process.id()).then_some(())
        };
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        entries
            .filter_map(|entry| {
                let pid = entry.file_name().to_str()?.parse().ok()?;
                of_this(&fs::read_to_string(entry.path().join("stat")).ok()?)?;
                Some(Pid::from_raw(pid))
            })
            .collect()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // A stopped process would outlive the first one: it cannot see that it is gone.
        let _ = self.kill();
    }
}

fn send(processes: &[Pid], signal: Signal) {
    for process in processes {
        // It may have gone by itself.
        let _ = signal::kill(*process, signal);
    }
}

/// The folder of the programs: that of the newest version installed.
fn programs() -> anyhow::Result<PathBuf> {
    let versions = fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let newest = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path().join("bin"))))
        .filter(|(_, programs)| programs.join("postgres").exists())
        .max();
    let found = newest
        .map(|(_, programs)| programs)
        .or_else(|| std::env::split_paths(&std::env::var_os("PATH")?).find(|folder| folder.join("postgres").exists()));
    found.context("PostgreSQL is not installed; install the Debian package postgresql")
}

/// Whom to run as: PostgreSQL refuses to run as root.
fn server_user() -> anyhow::Result<Option<(u32, u32)>> {
    if fs::metadata("/proc/self")?.uid() != 0 {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd").context("cannot read the list of users")?;
    let ids = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    let found = ids("postgres").or_else(|| ids("nobody"));
    found.map(Some).context("PostgreSQL refuses to run as root and there is no user postgres; create one")
}

fn make_data(programs: &Path, folder: &Path, user: Option<(u32, u32)>) -> anyhow::Result<()> {
    let mut initdb = Command::new(programs.join("initdb"));
    initdb.args(["-A", "trust", "-U", ROLE, "--no-sync", "-D", "data"]).args(INITDB);
    initdb.current_dir(folder).stdin(Stdio::null());
    if let Some((user, group)) = user {
        initdb.uid(user).gid(group);
    }
    let output = initdb.output().context("cannot start initdb")?;
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr);
        bail!("initdb failed in {}; can the user postgres reach that folder? It said:\n{told}", folder.display());
    }
    Ok(())
}

/// Settings for TLS. The server reads only files that are its user's own.
fn secure(folder: &Path, user: Option<(u32, u32)>, tls: &Tls) -> anyhow::Result<Vec<(String, String)>> {
    let own = |name: &str, contents: &[u8]| {
        let path = folder.join(name);
        fs::write(&path, contents).and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o600)))?;
        if let Some((user, group)) = user {
            chown(&path, Some(user), Some(group))?;
        }
        anyhow::Ok(path.display().to_string())
    };
    let copy = |name: &str, from: &Path| own(name, &fs::read(from).with_context(|| from.display().to_string())?);
    Ok(vec![
        ("ssl".to_owned(), "on".to_owned()),
        ("ssl_ca_file".to_owned(), copy("roots.pem", &tls.roots)?),
        ("ssl_cert_file".to_owned(), copy("certificate.pem", &tls.certificate)?),
        ("ssl_key_file".to_owned(), copy("key.pem", &tls.key)?),
        ("hba_file".to_owned(), own("pg_hba.conf", HBA.as_bytes())?),
    ])
}

fn launch(
    programs: &Path,
    folder: &Path,
    user: Option<(u32, u32)>,
    options: &Options,
    port: u16,
) -> anyhow::Result<Process> {
    let mut settings = vec![
        ("listen_addresses".to_owned(), "127.0.0.1".to_owned()),
        ("unix_socket_directories".to_owned(), String::new()),
    ];
    if let Some(tls) = &options.tls {
        settings.extend(secure(folder, user, tls)?);
    }
    settings.extend(options.all_settings());
    let mut args = vec!["-D".to_owned(), folder.join("data").display().to_string(), "-p".to_owned(), port.to_string()];
    args.extend(settings.iter().flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")]));
    let spec =
        Spec { program: programs.join("postgres"), args, env: Vec::new(), user, log: folder.join("postgres.log") };
    let process = Process::start(&spec)?;
    let first = folder.join("data/postmaster.pid");
    process.wait_until_ready(READY_MAX, || {
        // Somebody else's server may have got the port first; then this one ends.
        let pid = fs::read_to_string(&first).unwrap_or_default();
        if pid.lines().next() != Some(&process.id().to_string()) {
            return false;
        }
        let mut ask = Command::new(programs.join("pg_isready"));
        ask.args(["-q", "-h", "127.0.0.1", "-U", ROLE, "-d", "postgres", "-p", &port.to_string()]);
        ask.status().is_ok_and(|status| status.success())
    })?;
    Ok(process)
}
