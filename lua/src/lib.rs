//! The scripts that decide inside Redis, composed at build time, and their loader.

use std::sync::LazyLock;

use redis::aio::ConnectionLike;
use redis::{FromRedisValue, RedisResult, ToRedisArgs};

/// Declares a script by its file in `commands/`: the part of the name before the dash, and its number of keys.
macro_rules! script {
    ($(#[$doc:meta])* $name:ident, $file:literal, $keys:literal) => {
        $(#[$doc])*
        pub static $name: LazyLock<Script<$keys>> = LazyLock::new(|| {
            Script::new($file, include_str!(concat!(env!("OUT_DIR"), "/", $file, "-", $keys, ".lua")))
        });
    };
}

script!(
    /// Decides and applies commands of one department's day: `commands/apply-6.lua`.
    APPLY, "apply", 6
);
script!(
    /// Replaces what is known of a session: `commands/restore-6.lua`.
    RESTORE, "restore", 6
);
script!(
    /// Tells that releases of one department's day are committed: `commands/settle-6.lua`.
    SETTLE, "settle", 6
);
script!(
    /// Adds a batch to a stream: `commands/publish-2.lua`.
    PUBLISH, "publish", 2
);
script!(
    /// Makes a group of a stream: `commands/join-3.lua`.
    JOIN, "join", 3
);
script!(
    /// Hands entries of a stream to a member of a group: `commands/take-2.lua`.
    TAKE, "take", 2
);
script!(
    /// Divides what all ingress nodes may let in: `commands/share-1.lua`.
    SHARE, "share", 1
);
script!(
    /// Takes a member out of a group: `commands/leave-1.lua`.
    LEAVE, "leave", 1
);

/// A script with so many keys.
#[derive(Debug)]
pub struct Script<const KEYS: usize> {
    name: &'static str,
    code: &'static str,
    script: redis::Script,
}

impl<const KEYS: usize> Script<KEYS> {
    fn new(name: &'static str, code: &'static str) -> Self {
        Self { name, code, script: redis::Script::new(code) }
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// What it says, as the server gets it.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.code
    }

    /// Calls it by its SHA; where the server does not know it, loads it and calls again.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub async fn call<T: FromRedisValue>(
        &self,
        connection: &mut impl ConnectionLike,
        keys: &[String; KEYS],
        args: &[impl ToRedisArgs],
    ) -> RedisResult<T> {
        let mut call = self.script.prepare_invoke();
        keys.iter().for_each(|key| {
            call.key(key);
        });
        args.iter().for_each(|arg| {
            call.arg(arg);
        });
        call.invoke_async(connection).await
    }
}
