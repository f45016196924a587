//! The balancers: who takes part, with which configuration, started and stopped as children.

use crate::proc::Meter;
use crate::scenario::Site;
use crate::{Fallible, sys};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const START_LIMIT: Duration = Duration::from_secs(10);
const STOP_LIMIT: Duration = Duration::from_secs(3);
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// Descriptors of a balancer that are not sessions: listeners, rings, pipes, logs.
const SPARE_FILES: u64 = 500;
/// Pipes of the tuned haproxy. It plans two descriptors for each; its own rule (a quarter of `maxconn`) would not
/// leave room for the idle sessions under a limit of 20,000 files.
const TUNED_PIPES: u32 = 100;

/// Everything is compared with this one.
pub(crate) const BASELINE: &str = "haproxy";

/// One balancer that takes part.
#[derive(Debug, Clone)]
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    pub(crate) binary: PathBuf,
    tuning: Tuning,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tuning {
    /// Nothing but what every contestant has.
    Defaults,
    /// What a careful haproxy operator sets for bulk. Both directions are named, since `splice-auto` alone was seen
    /// to copy downloads and to splice uploads only (2.6.12: 0.81 against 0.29 s/GB with 8 streams).
    Splice,
}

/// All that may take part, the baseline first.
pub(crate) fn contestants(ringway: &Path, haproxy: &Path) -> Vec<Contestant> {
    let one = |name, binary: &Path, tuning| Contestant {
        name,
        binary: binary.to_owned(),
        tuning,
    };
    vec![
        one(BASELINE, haproxy, Tuning::Defaults),
        one("haproxy-tuned", haproxy, Tuning::Splice),
        one("ringway", ringway, Tuning::Defaults),
        one("ringway-control", ringway, Tuning::Defaults),
    ]
}

/// Two ways through the balancer, each with its origin.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    first: u16,
}

impl Ports {
    const BASE: u16 = 22_000;
    const EACH: u16 = 4;
    const SLOTS: u32 = 250;

    /// Ports of a measurement. They move on from one to the next, so that none meets the TIME_WAIT of the last.
    pub(crate) fn nth(measurement: u32) -> Self {
        let slot = u16::try_from(measurement % Self::SLOTS).unwrap_or(0);
        Self {
            first: Self::BASE + slot * Self::EACH,
        }
    }

    pub(crate) fn front(self) -> SocketAddr {
        self.at(0)
    }

    pub(crate) fn beside(self) -> SocketAddr {
        self.at(1)
    }

    pub(crate) fn origin(self) -> SocketAddr {
        self.at(2)
    }

    pub(crate) fn beside_origin(self) -> SocketAddr {
        self.at(3)
    }

    fn at(self, offset: u16) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.first + offset).into()
    }
}

/// Sessions that fit under a limit of open files; a relayed session holds two.
pub(crate) fn sessions_max(open_files: u64) -> usize {
    usize::try_from(open_files.saturating_sub(SPARE_FILES) / 2).unwrap_or(usize::MAX)
}

impl Contestant {
    pub(crate) fn at_defaults(name: &'static str, binary: &Path) -> Self {
        Self {
            name,
            binary: binary.to_owned(),
            tuning: Tuning::Defaults,
        }
    }

    /// The configuration; the same to the byte for all whose tuning is the same.
    fn config(&self, site: Site, ports: Ports, threads: usize, sessions_max: usize) -> String {
        let mut text = format!("global\n    nbthread {threads}\n    maxconn {sessions_max}\n");
        if self.tuning == Tuning::Splice {
            let _infallible = writeln!(
                text,
                "    tune.pipesize 1048576\n    maxpipes {TUNED_PIPES}"
            );
        }
        let _infallible = writeln!(
            text,
            "\ndefaults\n    mode {}\n    maxconn {sessions_max}\n    timeout connect 5s\n    timeout client 60s\n    \
             timeout server 60s",
            if site == Site::Tcp { "tcp" } else { "http" }
        );
        if self.tuning == Tuning::Splice {
            text.push_str(
                "    option splice-auto\n    option splice-request\n    option splice-response\n",
            );
        }
        let listen = |text: &mut String, name, front, origin| {
            let _infallible = writeln!(
                text,
                "\nlisten {name}\n    bind {front}\n    server origin {origin}"
            );
        };
        match site {
            Site::Tcp => listen(&mut text, "rig", ports.front(), ports.origin()),
            Site::Http { line } => {
                text.push_str(&http_site(line, ports));
            }
            Site::Rules(count) => text.push_str(&rules_site(count, ports)),
        }
        listen(&mut text, "beside", ports.beside(), ports.beside_origin());
        text
    }

    /// First line that the binary says about its version.
    pub(crate) fn version(&self) -> Fallible<String> {
        let output = Command::new(&self.binary)
            .arg("-v")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("{} -v: {error}", self.binary.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(text.lines().next().unwrap_or("says no version").to_owned())
    }

    /// Starts it for `site` on `cores` and returns once both of its ports answer.
    pub(crate) fn start(
        &self,
        site: Site,
        ports: Ports,
        cores: &[usize],
        sessions_max: usize,
        dir: &Path,
    ) -> Fallible<Balancer> {
        let text = self.config(site, ports, cores.len(), sessions_max);
        self.start_with(&text, &[ports.front(), ports.beside()], cores, dir)
    }

    /// Starts it with this configuration, and returns once all of `fronts` answer.
    pub(crate) fn start_with(
        &self,
        text: &str,
        fronts: &[SocketAddr],
        cores: &[usize],
        dir: &Path,
    ) -> Fallible<Balancer> {
        let config = dir.join(format!("{}.cfg", self.name));
        let said = dir.join(format!("{}.log", self.name));
        let failed = |path: &Path, error| format!("{}: {error}", path.display());
        fs::write(&config, text).map_err(|error| failed(&config, error))?;
        let out = File::create(&said).map_err(|error| failed(&said, error))?;
        let err = out.try_clone().map_err(|error| failed(&said, error))?;
        let mut command = Command::new(&self.binary);
        command
            .arg("-db")
            .arg("-f")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err);
        sys::die_with_us(&mut command);
        // A child inherits the cores of the thread that starts it, before it has made a thread of its own.
        let ours = sys::allowed_cores().map_err(|error| format!("sched_getaffinity: {error}"))?;
        let pin = |cores: &[usize]| {
            sys::pin_thread(cores).map_err(|error| format!("sched_setaffinity: {error}"))
        };
        pin(cores)?;
        let child = command.spawn().map_err(|error| failed(&self.binary, error));
        pin(&ours)?;
        let mut balancer = Balancer {
            child: child?,
            name: self.name,
            cores: cores.to_vec(),
            said,
        };
        balancer.wait_until_up(fronts)?;
        Ok(balancer)
    }
}

/// What a small site has: an ACL that every request is tested with, and the client's address in a header.
fn http_site(line: &str, ports: Ports) -> String {
    let origin = ports.origin();
    let mut text = String::new();
    if !line.is_empty() {
        let _infallible = writeln!(text, "    {line}");
    }
    let _infallible = writeln!(
        text,
        "\nfrontend rig\n    bind {}\n    option forwardfor\n    acl static path_beg /static/\n    use_backend \
         static if static\n    default_backend dynamic\n\nbackend static\n    server origin {origin}\n\nbackend \
         dynamic\n    server origin {origin}",
        ports.front()
    );
    text
}

/// `count` rules on the path, each with a backend of its own.
fn rules_site(count: usize, ports: Ports) -> String {
    let mut text = format!("\nfrontend rig\n    bind {}\n", ports.front());
    for rule in 1..=count {
        let _infallible = writeln!(text, "    use_backend b{rule} if {{ path_beg /p{rule}/ }}");
    }
    for rule in 1..=count {
        let _infallible = writeln!(
            text,
            "\nbackend b{rule}\n    server origin {}",
            ports.origin()
        );
    }
    text
}

/// A running child; killed, at the latest, when dropped.
#[derive(Debug)]
pub(crate) struct Balancer {
    child: Child,
    name: &'static str,
    cores: Vec<usize>,
    said: PathBuf,
}

impl Balancer {
    pub(crate) fn meter(&self) -> Meter {
        Meter {
            pid: self.pid(),
            cores: self.cores.clone(),
        }
    }

    fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    fn wait_until_up(&mut self, fronts: &[SocketAddr]) -> Fallible<()> {
        let deadline = Instant::now() + START_LIMIT;
        for address in fronts {
            while TcpStream::connect_timeout(address, Duration::from_millis(200)).is_err() {
                if let Ok(Some(status)) = self.child.try_wait() {
                    return Err(self.with_words(&format!("ended before it was up ({status})")));
                }
                if Instant::now() > deadline {
                    return Err(self.with_words(&format!(
                        "does not listen on {address} after {START_LIMIT:?}"
                    )));
                }
                thread::sleep(LOOK_AGAIN);
            }
        }
        Ok(())
    }

    /// `what` about this balancer, and the last of what it said itself.
    pub(crate) fn with_words(&self, what: &str) -> String {
        let said = fs::read_to_string(&self.said).unwrap_or_default();
        let lines: Vec<&str> = said.lines().collect();
        let last = lines[lines.len().saturating_sub(10)..].join("\n    ");
        let said = if last.is_empty() {
            String::new()
        } else {
            format!("; it said:\n    {last}")
        };
        format!("{}: {what}{said}", self.name)
    }

    /// Ends it, and says so if it had ended by itself.
    pub(crate) fn stop(mut self) -> Fallible<()> {
        if let Ok(Some(status)) = self.child.try_wait() {
            return Err(self.with_words(&format!("died under load ({status})")));
        }
        sys::terminate(self.pid()).map_err(|error| format!("kill: {error}"))?;
        let deadline = Instant::now() + STOP_LIMIT;
        while Instant::now() < deadline {
            if let Ok(Some(_)) = self.child.try_wait() {
                return Ok(());
            }
            thread::sleep(LOOK_AGAIN);
        }
        Err(self.with_words(&format!("still runs {STOP_LIMIT:?} after SIGTERM; killed")))
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        // Nothing to do when it has ended already; std knows and does not signal a reused pid.
        let _ended_already = self.child.kill();
        let _reaped_already = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Contestant> {
        contestants(Path::new("/r"), Path::new("/h"))
    }

    #[test]
    fn contestants_at_defaults_get_the_same_configuration_to_the_byte() {
        let texts: Vec<String> = all()
            .iter()
            .filter(|one| one.tuning == Tuning::Defaults)
            .map(|one| one.config(Site::Tcp, Ports::nth(3), 1, 900))
            .collect();
        assert_eq!(texts.len(), 3);
        assert!(texts.iter().all(|text| *text == texts[0]));
        assert!(!texts[0].contains("splice") && !texts[0].contains("pipe"));
        assert!(texts[0].contains("bind 127.0.0.1:22012\n    server origin 127.0.0.1:22014\n"));
    }

    #[test]
    fn the_tuned_haproxy_splices_through_large_pipes() {
        let tuned = all()
            .into_iter()
            .find(|one| one.name == "haproxy-tuned")
            .expect("it takes part");
        let text = tuned.config(Site::Tcp, Ports::nth(0), 1, 900);
        assert!(
            text.contains("tune.pipesize 1048576\n") && text.contains("option splice-response\n")
        );
    }

    #[test]
    fn a_site_of_rules_has_a_backend_for_each() {
        let text = rules_site(2, Ports::nth(3));
        assert!(text.contains(
            "    bind 127.0.0.1:22012\n    use_backend b1 if { path_beg /p1/ }\n    use_backend b2 if { path_beg /p2/ }\n"
        ));
        assert!(text.ends_with("backend b2\n    server origin 127.0.0.1:22014\n"));
    }

    #[test]
    fn an_http_site_takes_its_line_into_the_defaults() {
        let all = all();
        let text = all[0].config(
            Site::Http {
                line: "http-reuse always",
            },
            Ports::nth(0),
            1,
            900,
        );
        assert!(text.contains("timeout server 60s\n    http-reuse always\n\nfrontend rig\n"));
        assert!(text.contains("    mode http\n") && text.contains("option forwardfor\n"));
    }

    #[test]
    fn ports_stay_in_their_thousand() {
        for measurement in [0, 249, 250, u32::MAX] {
            let ports = Ports::nth(measurement);
            assert!((22_000..=22_999).contains(&ports.front().port()));
            assert!((22_000..=22_999).contains(&ports.beside_origin().port()));
        }
    }

    #[test]
    fn sessions_leave_room_for_other_descriptors() {
        assert_eq!(sessions_max(20_000), 9_750);
        assert_eq!(sessions_max(100), 0);
    }

    #[test]
    fn a_balancer_that_ends_at_once_is_told_with_its_words() {
        let dir = std::env::temp_dir().join(format!("bench-rigs-test-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("a writable temporary directory");
        let refusing = Contestant {
            name: "ls",
            binary: "/bin/ls".into(),
            tuning: Tuning::Defaults,
        };
        let told = refusing
            .start(Site::Tcp, Ports::nth(249), &[0], 100, &dir)
            .expect_err("ls is no balancer");
        fs::remove_dir_all(&dir).expect("it is ours");
        assert!(
            told.contains("ended before it was up") && told.contains("it said:"),
            "{told}"
        );
    }
}
