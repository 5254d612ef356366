//! `orderly`: the command line, and the only place where everything is wired.

mod audit;
mod auditor;
mod bar;
mod certs;
mod check;
mod cli;
mod client;
mod config;
mod demo;
mod edges;
mod follow;
mod jwks;
mod keys;
mod personal;
mod plan;
mod receipt;
mod redaction;
mod rehearse;
mod repartition;
mod replay;
mod serve;
mod telemetry;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use orderly_domain::Timestamp;
use orderly_domain::breaker::Held;
use orderly_domain::clock::{Clock as _, System};
use orderly_ingress::auth::Grant;

use cli::{Audit, Breakers, Certs, Cli, Command, Keys, Policy, Sessions};
use client::Client;
use config::Config;
use serve::Roles;

/// Requests allocate on one thread and free on another; with the system's allocator that fragments and contends.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli.command) {
        Ok(code) => code,
        // Whoever read the output has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Where stderr is closed, the exit status alone has to tell.
            let error = format!("{error:#}");
            let _ = writeln!(std::io::stderr().lock(), "orderly: {}", redaction::in_text(&error));
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Check(command) => {
            let config = configured(&command.source)?;
            telemetry::init(&config)?;
            if !check::run(&config, &command.clients, command.idle, command.json).await? {
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Replay(command) => {
            let config = configured(&command.source)?;
            telemetry::init(&config)?;
            if let Some(session_id) = command.session {
                let wanted = replay::Wanted { session_id, at: command.at.map(Timestamp::from), roots: command.roots };
                if !Box::pin(replay::print_line(&config, wanted, command.json)).await? {
                    return Ok(ExitCode::FAILURE);
                }
            } else if !Box::pin(replay::run(&config, command.keep.as_deref(), command.json)).await? {
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Repartition(command) => {
            let (from, into) = (configured(&command.source)?, config::load(Some(&command.into))?);
            telemetry::init(&from)?;
            if !command.compare {
                Box::pin(repartition::run(&from, &into)).await?;
            } else if !Box::pin(repartition::compare(&from, &into)).await? {
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Receipt(cli::Receipt::Make { at, roots, source }) => {
            let config = configured(&source)?;
            telemetry::init(&config)?;
            receipt::make(&config, at, &roots).await?;
        }
        Command::Receipt(cli::Receipt::Verify { receipt, roots }) => {
            let text = std::fs::read_to_string(&receipt);
            receipt::verify(&text.with_context(|| format!("cannot read {}", receipt.display()))?, &roots)?;
        }
        Command::Audit(Audit::Verify { source, anchor, without_anchors, json }) => {
            let config = configured(&source)?;
            telemetry::init(&config)?;
            if !audit::verify(&config, &anchor, without_anchors, json).await? {
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Audit(Audit::Head { source }) => {
            let config = configured(&source)?;
            telemetry::init(&config)?;
            audit::head(&config).await?;
        }
        Command::Serve(command) => serve(command, Roles::ALL).await?,
        Command::Ingress(command) => serve(command, Roles::INGRESS).await?,
        Command::Pipeline(cli::Node { source, listen }) => {
            serve(cli::Serve { source, listen, demo: false, policy: None }, Roles::PIPELINE).await?;
        }
        Command::Relay(cli::Node { source, listen }) => {
            serve(cli::Serve { source, listen, demo: false, policy: None }, Roles::RELAY).await?;
        }
        Command::AuditRun(command) => {
            let config = configured(&command.source)?;
            telemetry::init(&config)?;
            let (freeze, tls) = (command.freeze.zip(command.token), command.tls);
            let server = freeze.map(|(url, token)| cli::Server { url, token, tls });
            let freeze = server.map(Client::new).transpose()?;
            Box::pin(auditor::run(&config, command.listen, freeze, command.roots.as_deref())).await?;
        }
        Command::Follow(command) => {
            let config = configured(&command.source)?;
            telemetry::init(&config)?;
            follow::run(&config, command).await?;
        }
        Command::Policy(Policy::Get { server }) => client::policy::get(&Client::new(server)?).await?,
        Command::Policy(Policy::Set { file, reason, server }) => {
            client::policy::set(&Client::new(server)?, &file, reason.as_deref()).await?;
        }
        Command::Policy(Policy::History { server }) => client::policy::history(&Client::new(server)?).await?,
        Command::Policy(Policy::Rollback { version, reason, server }) => {
            client::policy::rollback(&Client::new(server)?, version, reason.as_deref()).await?;
        }
        Command::Policy(Policy::Rehearse(command)) => {
            let config = configured(&command.source)?;
            telemetry::init(&config)?;
            rehearse::run(&config, &command).await?;
        }
        Command::Policy(Policy::Diff { file, server }) => client::policy::diff(&Client::new(server)?, &file).await?,
        Command::Breakers(Breakers::List { server }) => client::breakers::list(&Client::new(server)?).await?,
        Command::Breakers(Breakers::Open(hold)) => hold_breaker(hold, Held::Open).await?,
        Command::Breakers(Breakers::Close(hold)) => hold_breaker(hold, Held::Closed).await?,
        Command::Breakers(Breakers::Reset(hold)) => hold_breaker(hold, Held::Automatic).await?,
        Command::Suspects(cli::Suspects { limit, server }) => {
            client::suspects::list(&Client::new(server)?, limit).await?;
        }
        Command::Sessions(Sessions::Import { file, server }) => {
            client::sessions::import(&Client::new(server)?, &file).await?;
        }
        Command::Sessions(Sessions::Export { filter, server }) => {
            client::export::sessions(&Client::new(server)?, &filter).await?;
        }
        Command::Token(command) => {
            let config = configured(&command.source)?;
            telemetry::init(&config)?;
            let keys = keys::for_minting(&config)?;
            let (client, level) = (command.client.as_deref(), command.level.as_deref());
            let grant = Grant { subject: &command.sub, role: command.role, client, level };
            let token = keys.mint(grant, System.now(), command.ttl)?;
            writeln!(std::io::stdout().lock(), "{token}")?;
        }
        Command::Keys(Keys::Rotate { source }) => {
            let config = configured(&source)?;
            telemetry::init(&config)?;
            writeln!(std::io::stdout().lock(), "{}", personal::rotate(&config).await?)?;
        }
        Command::Keys(Keys::Reencrypt { source }) => {
            let config = configured(&source)?;
            telemetry::init(&config)?;
            personal::reencrypt(&config).await?;
        }
        Command::Keys(Keys::List { source, json }) => {
            let config = configured(&source)?;
            telemetry::init(&config)?;
            personal::list(&config, json).await?;
        }
        Command::Certs(Certs::Dev { out }) => certs::dev(&out)?,
        Command::Plan(command) => plan::run(&command)?,
        Command::Config(command) => {
            let config = configured(&command.source)?;
            let mut out = std::io::stdout().lock();
            if command.print {
                write!(out, "{}", config::print(&config)?)?;
            } else {
                writeln!(out, "the configuration can be used")?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn hold_breaker(command: cli::Hold, held: Held) -> anyhow::Result<()> {
    let cli::Hold { name, reason, server } = command;
    client::breakers::hold(&Client::new(server)?, &name, held, reason.as_deref()).await
}

async fn serve(command: cli::Serve, roles: Roles) -> anyhow::Result<()> {
    let mut config = configured(&command.source)?;
    if let Some(listen) = command.listen {
        config.listen = listen;
    }
    if let Some(policy) = command.policy {
        config.policy.file = Some(policy);
    }
    telemetry::init(&config)?;
    serve::run(config, roles, command.demo).await
}

/// The configuration, with what the command line sets of it.
fn configured(source: &cli::Source) -> anyhow::Result<Config> {
    let mut config = config::load(source.config.as_deref())?;
    if let Some(data) = &source.data {
        config.data.clone_from(data);
    }
    Ok(config)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
