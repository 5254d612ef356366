//! Lists the files of the web app (`web/dist`, built by `make web`) for the program to hold. Without them the list is
//! empty: Rust alone needs no Node.js.
//!
//! They are copied first, so that pages that are built while the program compiles come into the next one.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=web/dist");
    let variable = |name| env::var_os(name).map(PathBuf::from).ok_or_else(|| io::Error::other("cargo sets it"));
    let (dist, out) = (variable("CARGO_MANIFEST_DIR")?.join("web/dist"), variable("OUT_DIR")?);
    let mut names = Vec::new();
    if dist.join("index.html").exists() {
        names.push("index.html".to_owned());
        for entry in fs::read_dir(dist.join("assets"))? {
            names.push(format!("assets/{}", entry?.file_name().to_string_lossy()));
        }
    }
    // Packed copies belong to the files that they are of.
    names.retain(|name| !name.ends_with(".gz") && !name.ends_with(".br"));
    names.sort();
    let held = out.join("web");
    if held.exists() {
        fs::remove_dir_all(&held)?;
    }
    fs::create_dir_all(held.join("assets"))?;
    let mut list = String::from("&[\n");
    for name in names {
        let copied = |suffix: &str| -> io::Result<Option<String>> {
            let from = dist.join(format!("{name}{suffix}"));
            if !from.exists() {
                return Ok(None);
            }
            let to = held.join(format!("{name}{suffix}"));
            fs::copy(from, &to)?;
            Ok(Some(format!("include_bytes!({to:?})")))
        };
        let packed = |suffix: &str| -> io::Result<String> {
            Ok(copied(suffix)?.map_or_else(|| "None".to_owned(), |bytes| format!("Some({bytes})")))
        };
        let plain = copied("")?.ok_or_else(|| io::Error::other("the pages are being built; build again"))?;
        let (gzip, brotli) = (packed(".gz")?, packed(".br")?);
        writeln!(list, "    File {{ name: {name:?}, plain: {plain}, gzip: {gzip}, brotli: {brotli} }},")
            .map_err(io::Error::other)?;
    }
    list.push_str("]\n");
    fs::write(out.join("web.rs"), list)
}
