//! The names of all keys, and what to say about one that does not exist.

use std::ffi::OsString;

use anyhow::bail;
use confique::Config as _;
use confique::meta::{FieldKind, Meta};
use toml::de::{DeTable, DeValue};

use super::Config;

/// What every environment variable of Orderly starts with.
const PREFIX: &str = "ORDERLY_";

/// Variables that options of the command line, also the load client's, are read from.
const OPTIONS: [&str; 7] = [
    "ORDERLY_BENCH_DATA",
    "ORDERLY_CA_FILE",
    "ORDERLY_CERTIFICATE_FILE",
    "ORDERLY_CONFIG",
    "ORDERLY_KEY_FILE",
    "ORDERLY_TOKEN",
    "ORDERLY_URL",
];

/// Checks that every variable that starts with `ORDERLY_` is one.
pub(super) fn check_environment(names: impl Iterator<Item = OsString>) -> anyhow::Result<()> {
    let known: Vec<String> =
        paths(&Config::META, "").iter().map(|path| variable(path)).chain(OPTIONS.map(str::to_owned)).collect();
    for name in names {
        let name = name.to_string_lossy();
        if name.starts_with(PREFIX) && !known.iter().any(|known| *known == name) {
            bail!("there is no environment variable `{name}`; the nearest is `{}`{HELP}", nearest(&name, &known));
        }
    }
    Ok(())
}

/// Checks that every key of a file is one.
pub(super) fn check_file(text: &str) -> anyhow::Result<()> {
    let table = DeTable::parse(text)?;
    check_table(text, table.get_ref(), &Config::META, "")
}

const HELP: &str = "; `orderly config --print` shows all";

fn check_table(text: &str, table: &DeTable<'_>, meta: &Meta, prefix: &str) -> anyhow::Result<()> {
    for (key, value) in table {
        let path = format!("{prefix}{}", key.get_ref());
        let Some(field) = meta.fields.iter().find(|field| field.name == key.get_ref()) else {
            let line = text.get(..key.span().start).unwrap_or_default().matches('\n').count() + 1;
            let known = paths(&Config::META, "");
            bail!("line {line}: there is no key `{path}`; the nearest is `{}`{HELP}", nearest(&path, &known));
        };
        if let (FieldKind::Nested { meta }, DeValue::Table(section)) = (field.kind, value.get_ref()) {
            check_table(text, section, meta, &format!("{path}."))?;
        }
    }
    Ok(())
}

/// Every key's dotted path, and that of every section.
fn paths(meta: &Meta, prefix: &str) -> Vec<String> {
    let mut all = Vec::new();
    for field in meta.fields {
        let path = format!("{prefix}{}", field.name);
        if let FieldKind::Nested { meta } = field.kind {
            all.extend(paths(meta, &format!("{path}.")));
        }
        all.push(path);
    }
    all
}

/// The environment variable of a key.
fn variable(path: &str) -> String {
    format!("{PREFIX}{}", path.replace('.', "__").to_uppercase())
}

/// Every value of a table by its dotted path.
pub(super) fn values(table: &toml::Table) -> Vec<(String, &toml::Value)> {
    let mut all = Vec::new();
    for (key, value) in table {
        match value {
            toml::Value::Table(section) => {
                all.extend(values(section).into_iter().map(|(path, value)| (format!("{key}.{path}"), value)));
            }
            _ => all.push((key.clone(), value)),
        }
    }
    all
}

/// The known name that takes the fewest typing mistakes to become `name`. A key in the wrong section is one mistake.
fn nearest<'a>(name: &str, known: &'a [String]) -> &'a str {
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let mistakes = |known: &String| {
        let whole = strsim::damerau_levenshtein(name, known);
        whole.min(strsim::damerau_levenshtein(&last(name), &last(known)) + 1)
    };
    known.iter().min_by_key(|known| mistakes(known)).map_or("", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(text: &str) -> String {
        check_file(text).expect_err("refused").to_string()
    }

    #[test]
    fn a_mistake_is_answered_with_the_nearest_key() {
        check_file("listen = '0.0.0.0:80'\n[log]\npartitions = 4").expect("known keys");
        for (text, line, nearest) in [
            ("[log]\npartitons = 4", 2, "log.partitions"),
            ("[ingress]\n\nwait_max_ms = 1\nconections_max = 1", 4, "ingress.connections_max"),
            ("workers = 2", 1, "pipeline.workers"),
            ("[pipelin]\nworkers = 2", 1, "pipeline"),
            ("[store]\nretention_hours = 3", 2, "log.retention_hours"),
            ("lisen = '[::]:80'", 1, "listen"),
        ] {
            let told = complaint(text);
            assert!(told.starts_with(&format!("line {line}:")), "{told}");
            assert!(told.contains(&format!("nearest is `{nearest}`")), "{told}");
        }
    }

    #[test]
    fn variables_are_named_after_keys() {
        fn walk(meta: &Meta, prefix: &str) {
            for field in meta.fields {
                let path = format!("{prefix}{}", field.name);
                match field.kind {
                    FieldKind::Leaf { env, .. } => assert_eq!(env, Some(variable(&path).as_str())),
                    FieldKind::Nested { meta } => walk(meta, &format!("{path}.")),
                }
                assert!(!field.doc.is_empty(), "{path} is not documented");
            }
        }
        walk(&Config::META, "");

        let check = |name: &str| check_environment([OsString::from(name)].into_iter());
        for known in ["ORDERLY_LISTEN", "ORDERLY_LOG__PARTITIONS", "ORDERLY_TOKEN", "PATH"] {
            check(known).expect("known");
        }
        let told = check("ORDERLY_LOG__PARTITION").expect_err("refused").to_string();
        assert!(told.contains("`ORDERLY_LOG__PARTITIONS`"), "{told}");
    }
}
