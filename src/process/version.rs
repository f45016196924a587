//! What `-v`, `-vv` and the predicates of the configuration say about this program.

use nix::sys::utsname;

use crate::lang::cond::Predicates;

/// haproxy version whose behaviour we follow.
pub const COMPATIBLE: &str = "3.4.0";

/// Day of this version, as `show info` writes it.
pub const RELEASED: &str = "2026/11/20";

/// `3.4.0-ringway-0.1.0`, as in `show info` and the first line of `-v`.
pub fn full() -> String {
    format!("{COMPATIBLE}-ringway-{}", env!("CARGO_PKG_VERSION"))
}

/// The lines of `-v`.
pub fn banner() -> String {
    let os = utsname::uname().map_or_else(
        |_| "unknown".to_owned(),
        |u| {
            [u.sysname(), u.release(), u.version(), u.machine()]
                .map(|part| part.to_string_lossy().into_owned())
                .join(" ")
        },
    );
    format!(
        "HAProxy version {} - runs haproxy configurations, is not haproxy\nStatus: development version.\nRunning on: {os}\n",
        full()
    )
}

/// Build features under haproxy's names: what works here.
pub const FEATURES: &[&str] = &[
    "ACCEPT4",
    "CPU_AFFINITY",
    "EPOLL",
    "GETADDRINFO",
    "LINUX_SPLICE",
    "LINUX_TPROXY",
    "TFO",
    "THREAD",
    "TPROXY",
];

/// haproxy's names for what does not work here.
const ABSENT: &[&str] = &[
    "51DEGREES",
    "DEVICEATLAS",
    "KTLS",
    "LUA",
    "NS",
    "OPENSSL",
    "OT",
    "PCRE",
    "PCRE2",
    "POLL",
    "PROMEX",
    "QUIC",
    "SLZ",
    "SYSTEMD",
    "WURFL",
    "ZLIB",
];

/// The world of `.if` and `-cc`.
pub fn predicates() -> Predicates {
    Predicates {
        version: COMPATIBLE.to_owned(),
        features: FEATURES.to_vec(),
        enabled: vec!["SPLICE", "REUSEPORT", "GETADDRINFO", "EPOLL"],
    }
}

/// Answer of one poller's probe: `Err` says why not and what would change it.
pub type Probe = Result<(), String>;

/// The lines of `-vv`.
pub fn build(uring: &Probe, shards: usize, keywords: usize) -> String {
    let mut features: Vec<(String, &str)> =
        FEATURES.iter().map(|f| (format!("+{f}"), *f)).collect();
    features.extend(ABSENT.iter().map(|f| (format!("-{f}"), *f)));
    features.sort_by_key(|(_, name)| *name);
    let list: Vec<String> = features.into_iter().map(|(text, _)| text).collect();
    let (state, used) = match uring {
        Ok(()) => ("test result OK".to_owned(), "io_uring"),
        Err(why) => (format!("test result FAILED ({why})"), "epoll"),
    };
    format!(
        "{}Feature list : {}\n\nDefault settings :\n  bufsize = 16384, pipesize = 1048576, maxpollevents = 64\n\n\
         Built with multi-threading support (default={shards}).\n\
         Known configuration keywords : {keywords}\n\n\
         Available polling systems :\n   io_uring : pref=400,  {state}\n      epoll : pref=300,  test result OK\n\
         Total: 2 ({} usable), will use {used}.\n",
        banner(),
        list.join(" "),
        if uring.is_ok() { 2 } else { 1 },
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_first_line_names_haproxys_version_before_ours() {
        assert!(super::banner().starts_with("HAProxy version 3.4.0-ringway-0."));
    }
}
