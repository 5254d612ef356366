//! `orderly-baselines`: one of the systems that Orderly is compared with, as a server.

use std::net::SocketAddr;

use anyhow::Context as _;
use clap::Parser;
use orderly_baselines::{Kind, Options, api, systems};

/// Serves bookings as a team would otherwise build them.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Which way
    system: Kind,
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:8082")]
    listen: SocketAddr,
    #[command(flatten)]
    options: Options,
}

/// The same as Orderly's, so that both sides of a comparison have it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let system = systems::start(arguments.system, &arguments.options).await?;
    let listener = tokio::net::TcpListener::bind(arguments.listen).await;
    let listener = listener.with_context(|| format!("cannot listen on {}", arguments.listen))?;
    axum::serve(axum::serve::ListenerExt::tap_io(listener, nodelay), api::router(system)).await?;
    Ok(())
}

/// Answers are small and wanted at once.
fn nodelay(stream: &mut tokio::net::TcpStream) {
    // Without it answers come later, and all the same.
    let _ = stream.set_nodelay(true);
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_makes_sense() {
        Arguments::command().debug_assert();
    }
}
