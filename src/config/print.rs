//! The configuration as a commented TOML file.

use std::fmt::Write as _;

use anyhow::Context as _;
use confique::Config as _;
use confique::meta::{FieldKind, Meta};

use super::Config;
use crate::redaction;

/// A file that configures what `config` is, with what each key means and how its environment variable is named. Keys
/// without a value are there as comments. It holds no secrets: the configuration names the files that do, and the
/// passwords of addresses are hidden.
///
/// # Errors
/// When a value cannot be written as TOML, such as a path that is not Unicode.
pub(crate) fn print(config: &Config) -> anyhow::Result<String> {
    let values = toml::Table::try_from(config).context("the configuration cannot be written as TOML")?;
    let mut text = String::new();
    comment(&mut text, Config::META.doc);
    section(&mut text, &Config::META, "", &values)?;
    Ok(text)
}

fn section(text: &mut String, meta: &Meta, prefix: &str, values: &toml::Table) -> anyhow::Result<()> {
    for field in meta.fields {
        text.push('\n');
        comment(text, field.doc);
        let value = values.get(field.name);
        match (field.kind, value) {
            (FieldKind::Nested { meta }, Some(toml::Value::Table(values))) => {
                let path = format!("{prefix}{}", field.name);
                writeln!(text, "[{path}]")?;
                section(text, meta, &format!("{path}."), values)?;
            }
            (FieldKind::Leaf { env, .. }, value) => {
                writeln!(text, "# Environment: {}", env.unwrap_or("none"))?;
                match value {
                    Some(toml::Value::String(value)) => {
                        let value = toml::Value::String(redaction::in_address(value).into_owned());
                        writeln!(text, "{} = {value}", field.name)?;
                    }
                    Some(value) => writeln!(text, "{} = {value}", field.name)?,
                    None => writeln!(text, "# {} =", field.name)?,
                }
            }
            (FieldKind::Nested { .. }, _) => anyhow::bail!("the section `{}` has no values", field.name),
        }
    }
    Ok(())
}

fn comment(text: &mut String, lines: &[&str]) {
    for line in lines {
        text.push('#');
        text.push_str(line);
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use confique::Layer as _;

    use super::*;

    #[test]
    fn what_is_printed_reads_back_as_the_same() {
        type Layer = <Config as confique::Config>::Layer;
        let mut config = Config::from_layer(Layer::default_values()).expect("defaults are complete");
        config.log.partitions = 3;
        config.auth.key_file = Some("/etc/orderly/it's a \"key\"".into());
        let text = print(&config).expect("printable");
        super::super::keys::check_file(&text).expect("known keys only");
        let again = Config::from_layer(toml::from_str::<Layer>(&text).expect("valid")).expect("complete");
        assert_eq!(print(&again).expect("printable"), text);
        assert_eq!((again.log.partitions, again.auth.key_file), (3, config.auth.key_file));
    }
}
