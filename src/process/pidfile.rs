//! The file that tells the number of the process (`-p`, `pidfile`).

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The pid file: opened early, written late.
#[derive(Debug)]
pub struct PidFile {
    file: File,
}

impl PidFile {
    /// # Errors
    /// The kernel's.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .open(path)?;
        Ok(Self { file })
    }

    /// This process' number, alone on its line.
    ///
    /// # Errors
    /// The kernel's.
    pub fn write(mut self) -> std::io::Result<()> {
        self.file.set_len(0)?;
        writeln!(self.file, "{}", std::process::id())
    }
}
