//! Composes the scripts: a line `--- @include "name"` in a command is replaced by `includes/name.lua`.
//!
//! An include may include others; each comes once, where it is first named.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=commands");
    println!("cargo::rerun-if-changed=includes");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo sets OUT_DIR"))?);
    for entry in fs::read_dir("commands")? {
        let path = entry?.path();
        let name = path.file_name().ok_or_else(|| io::Error::other("a file has a name"))?;
        fs::write(out.join(name), compose(&path, &mut HashSet::new())?)?;
    }
    Ok(())
}

fn compose(path: &Path, included: &mut HashSet<String>) -> io::Result<String> {
    let text = fs::read_to_string(path).map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?;
    let mut composed = String::new();
    for line in text.lines() {
        match line.strip_prefix("--- @include \"").and_then(|rest| rest.strip_suffix('"')) {
            Some(name) if included.insert(name.to_owned()) => {
                composed += &compose(&Path::new("includes").join(format!("{name}.lua")), included)?;
            }
            Some(_) => {}
            None => {
                composed += line;
                composed.push('\n');
            }
        }
    }
    Ok(composed)
}
