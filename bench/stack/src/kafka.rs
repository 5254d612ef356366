//! Apache Kafka, KRaft, one node or more.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

use crate::{Process, Spec, Tls, free_port};

/// Which Kafka: `kafka.version` in this file.
pub const POM: &str = include_str!("../kafka/pom.xml");

/// Fetches the jars, unless they are there, and tells where.
const FETCH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/kafka/fetch.sh");

/// Every cluster here has the same id: none outlives its folder, and no node ever meets another cluster's.
const CLUSTER_ID: &str = "b3JkZXJseS1zdGFjay0wMQ";

/// How long a node may take to start, on a machine that is busy with builds.
const START_MAX: Duration = Duration::from_secs(120);
/// How long it may take to answer once it is connected to.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// How often a start is tried with other ports.
const STARTS_MAX: u32 = 4;

/// Small, quick to start, and quiet.
const JVM: [&str; 8] = [
    "-Xms256m",
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Djava.awt.headless=true",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
];

/// How a cluster is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many nodes; each is broker and controller. With three or more, topics of the broker's own have three
    /// replicas, two of them in sync.
    pub nodes: u16,
    /// The port of the first node's clients; the nodes' ports follow one another, first all of their clients' and then
    /// all of their controllers'. `None` takes free ones.
    pub port: Option<u16>,
    /// Listen for TLS too, on free ports.
    pub tls: Option<Tls>,
}

impl Default for Options {
    fn default() -> Self {
        Self { nodes: 1, port: None, tls: None }
    }
}

/// A running cluster. Its nodes are killed when this is dropped, and when this process ends in any way.
#[derive(Debug)]
pub struct Kafka {
    libs: PathBuf,
    nodes: Vec<Node>,
}

/// Where a node listens.
#[derive(Clone, Copy, Debug)]
struct Ports {
    clients: u16,
    controllers: u16,
    tls: Option<u16>,
}

/// One node.
#[derive(Debug)]
struct Node {
    folder: PathBuf,
    ports: Ports,
    /// `None` only while it starts.
    process: Option<Process>,
}

impl Kafka {
    /// Starts a cluster in a folder, which is made when it is missing, and waits until every node answers. A folder that
    /// held a cluster before goes on with what is in it.
    ///
    /// # Errors
    /// When Java is missing, the jars cannot be fetched, or a node does not start.
    pub fn start(folder: &Path, options: &Options) -> anyhow::Result<Self> {
        ensure!(options.nodes > 0, "a cluster has at least one node");
        let libs = fetch()?;
        let mut tries = 1;
        loop {
            let ports = ports(options)?;
            match Self::start_at(folder, &libs, &ports, options.tls.as_ref()) {
                // Somebody else may have taken a port between choosing it and listening.
                Err(_) if options.port.is_none() && tries < STARTS_MAX => tries += 1,
                outcome => return outcome,
            }
        }
    }

    fn start_at(folder: &Path, libs: &Path, ports: &[Ports], tls: Option<&Tls>) -> anyhow::Result<Self> {
        let mut nodes = Vec::new();
        for (id, here) in (1..).zip(ports) {
            let node = folder.join(format!("node-{id}"));
            std::fs::create_dir_all(&node).with_context(|| format!("cannot make {}", node.display()))?;
            std::fs::write(node.join("server.properties"), properties(&node, id, ports, tls)?)?;
            if !node.join("data/meta.properties").exists() {
                format(libs, &node)?;
            }
            nodes.push(Node { folder: node, ports: *here, process: None });
        }
        let mut kafka = Self { libs: libs.to_owned(), nodes };
        // All at once: one alone is no quorum.
        for node in 0..ports.len() {
            kafka.launch(node)?;
        }
        for node in 0..ports.len() {
            kafka.wait_until_ready(node)?;
        }
        Ok(kafka)
    }

    /// What a client is told: all nodes' addresses, with commas between.
    #[must_use]
    pub fn brokers(&self) -> String {
        let addresses = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.ports.clients));
        addresses.collect::<Vec<_>>().join(",")
    }

    /// The same, for clients that speak TLS.
    #[must_use]
    pub fn tls_brokers(&self) -> Option<String> {
        let addresses = self.nodes.iter().map(|node| node.ports.tls.map(|port| format!("127.0.0.1:{port}")));
        addresses.collect::<Option<Vec<_>>>().map(|addresses| addresses.join(","))
    }

    /// A node's process, counted from 0: to kill it, or to stop it for a while.
    ///
    /// # Panics
    /// When there is no such node.
    #[must_use]
    pub fn process(&self, node: usize) -> &Process {
        self.nodes[node].process.as_ref().expect("it was started")
    }

    /// Kills a node, if it still runs, starts it again in its folder and on its port, and waits until it answers.
    ///
    /// # Errors
    /// When it does not start.
    ///
    /// # Panics
    /// When there is no such node.
    pub fn restart(&mut self, node: usize) -> anyhow::Result<()> {
        self.process(node).kill()?;
        self.launch(node)?;
        self.wait_until_ready(node)
    }

    /// Kills a node, if it still runs, takes its log directory away, and starts it again with an empty one.
    ///
    /// # Errors
    /// When the directory cannot be removed or made again, or the node does not start.
    ///
    /// # Panics
    /// When there is no such node.
    pub fn restart_empty(&mut self, node: usize) -> anyhow::Result<()> {
        self.process(node).kill()?;
        let folder = &self.nodes[node].folder;
        let data = folder.join("data");
        std::fs::remove_dir_all(&data).with_context(|| format!("cannot remove {}", data.display()))?;
        format(&self.libs, folder)?;
        self.restart(node)
    }

    fn launch(&mut self, node: usize) -> anyhow::Result<()> {
        let node = &mut self.nodes[node];
        let mut args: Vec<_> = JVM.iter().map(ToString::to_string).collect();
        args.extend(["-cp".into(), class_path(&self.libs), "kafka.Kafka".into()]);
        args.push(node.folder.join("server.properties").display().to_string());
        let log = node.folder.join("log");
        let spec = Spec { program: "java".into(), args, env: Vec::new(), user: None, log };
        node.process = Some(Process::start(&spec)?);
        Ok(())
    }

    fn wait_until_ready(&self, node: usize) -> anyhow::Result<()> {
        let port = self.nodes[node].ports.clients;
        self.process(node).wait_until_ready(START_MAX, || answers(port).unwrap_or(false))
    }
}

/// Each node's ports.
fn ports(options: &Options) -> anyhow::Result<Vec<Ports>> {
    (0..options.nodes)
        .map(|node| {
            let (clients, controllers) = match options.port {
                Some(first) => (first + node, first + options.nodes + node),
                None => (free_port()?, free_port()?),
            };
            Ok(Ports { clients, controllers, tls: options.tls.is_some().then(free_port).transpose()? })
        })
        .collect()
}

fn properties(node: &Path, id: u16, ports: &[Ports], tls: Option<&Tls>) -> anyhow::Result<String> {
    let Ports { clients, controllers, tls: tls_port } = ports[usize::from(id) - 1];
    let voters: Vec<_> = (1..).zip(ports).map(|(id, there)| format!("{id}@127.0.0.1:{}", there.controllers)).collect();
    let mut listeners = format!("PLAINTEXT://127.0.0.1:{clients},CONTROLLER://127.0.0.1:{controllers}");
    let mut secured = Vec::new();
    if let (Some(port), Some(tls)) = (tls_port, tls) {
        listeners += &format!(",SSL://127.0.0.1:{port}");
        // Kafka wants a key and its certificate in one file.
        let identity = node.join("identity.pem");
        let read =
            |path: &Path| std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
        std::fs::write(&identity, read(&tls.key)? + &read(&tls.certificate)?)?;
        secured = vec![
            ("ssl.keystore.type", "PEM".to_owned()),
            ("ssl.keystore.location", identity.display().to_string()),
            ("ssl.truststore.type", "PEM".to_owned()),
            ("ssl.truststore.location", tls.roots.display().to_string()),
            ("ssl.client.auth", "required".to_owned()),
        ];
    }
    let here = [
        ("node.id", id.to_string()),
        ("controller.quorum.voters", voters.join(",")),
        ("listeners", listeners),
        ("listener.security.protocol.map", "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL".to_owned()),
        ("log.dir", node.join("data").display().to_string()),
    ];
    let all = here.into_iter().chain(settings(ports.len())).chain(secured);
    Ok(all.map(|(name, value)| format!("{name}={value}\n")).collect())
}

/// What is set wherever a node of a cluster of so many nodes runs, as in `server.properties`: name and value.
#[must_use]
pub fn settings(nodes: usize) -> Vec<(&'static str, String)> {
    let (replicas, in_sync) = if nodes < 3 { ("1", "1") } else { ("3", "2") };
    let settings = [
        ("process.roles", "broker,controller"),
        ("controller.listener.names", "CONTROLLER"),
        // Orderly makes its topics itself.
        ("auto.create.topics.enable", "false"),
        ("default.replication.factor", replicas),
        ("min.insync.replicas", in_sync),
        ("offsets.topic.replication.factor", replicas),
        ("offsets.topic.num.partitions", "4"),
        ("transaction.state.log.replication.factor", replicas),
        ("transaction.state.log.min.isr", in_sync),
        ("transaction.state.log.num.partitions", "4"),
        ("share.coordinator.state.topic.replication.factor", replicas),
        ("share.coordinator.state.topic.min.isr", in_sync),
        ("share.coordinator.state.topic.num.partitions", "4"),
        ("group.initial.rebalance.delay.ms", "0"),
        ("group.min.session.timeout.ms", "1000"),
        ("broker.session.timeout.ms", "6000"),
        ("broker.heartbeat.interval.ms", "1000"),
        ("num.network.threads", "2"),
        ("num.io.threads", "4"),
        ("log.cleaner.dedupe.buffer.size", "8388608"),
    ];
    settings.map(|(name, value)| (name, value.to_owned())).into()
}

/// Makes a node's data folder what Kafka takes for one.
fn format(libs: &Path, node: &Path) -> anyhow::Result<()> {
    let output = Command::new("java")
        .args(JVM)
        .args(["-cp", &class_path(libs), "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c"])
        .arg(node.join("server.properties"))
        .output()
        .context("cannot start java; install it: apt-get install openjdk-17-jre-headless")?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "Kafka's storage tool could not format {}: {text}", node.display());
    Ok(())
}

fn class_path(libs: &Path) -> String {
    libs.join("*").display().to_string()
}

fn fetch() -> anyhow::Result<PathBuf> {
    let output = Command::new(FETCH).output().with_context(|| format!("cannot run {FETCH}"))?;
    if !output.status.success() {
        bail!("Kafka's jars could not be fetched: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?.trim().into())
}

/// Whether a node answers Kafka's simplest request, which API versions it knows: it does so once it has joined its
/// cluster.
fn answers(port: u16) -> anyhow::Result<bool> {
    // Length, API key 18, version 0, correlation id 7, no client id.
    const REQUEST: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff];
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    stream.write_all(&REQUEST)?;
    // Length, correlation id, error code.
    let mut answer = [0; 10];
    stream.read_exact(&mut answer)?;
    Ok(answer[4..] == [0, 0, 0, 7, 0, 0])
}
