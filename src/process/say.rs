//! What is said on stderr while starting and on signals, in haproxy's form:
//! `[WARNING]  (4242) : text`, after a banner that precedes the first of them during start.

use std::io::{PipeWriter, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::version;

static QUIET: AtomicBool = AtomicBool::new(false);
/// The banner was shown, or the time for it is over.
static INTRODUCED: AtomicBool = AtomicBool::new(false);

/// What was said while starting, up to [`START_LOG_BYTES`].
static START_LOG: Mutex<String> = Mutex::new(String::new());
const START_LOG_BYTES: usize = 64 << 10;

/// `-q`, `quiet`: nothing at all is said, not even errors (as haproxy; the exit status tells).
pub fn set_quiet(quiet: bool) {
    QUIET.store(quiet, Relaxed);
}

pub fn is_quiet() -> bool {
    QUIET.load(Relaxed)
}

/// The master of this worker, while it starts: it shows what was said to whoever asked for the reload.
static MASTER: Mutex<Option<PipeWriter>> = Mutex::new(None);

/// Says everything to the master as well, until [`forget_master`]. A byte 1 is never part of it.
pub fn to_master(pipe: PipeWriter) {
    if let Ok(mut master) = MASTER.lock() {
        *master = Some(pipe);
    }
}

pub fn forget_master() {
    if let Ok(mut master) = MASTER.lock() {
        *master = None;
    }
}

/// From here on messages stand alone.
pub fn start_is_over() {
    INTRODUCED.store(true, Relaxed);
}

pub fn notice(text: &str) {
    line("NOTICE", text);
}

pub fn warning(text: &str) {
    introduce();
    line("WARNING", text);
}

pub fn alert(text: &str) {
    introduce();
    line("ALERT", text);
}

/// Whether the next warning would begin with the banner.
pub fn banner_pending() -> bool {
    !INTRODUCED.load(Relaxed)
}

/// What was said so far, for `show startup-logs`.
pub fn start_log() -> String {
    START_LOG.lock().map(|log| log.clone()).unwrap_or_default()
}

/// Plain text on standard output, for answers that were asked for.
pub fn out(text: &str) {
    if !is_quiet() {
        let _ = std::io::stdout().write_all(text.as_bytes());
    }
}

/// `text` without a head of its own: excerpts, carets.
pub fn raw(text: &str) {
    if let Ok(mut log) = START_LOG.lock()
        && log.len() + text.len() <= START_LOG_BYTES
    {
        log.push_str(text);
    }
    if let Ok(mut master) = MASTER.lock()
        && let Some(pipe) = &mut *master
    {
        // A master that is gone is not told.
        let _ = pipe.write_all(text.replace('\u{1}', "?").as_bytes());
    }
    if !is_quiet() {
        // Nobody left to tell if stderr is closed.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
}

/// The two lines haproxy says before its first warning.
pub fn introduce() {
    if INTRODUCED.swap(true, Relaxed) {
        return;
    }
    line("NOTICE", &format!("haproxy version is {}", version::full()));
    if let Ok(path) = std::env::current_exe() {
        line(
            "NOTICE",
            &format!("path to executable is {}", path.display()),
        );
    }
}

/// `[ALERT]    (12) : `, the head of every message.
pub fn head(severity: &str) -> String {
    format!(
        "{:<10} ({}) : ",
        format!("[{severity}]"),
        std::process::id()
    )
}

fn line(severity: &str, text: &str) {
    raw(&format!("{}{text}\n", head(severity)));
}
