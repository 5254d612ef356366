//! Redis, alone or as a cluster.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::Tls;
use crate::process::{Process, Spec, free_port, wait_until};

/// The version that is tried: Debian 12 has it.
pub const VERSION: &str = "7.0";

const PROGRAM: &str = "redis-server";
const READY_MAX: Duration = Duration::from_secs(20);
/// How long one question may take.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Starts on ports of our own choice before giving up.
const STARTS_MAX: usize = 5;
const SLOTS: u32 = 16_384;
/// What `SAVE` writes, in the server's folder.
const SAVED: &str = "dump.rdb";
/// The folder of the append-only file, in the server's folder.
const APPENDED: &str = "appendonlydir";

/// How a server is started.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Its port; `None` for a free one, which stays the same over restarts.
    pub port: Option<u16>,
    /// Keep an append-only file. Without it, only `SAVE` writes anything to disk.
    pub append_only: bool,
    /// Listen for TLS too, on a free port, which stays the same over restarts.
    pub tls: Option<Tls>,
    /// Further settings, as in `redis.conf`: name and value.
    pub config: Vec<(String, String)>,
}

impl Options {
    /// What `make up` starts.
    #[must_use]
    pub fn for_trying_out() -> Self {
        Self { append_only: true, ..Self::default() }
    }

    /// What is set wherever the server runs, as in `redis.conf`: name and value.
    #[must_use]
    pub fn settings(&self) -> Vec<(String, String)> {
        let append_only = if self.append_only { "yes" } else { "no" };
        let settings = [("save", ""), ("maxmemory-policy", "noeviction"), ("appendonly", append_only)];
        let settings = settings.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        settings.chain(self.config.iter().cloned()).collect()
    }
}

/// One server, in a folder of its own.
#[derive(Debug)]
pub struct Redis {
    folder: PathBuf,
    options: Options,
    port: u16,
    tls_port: Option<u16>,
    process: Process,
}

impl Redis {
    /// Starts one and waits until it answers. What an earlier one saved in that folder is loaded.
    ///
    /// # Errors
    /// When it cannot be started or does not answer; when the port that was asked for is taken.
    pub fn start(folder: &Path, options: Options) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let mut attempt = 1;
        loop {
            let port = options.port.map_or_else(free_port, Ok)?;
            let tls_port = options.tls.is_some().then(free_port).transpose()?;
            match launch(folder, port, tls_port, &options) {
                Ok(process) => return Ok(Self { folder: folder.to_owned(), options, port, tls_port, process }),
                // Somebody may have taken the port since it was free.
                Err(_) if options.port.is_none() && attempt < STARTS_MAX => attempt += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Starts it again in the same folder and on the same port; kills it before, if it runs.
    ///
    /// # Errors
    /// As [`Redis::start`].
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.process.kill()?;
        self.process = launch(&self.folder, self.port, self.tls_port, &self.options)?;
        Ok(())
    }

    /// Copies what it holds now into a file.
    ///
    /// # Errors
    /// When it does not save, or the file cannot be written.
    pub fn copy(&self, to: &Path) -> anyhow::Result<()> {
        self.ask("SAVE")?;
        std::fs::copy(self.folder.join(SAVED), to).with_context(|| format!("cannot write {}", to.display()))?;
        Ok(())
    }

    /// Kills it and starts it again with such a copy in place of what it held.
    ///
    /// # Errors
    /// As [`Redis::start`], and when the copy cannot be read.
    pub fn restart_from(&mut self, copy: &Path) -> anyhow::Result<()> {
        self.process.kill()?;
        let appended = self.folder.join(APPENDED);
        if appended.exists() {
            std::fs::remove_dir_all(&appended).with_context(|| format!("cannot remove {}", appended.display()))?;
        }
        std::fs::copy(copy, self.folder.join(SAVED)).with_context(|| format!("cannot read {}", copy.display()))?;
        // With an append-only file it would not look at the copy.
        let options = Options { append_only: false, ..self.options.clone() };
        self.process = launch(&self.folder, self.port, self.tls_port, &options)?;
        if self.options.append_only {
            self.ask("CONFIG SET appendonly yes")?;
            wait_until("Redis has an append-only file again", READY_MAX, || {
                let state = self.ask("INFO persistence")?;
                let written = ["aof_enabled:1", "aof_rewrite_in_progress:0", "aof_rewrite_scheduled:0"];
                Ok(written.iter().all(|line| state.contains(line)))
            })?;
        }
        Ok(())
    }

    /// Its process.
    #[must_use]
    pub const fn process(&self) -> &Process {
        &self.process
    }

    /// Its port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its address, as clients want it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The same, for clients that speak TLS.
    #[must_use]
    pub fn tls_url(&self) -> Option<String> {
        self.tls_port.map(|port| format!("rediss://127.0.0.1:{port}"))
    }

    /// Gives it a command, as one line (`CONFIG SET maxmemory 1mb`), and returns what it says.
    ///
    /// # Errors
    /// When it does not answer, or answers with an error.
    pub fn ask(&self, command: &str) -> anyhow::Result<String> {
        ask(self.port, command)
    }
}

fn launch(folder: &Path, port: u16, tls_port: Option<u16>, options: &Options) -> anyhow::Result<Process> {
    let mut args = Vec::new();
    let mut set = |name: &str, value: &str| args.extend([format!("--{name}"), value.to_owned()]);
    set("port", &port.to_string());
    set("bind", "127.0.0.1");
    set("dir", &folder.display().to_string());
    set("daemonize", "no");
    for (name, value) in options.settings() {
        set(&name, &value);
    }
    if let (Some(port), Some(tls)) = (tls_port, &options.tls) {
        set("tls-port", &port.to_string());
        set("tls-ca-cert-file", &tls.roots.display().to_string());
        set("tls-cert-file", &tls.certificate.display().to_string());
        set("tls-key-file", &tls.key.display().to_string());
    }
    let spec = Spec { program: PROGRAM.into(), args, env: vec![], user: None, log: folder.join("redis.log") };
    let process = Process::start(&spec)?;
    process
        .wait_until_ready(READY_MAX, || ask(port, "PING").is_ok_and(|answer| answer == "PONG"))
        .context("redis-server does not answer; is it installed? (Debian: apt-get install redis-server)")?;
    // Another server may have answered, on a port that was taken in between.
    let asked = ask(port, "INFO server")?;
    if !asked.lines().any(|line| line.trim() == format!("process_id:{}", process.id())) {
        bail!("port {port} is another server's; free it or choose another");
    }
    Ok(process)
}

fn ask(port: u16, command: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    stream.write_all(format!("{command}\r\n").as_bytes())?;
    let mut answer = BufReader::new(stream);
    let mut line = String::new();
    answer.read_line(&mut line)?;
    let text = line.trim_end().to_owned();
    match text.split_at_checked(1) {
        Some(("+" | ":", text)) => Ok(text.to_owned()),
        Some(("$", length)) => {
            let mut bytes = vec![0; length.parse().with_context(|| format!("{command}: no text"))?];
            answer.read_exact(&mut bytes)?;
            Ok(String::from_utf8(bytes)?)
        }
        _ => bail!("{command}: {text}"),
    }
}

/// A cluster of servers without replicas, each with a like share of the slots.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Redis>,
}

impl RedisCluster {
    /// How many nodes it has.
    pub const NODES: usize = 3;

    /// Starts the nodes, introduces them to each other and waits until all of them say that the cluster is up. A folder
    /// that has been a cluster before is one again, if the ports are the same.
    ///
    /// # Errors
    /// When a node cannot be started, or they do not agree in time.
    pub fn start(folder: &Path, ports: Option<[u16; Self::NODES]>) -> anyhow::Result<Self> {
        let mut nodes = Vec::new();
        for index in 0..Self::NODES {
            nodes.push(start_node(&folder.join(format!("node-{index}")), ports.map(|ports| ports[index]))?);
        }
        let cluster = Self { nodes };
        if cluster.nodes[0].ask("CLUSTER INFO")?.contains("cluster_slots_assigned:0") {
            cluster.form()?;
        }
        for node in &cluster.nodes {
            wait_until("the cluster is up", READY_MAX, || {
                let info = node.ask("CLUSTER INFO")?;
                let known = format!("cluster_known_nodes:{}", Self::NODES);
                Ok(info.contains("cluster_state:ok") && info.contains(&known))
            })?;
        }
        Ok(cluster)
    }

    fn form(&self) -> anyhow::Result<()> {
        let share = |index: usize| SLOTS * u32::try_from(index).unwrap_or(0) / 3;
        for (index, node) in self.nodes.iter().enumerate() {
            node.ask(&format!("CLUSTER SET-CONFIG-EPOCH {}", index + 1))?;
            node.ask(&format!("CLUSTER ADDSLOTSRANGE {} {}", share(index), share(index + 1) - 1))?;
        }
        for other in &self.nodes[1..] {
            self.nodes[0].ask(&format!("CLUSTER MEET 127.0.0.1 {} {}", other.port, bus_port(other)?))?;
        }
        Ok(())
    }

    /// Its nodes.
    #[must_use]
    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    /// Its nodes, to restart one.
    pub fn nodes_mut(&mut self) -> &mut [Redis] {
        &mut self.nodes
    }

    /// Its nodes' addresses, as clients want them.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Redis::url).collect()
    }
}

fn start_node(folder: &Path, port: Option<u16>) -> anyhow::Result<Redis> {
    let mut attempt = 1;
    loop {
        // The usual place of the bus, ten thousand above, may not exist above a free port.
        let bus = match port {
            Some(port) => port.checked_add(10_000).context("a cluster's ports must be at most 55535")?,
            None => free_port()?,
        };
        let config = [("cluster-enabled", "yes".into()), ("cluster-port", bus.to_string())];
        let config = config.map(|(name, value): (&str, String)| (name.to_owned(), value)).to_vec();
        match Redis::start(folder, Options { port, config, ..Options::default() }) {
            Ok(node) => return Ok(node),
            Err(_) if port.is_none() && attempt < STARTS_MAX => attempt += 1,
            Err(error) => return Err(error),
        }
    }
}

fn bus_port(node: &Redis) -> anyhow::Result<&str> {
    let set = node.options.config.iter().find(|(name, _)| name == "cluster-port");
    Ok(&set.context("a node has a bus port")?.1)
}
