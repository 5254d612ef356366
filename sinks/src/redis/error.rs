//! What an error of Redis lets the caller conclude.

use orderly_domain::port::Error;
use redis::{ErrorKind, RedisError, ServerErrorKind};

/// There was no connection to ask on.
pub(crate) fn not_connected(error: &RedisError) -> Error {
    Error::DidNotHappen(format!("cannot connect to Redis: {error}; check its address and that it runs"))
}

/// What follows from an answer that is an error, or from the lack of one.
pub(crate) fn unknown_or_refused(what: &str, error: &RedisError) -> Error {
    let text = format!("{what}: {error}");
    match error.kind() {
        ErrorKind::Server(ServerErrorKind::ResponseError) if text.contains("killed by user") => {
            Error::DidNotHappen(text)
        }
        ErrorKind::Server(ServerErrorKind::ResponseError | ServerErrorKind::CrossSlot) => Error::Corrupt(text),
        ErrorKind::Server(_) | ErrorKind::AuthenticationFailed => Error::DidNotHappen(text),
        // The client found no node to send it to.
        ErrorKind::ClusterConnectionNotFound | ErrorKind::InvalidClientConfig | ErrorKind::Client => {
            Error::DidNotHappen(text)
        }
        ErrorKind::Extension => match error.code() {
            Some("OOM") => Error::StorageFull(format!("{text}; give Redis more memory (maxmemory)")),
            Some("MISCONF") => Error::StorageFull(format!("{text}; Redis cannot write to its disk")),
            Some("WRONGTYPE") => Error::Corrupt(format!("{text}; another program writes under Orderly's prefix")),
            // NOREPLICAS, BUSY, NOAUTH, WRONGPASS, UNKILLABLE …: it was refused before it began.
            _ => Error::DidNotHappen(text),
        },
        _ => Error::MayHaveHappened(text),
    }
}

/// Whether the connection can be asked again: it answered, and not that another one should be asked.
pub(super) fn keeps_connection(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Server(kind) => !matches!(
            kind,
            ServerErrorKind::ReadOnly
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown
                | ServerErrorKind::BusyLoading
                | ServerErrorKind::Moved
                | ServerErrorKind::Ask
        ),
        ErrorKind::Extension => true,
        _ => false,
    }
}
