//! A disk that can be full: a file system in memory, of its own, that shrinks to what is in it and grows again.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

/// More than anything here writes; memory is taken for what is written only.
const SIZE: &str = "8g";
/// How often shrinking is tried while others write.
const SHRINKS_MAX: usize = 100;

/// A mounted one. It is unmounted, with all that is in it, when this is dropped.
#[derive(Debug)]
pub struct Tmpfs {
    folder: PathBuf,
}

impl Tmpfs {
    /// Mounts one at a folder, which is made when it is missing.
    ///
    /// # Errors
    /// When this user may not: it takes root.
    pub fn mount(folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={SIZE}"), "orderly"]).arg(folder))?;
        let mounted = Self { folder: folder.to_owned() };
        // Where mounting is allowed, this may still not be.
        mounted.empty()?;
        Ok(mounted)
    }

    /// Nothing more fits in.
    ///
    /// # Errors
    /// When others write faster than it shrinks.
    pub fn fill(&self) -> anyhow::Result<()> {
        let mut last = None;
        for _ in 0..SHRINKS_MAX {
            // What is written in between makes this too small, and it is refused.
            match self.used().and_then(|bytes| self.resize(&bytes.to_string())) {
                Ok(()) => return Ok(()),
                Err(error) => last = Some(error),
            }
        }
        last.map_or(Ok(()), Err)
    }

    /// There is space again.
    ///
    /// # Errors
    /// When this user may not do that.
    pub fn empty(&self) -> anyhow::Result<()> {
        self.resize(SIZE)
    }

    /// Unmounts what an earlier process mounted below a folder and left there, since it was killed.
    ///
    /// # Errors
    /// When it cannot be unmounted.
    pub fn unmount_below(folder: &Path) -> anyhow::Result<()> {
        let folder = std::path::absolute(folder)?;
        let mounts = std::fs::read_to_string("/proc/self/mounts").context("cannot read what is mounted")?;
        for line in mounts.lines() {
            let mut fields = line.split(' ').skip(1);
            if let (Some(place), Some("tmpfs")) = (fields.next().map(Path::new), fields.next())
                && place.starts_with(&folder)
            {
                unmount(place)?;
            }
        }
        Ok(())
    }

    /// Bytes in it.
    fn used(&self) -> anyhow::Result<u64> {
        let told = run(Command::new("df").args(["-B1", "--output=used"]).arg(&self.folder))?;
        told.lines().last().and_then(|bytes| bytes.trim().parse().ok()).with_context(|| format!("df said: {told}"))
    }

    fn resize(&self, size: &str) -> anyhow::Result<()> {
        run(Command::new("mount").args(["-o", &format!("remount,size={size}")]).arg(&self.folder)).map(drop)
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = unmount(&self.folder);
    }
}

/// At once, and for whoever still has a file open in it later.
fn unmount(folder: &Path) -> anyhow::Result<()> {
    run(Command::new("umount").arg("--lazy").arg(folder)).map(drop)
}

fn run(command: &mut Command) -> anyhow::Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    #[test]
    fn is_full_for_a_while() {
        let folder = tempfile::tempdir().unwrap();
        let Ok(disk) = Tmpfs::mount(folder.path()) else {
            println!("skipped: this user may not mount");
            return;
        };
        let write = |name: &str| std::fs::write(folder.path().join(name), vec![1; 64 * 1024]);
        write("before").unwrap();
        disk.fill().unwrap();
        assert_eq!(write("while").unwrap_err().kind(), ErrorKind::StorageFull);
        disk.empty().unwrap();
        write("after").unwrap();
        drop(disk);
        assert!(!folder.path().join("before").exists());
    }

    #[test]
    fn what_was_left_behind_is_unmounted() {
        let folder = tempfile::tempdir().unwrap();
        let Ok(disk) = Tmpfs::mount(&folder.path().join("below")) else { return };
        std::mem::forget(disk);
        Tmpfs::unmount_below(folder.path()).unwrap();
        std::fs::remove_dir(folder.path().join("below")).unwrap();
    }
}
