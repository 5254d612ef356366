//! What a request asks for.

use crate::engine::Engine;

/// A statement with all that belongs to it.
#[derive(Debug, Default)]
pub(crate) struct Job {
    database: Option<String>,
    format: Option<String>,
    settings: Vec<(String, String)>,
    sql: String,
    body: Vec<u8>,
}

impl Job {
    /// From the query of an address and a body.
    pub(crate) fn new(query: &str, body: Vec<u8>) -> Result<Self, String> {
        let mut job = Self { body, ..Self::default() };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            match name.as_str() {
                "query" => job.sql = value,
                "database" => job.database = Some(value),
                "default_format" => job.format = Some(value),
                "decompress" | "compress" => return Err("this front knows no compression; turn it off".into()),
                // Every answer waits for its end here.
                "wait_end_of_query" | "query_id" => {}
                _ if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') => {
                    job.settings.push((name, value));
                }
                _ => return Err(format!("{name:?} is no name of a setting")),
            }
        }
        Ok(job)
    }

    /// Carries it out. Settings last for this job.
    pub(crate) fn run(&self, engine: &Engine) -> Result<Vec<u8>, String> {
        let database = self.database.as_deref().unwrap_or("default").replace('\\', r"\\").replace('`', r"\`");
        engine.query(format!("USE `{database}`").as_bytes(), "Null")?;
        let assignments: Vec<_> = self.settings.iter().map(|(name, value)| (name, literal(value))).collect();
        for (name, value) in &assignments {
            engine.query(format!("SET {name} = {value}").as_bytes(), "Null")?;
        }
        let answer = self.run_statement(engine);
        for (name, _) in &assignments {
            engine.query(format!("SET {name} = DEFAULT").as_bytes(), "Null")?;
        }
        answer
    }

    fn run_statement(&self, engine: &Engine) -> Result<Vec<u8>, String> {
        match self.sql.rsplit_once(" FORMAT ") {
            Some((sql, format)) if sql.starts_with("INSERT ") => {
                engine.insert(sql, format, &self.body).map(|()| vec![])
            }
            _ => {
                let sql = [self.sql.as_bytes(), &self.body].concat();
                engine.query(&sql, self.format.as_deref().unwrap_or("TabSeparated"))
            }
        }
    }
}

/// A value as SQL.
fn literal(value: &str) -> String {
    format!("'{}'", value.replace('\\', r"\\").replace('\'', r"\'"))
}

/// Undoes the encoding of forms.
fn decode(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
                let code = digit().zip(digit()).map(|(high, low)| high * 16 + low);
                code.and_then(|code| u8::try_from(code).ok()).ok_or_else(|| format!("{text:?} is cut"))?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| format!("{text:?} is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses() {
        let job = Job::new("database=a%60b&query=INSERT+INTO+t+FORMAT%20Null&max_threads=1", vec![1]).unwrap();
        assert_eq!((job.database.as_deref(), job.sql.as_str()), (Some("a`b"), "INSERT INTO t FORMAT Null"));
        assert_eq!(job.settings, [("max_threads".to_owned(), "1".to_owned())]);
        for wrong in ["query=%2", "query=%zz", "query=%ff", "decompress=1", "a%3Bb=1"] {
            Job::new(wrong, vec![]).unwrap_err();
        }
    }
}
