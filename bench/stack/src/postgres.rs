//! PostgreSQL.

mod setup;

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use self::setup::{make_data, programs, secure, server_user};
use crate::Tls;
use crate::process::{Process, Spec, free_port, wait_until};

/// The role that owns every database; it needs no password from the loopback address.
pub const ROLE: &str = "orderly";

/// How a server's data are made: text is UTF-8 and sorts by its bytes.
pub const INITDB: [&str; 3] = ["--no-locale", "-E", "UTF8"];

/// The version that is tried: Debian 12 has it.
pub const VERSION: &str = "15";

const READY_MAX: Duration = Duration::from_secs(60);
const STOP_MAX: Duration = Duration::from_secs(20);
/// What it says when a child of the server that was killed still has their memory.
const MEMORY_IN_USE: &str = "pre-existing shared memory block";
/// Where its data lie, in its folder.
const DATA: &str = "data";
/// How often a start is tried: with other ports, when none was given.
const STARTS_MAX: usize = 5;

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
        if !folder.join(DATA).join("PG_VERSION").exists() {
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

    /// Starts a standby in an empty folder: it has what this server has, and replays what is written from now on. It can be read
    /// meanwhile.
    ///
    /// # Errors
    /// When the copy cannot be made, or the standby does not start.
    pub fn standby(&self, folder: &Path) -> anyhow::Result<Self> {
        let user = server_user()?;
        if let Some((user, group)) = user {
            chown(folder, Some(user), Some(group))
                .with_context(|| format!("cannot give {} to the user postgres", folder.display()))?;
        }
        let mut copy = Command::new(programs()?.join("pg_basebackup"));
        copy.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", ROLE, "-D", "data"]);
        // Told to follow this server (-R); at once rather than when it next writes its pages out.
        copy.args(["-R", "--checkpoint=fast", "--no-sync"]).current_dir(folder).stdin(Stdio::null());
        if let Some((user, group)) = user {
            copy.uid(user).gid(group);
        }
        let output = copy.output().context("cannot start pg_basebackup")?;
        if !output.status.success() {
            bail!("pg_basebackup failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        Self::start(folder, Options { port: None, ..self.options.clone() })
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

    /// Waits until it answers again; starts it again when it has ended by itself, as it does when it cannot write its log.
    /// Whether it had.
    ///
    /// # Errors
    /// When it does not start.
    pub fn revive(&mut self) -> anyhow::Result<bool> {
        let programs = programs()?;
        wait_until("PostgreSQL answers or ends", READY_MAX, || {
            Ok(!self.process.is_running() || answers(&programs, self.port))
        })?;
        let ended = !self.process.is_running();
        if ended {
            self.restart()?;
        }
        Ok(ended)
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

    /// What a query answers: a line a row, with `|` between its columns.
    ///
    /// # Errors
    /// When it cannot be asked, or refuses.
    pub fn ask(&self, database: &str, query: &str) -> anyhow::Result<String> {
        let mut ask = Command::new(programs()?.join("psql"));
        ask.args(["-X", "-A", "-t", "-h", "127.0.0.1", "-U", ROLE, "-p", &self.port.to_string(), "-d", database]);
        let output = ask.args(["-c", query]).stdin(Stdio::null()).output().context("cannot start psql")?;
        if !output.status.success() {
            bail!("{query}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
    }

    /// What the server says of itself.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        log(&self.folder)
    }

    /// Where a folder's data lie, should they be put on a disk of their own.
    #[must_use]
    pub fn data(folder: &Path) -> PathBuf {
        folder.join(DATA)
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
    let mut args = vec!["-D".to_owned(), folder.join(DATA).display().to_string(), "-p".to_owned(), port.to_string()];
    args.extend(settings.iter().flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")]));
    let spec = Spec { program: programs.join("postgres"), args, env: Vec::new(), user, log: log(folder) };
    let process = Process::start(&spec)?;
    let first = folder.join(DATA).join("postmaster.pid");
    process.wait_until_ready(READY_MAX, || {
        // Somebody else's server may have got the port first; then this one ends.
        let pid = fs::read_to_string(&first).unwrap_or_default();
        if pid.lines().next() != Some(&process.id().to_string()) {
            return false;
        }
        answers(programs, port)
    })?;
    Ok(process)
}

/// Whether a server takes connections there.
fn answers(programs: &Path, port: u16) -> bool {
    let mut ask = Command::new(programs.join("pg_isready"));
    ask.args(["-q", "-h", "127.0.0.1", "-U", ROLE, "-d", "postgres", "-p", &port.to_string()]);
    ask.status().is_ok_and(|status| status.success())
}

fn log(folder: &Path) -> PathBuf {
    folder.join("postgres.log")
}
