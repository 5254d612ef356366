//! The role that may read the trail.

use deadpool_postgres::ClientWrapper;
use orderly_domain::port;
use tokio_postgres::error::SqlState;

use crate::store::postgres::error::Failure;
use crate::store::postgres::migrations::LOCK;

/// Makes the role, and gives it to whoever is connected, if that may be done here.
///
/// # Errors
/// When it may not: says what somebody else has to do.
pub(super) async fn prepare(client: &ClientWrapper) -> Result<(), Failure> {
    // Nodes and schemas that start at once do so one after the other.
    let prepare = format!(
        "DO $$ BEGIN \
         PERFORM pg_advisory_xact_lock({LOCK}); \
         IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'orderly_auditor') THEN \
         CREATE ROLE orderly_auditor NOLOGIN; \
         EXECUTE format('GRANT orderly_auditor TO %I', current_user); \
         ELSIF NOT pg_has_role(current_user, 'orderly_auditor', 'MEMBER') THEN \
         EXECUTE format('GRANT orderly_auditor TO %I', current_user); \
         END IF; END $$"
    );
    client.batch_execute(&prepare).await.map_err(|error| explained(error.into()))
}

/// With what to do about it, where a right is missing.
pub(super) fn explained(failure: Failure) -> Failure {
    match failure {
        Failure::Postgres(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            let text = format!(
                "{}; the audit trail is read as the role orderly_auditor. Let an administrator of the database run: \
                 CREATE ROLE orderly_auditor NOLOGIN; GRANT orderly_auditor TO the user of postgres.url",
                crate::store::postgres::error::words(&error)
            );
            port::Error::DidNotHappen(text).into()
        }
        failure => failure,
    }
}
