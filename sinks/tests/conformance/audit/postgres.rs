//! The trail in PostgreSQL, and what is its own: several nodes, its triggers, and whom row-level security lets read. The
//! tests' own user is a superuser, whom it does not bind; so the suite also runs as one who is not.

use orderly_sinks::audit::postgres::{Audit as Sql, Options};
use orderly_sinks::store::postgres as store;
use orderly_stack::proxy::{Proxy, Way};

use super::*;
use crate::store::postgres::{SERVER, Schema, shell};

fn options(url: &str, algorithm: Algorithm) -> Options {
    Options { algorithm, database: store::Options::new(url) }
}

impl Home for Schema {
    async fn open(&self, algorithm: Algorithm) -> Arc<dyn Audit> {
        self.create().await;
        Arc::new(Sql::open(options(self.url(), algorithm)).await.unwrap())
    }
}

super::suite!(Schema::new(&SERVER));

/// The schema of a user who may make roles, and no more.
struct Plain {
    schema: Schema,
    url: String,
}

impl Plain {
    fn new() -> Self {
        let schema = Schema::new(&SERVER);
        let url = schema.url().replace("postgres://orderly@", "postgres://audit_plain@");
        assert_ne!(url, schema.url());
        Self { schema, url }
    }

    async fn create(&self) {
        self.schema.create().await;
        let name = self.schema.name();
        let statements = format!(
            "SELECT pg_advisory_lock(7); \
             DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'audit_plain') THEN \
             CREATE ROLE audit_plain LOGIN CREATEROLE; END IF; END $$; \
             ALTER SCHEMA {name} OWNER TO audit_plain; SELECT pg_advisory_unlock(7)"
        );
        shell(self.schema.url()).await.batch_execute(&statements).await.unwrap();
    }
}

impl Home for Plain {
    async fn open(&self, algorithm: Algorithm) -> Arc<dyn Audit> {
        self.create().await;
        Arc::new(Sql::open(options(&self.url, algorithm)).await.unwrap())
    }
}

/// As somebody whom row-level security binds.
mod plain {
    super::super::suite!(super::Plain::new());
}

#[tokio::test]
async fn nodes_append_to_one_chain() {
    let schema = Schema::new(&SERVER);
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(schema.open(Algorithm::Sm3).await);
    }
    let append = |(number, node): (u64, Arc<dyn Audit>)| {
        tokio::spawn(async move {
            for round in 0..20 {
                let first = number * 1_000 + round * 2;
                node.append(&entries(first..=first + 1)).await.unwrap();
            }
        })
    };
    let others = nodes.clone();
    for task in (0..).zip(others).map(append).collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert_holds(&*nodes[0], 120).await;
}

#[tokio::test]
async fn only_auditors_read_it() {
    let plain = Plain::new();
    let audit = plain.open(Algorithm::Sm3).await;
    audit.append(&entries(1..=3)).await.unwrap();
    assert_eq!(audit.scan(1, 9).await.unwrap().len(), 3, "the program acts as an auditor to read");

    let owner = shell(&plain.url).await;
    let seen = "SELECT COUNT(*) FROM audit_entries";
    let count =
        async |client: &tokio_postgres::Client| client.query_one(seen, &[]).await.map(|row| row.get::<_, i64>(0));
    assert_eq!(count(&owner).await.unwrap(), 0, "their owner does not see them");
    owner.batch_execute("SET ROLE orderly_auditor").await.unwrap();
    assert_eq!(count(&owner).await.unwrap(), 3);
    for change in ["UPDATE audit_entries SET actor = 'me'", "DELETE FROM audit_entries", "TRUNCATE audit_entries"] {
        let error = owner.batch_execute(change).await.unwrap_err();
        assert_eq!(error.code(), Some(&tokio_postgres::error::SqlState::INSUFFICIENT_PRIVILEGE), "{change}");
    }
    let superuser = shell(plain.schema.url()).await;
    let stranger = format!("stranger_{}", plain.schema.name());
    let make = format!(
        "CREATE ROLE {stranger}; GRANT USAGE ON SCHEMA {schema} TO {stranger}; GRANT SELECT ON {schema}.audit_entries TO \
         {stranger}; SET ROLE {stranger}",
        schema = plain.schema.name()
    );
    superuser.batch_execute(&make).await.unwrap();
    // Not even what lies before the beginning: to tell, the beginning would have to be read.
    count(&superuser).await.unwrap_err();
}

#[tokio::test]
async fn a_shell_can_only_append() {
    let schema = Schema::new(&SERVER);
    let audit = schema.open(Algorithm::Sm3).await;
    audit.append(&entries(1..=3)).await.unwrap();
    let superuser = shell(schema.url()).await;
    for (statement, told) in [
        ("UPDATE audit_entries SET actor = 'me' WHERE seq = 2", "never changed"),
        ("DELETE FROM audit_entries WHERE seq = 3", "180 days"),
        ("UPDATE audit_chain SET start_seq = 3; DELETE FROM audit_entries WHERE seq = 3", "180 days"),
        ("UPDATE audit_chain SET head_seq = 2", "does not go back"),
        ("TRUNCATE audit_entries", "never changed"),
        ("DELETE FROM audit_chain", "never changed"),
        ("TRUNCATE audit_chain", "never changed"),
    ] {
        let error = superuser.batch_execute(statement).await.unwrap_err();
        let message = error.as_db_error().unwrap().message();
        assert!(message.contains(told), "{statement}: {message}");
    }
    assert_holds(&*audit, 3).await;
}

#[tokio::test]
async fn without_the_right_to_make_the_role_it_says_who_has_to() {
    let schema = Schema::new(&SERVER);
    schema.create().await;
    let (name, superuser) = (schema.name(), shell(schema.url()).await);
    let user = format!("nobody_{name}");
    let make = format!("CREATE ROLE {user} LOGIN; ALTER SCHEMA {name} OWNER TO {user}");
    superuser.batch_execute(&make).await.unwrap();
    let url = schema.url().replace("postgres://orderly@", &format!("postgres://{user}@"));
    // The role may be there, from other tests; it is not this user's in either case.
    let told = Sql::open(options(&url, Algorithm::Sm3)).await.unwrap_err();
    assert!(matches!(&told, port::Error::DidNotHappen(text) if text.contains("GRANT orderly_auditor TO")), "{told:?}");
    schema.open(Algorithm::Sm3).await;
}

#[tokio::test]
async fn nothing_is_made_for_a_reader() {
    let schema = Schema::new(&SERVER);
    schema.create().await;
    let told = Sql::open_read_only(options(schema.url(), Algorithm::Sm3)).await.unwrap_err();
    assert!(matches!(&told, port::Error::DidNotHappen(text) if text.contains("start the server once")), "{told:?}");
    schema.open(Algorithm::Sm3).await.append(&entries(1..=2)).await.unwrap();
    let reader = Sql::open_read_only(options(schema.url(), Algorithm::Sm3)).await.unwrap();
    assert_holds(&reader, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_whose_answer_is_lost_is_not_made_twice() {
    let schema = Schema::new(&SERVER);
    schema.create().await;
    let proxy = Proxy::start(SERVER.port()).unwrap();
    let url = schema.url().replace(&format!(":{}/", SERVER.port()), &format!(":{}/", proxy.port()));
    let mut options = options(&url, Algorithm::Sm3);
    options.database.call_timeout = Duration::from_secs(1);
    let audit = Sql::open(options).await.unwrap();
    let append = async |numbers| {
        let places = audit.append(&entries(numbers)).await?;
        Ok::<_, port::Error>(places.iter().map(|place| place.seq).collect::<Vec<_>>())
    };
    assert_eq!(append(1..=2).await.unwrap(), [1, 2]);
    for (first, way) in [(3, Way::LoseAnswer(b"COMMIT".to_vec())), (7, Way::LoseRequest(b"COMMIT".to_vec()))] {
        proxy.set(way);
        let told = append(first..=first + 2).await;
        assert!(matches!(told, Err(port::Error::MayHaveHappened(_))), "{told:?}");
        proxy.set(Way::Forward);
        assert_eq!(append(first..=first + 2).await.unwrap(), [first, first + 1, first + 2]);
        assert_eq!(append(first + 3..=first + 3).await.unwrap(), [first + 3]);
    }
    assert_eq!(proxy.lost(), 2, "both were hit");
    assert_holds(&audit, 10).await;
}
