//! The configuration with which Orderly's processes find the servers.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::servers::Servers;

/// Good for any secret here: nobody but this program asks.
const SECRET: &str = "c2VjcmV0cyBvZiBhIGNsdXN0ZXIgdGhhdCBsaXZlcyBmb3IgYSB0ZXN0IGFuZCBrZWVwcyBub3RoaW5n";

/// The same, of 32 bytes.
const KEY: &str = "YSBrZXkgb2YgYSBjbHVzdGVyIG9mIHRlc3RzLCAzMiE=";

/// Writes it into the folder, with the keys it names, and tells where it lies.
///
/// # Errors
/// When a file cannot be written.
pub(crate) fn write(folder: &Path, servers: &Servers) -> anyhow::Result<PathBuf> {
    let put = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        anyhow::Ok(path)
    };
    let auth = put("auth.key", &format!("{SECRET}\n"))?;
    let ticket = put("ticket.keys", &format!("1 {SECRET}\n"))?;
    let personal = put("personal.keys", &format!("pseudonyms {KEY}\n1 {KEY}\n"))?;
    let text = format!(
        "profile = \"distributed\"\n\
         data = {:?}\n\n\
         [auth]\nkey_file = {auth:?}\n\n\
         [ticket]\nkeys_file = {ticket:?}\n\n\
         [personal]\nkeys_file = {personal:?}\n\n\
         [kafka]\nbrokers = {:?}\n\n\
         [redis]\nurls = {:?}\n\n\
         [postgres]\nurl = {:?}\n\n\
         [clickhouse]\nurl = {:?}\n",
        folder.join("data"),
        servers.kafka.brokers(),
        servers.redis_url(),
        servers.postgres_url(),
        servers.clickhouse_url(),
    );
    put("orderly.toml", &text)
}
