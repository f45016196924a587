//! Programs of others that take part in a scenario: brokers, web servers, clients.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{PATIENCE, TempDir, within};

/// A program that runs beside the balancer; ended on drop, by its pid.
pub(crate) struct Component {
    child: Child,
    output: PathBuf,
}

impl Component {
    /// Starts `command`; what it says goes to the file `name` in `dir`.
    #[track_caller]
    pub(crate) fn start(dir: &TempDir, name: &str, command: &mut Command) -> Self {
        let output = PathBuf::from(dir.file(name));
        let out = File::create(&output).unwrap();
        command
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out);
        let child = command
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?}: {e}"));
        Self { child, output }
    }

    pub(crate) fn output(&self) -> String {
        std::fs::read_to_string(&self.output).unwrap_or_default()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("it takes signals");
    }

    /// Ends it, in its own way if it takes SIGTERM, and waits until it is gone.
    pub(crate) fn stop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        let _ = kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM);
        if !within(Duration::from_secs(3), || {
            !matches!(self.child.try_wait(), Ok(None))
        }) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Drop for Component {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- {} said:\n{}---", self.output.display(), self.output());
        }
        self.stop();
    }
}

/// Runs `command` to its end with a bound; gives all it said, or fails with it.
#[track_caller]
pub(crate) fn run(dir: &TempDir, command: &mut Command) -> String {
    let mut component = Component::start(dir, "run", command);
    let mut status = None;
    let ended = within(PATIENCE * 3, || {
        status = component.child.try_wait().ok().flatten();
        status.is_some()
    });
    let text = component.output();
    assert!(
        ended && status.is_some_and(|s| s.success()),
        "{command:?} ended with {status:?}: {text}"
    );
    text
}

/// Makes a self-signed certificate for `name` in `dir`; gives the paths of key and certificate.
#[track_caller]
pub(crate) fn certificate(dir: &TempDir, name: &str) -> (String, String) {
    let (key, cert) = (
        dir.file(&format!("{name}.key")),
        dir.file(&format!("{name}.cert")),
    );
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            &format!("/CN={name}"),
        ])
        .args(["-keyout", &key, "-out", &cert])
        .output()
        .expect("openssl runs");
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    (key, cert)
}

/// The python of the environment that `scripts/test` makes, with the client libraries in it.
pub(crate) fn python() -> PathBuf {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/e2e-venv/bin/python3");
    std::env::var_os("RINGWAY_VENV").map_or(own, |venv| PathBuf::from(venv).join("bin/python3"))
}
