//! The same configuration and the same bytes to Ringway and to haproxy 2.6, and what each writes
//! about it, field by field.
//!
//! Masked are only dates, process ids, ports the kernel chose and timers (their sign is kept: -1
//! means "never got that far"). Known differences between 2.6 and the 3.4 that Ringway stands for
//! are replaced one by one where they occur, with the reason beside.

mod bodies;
mod checks;
mod choices;
mod commands;
mod consumers;
mod endings;
mod http;
mod http_logs;
mod keys;
mod lines;
mod metrics;
mod pages;
mod rules;
mod server_side;
mod services;

use std::path::PathBuf;
use std::time::Duration;

use crate::support::{Daemon, Launch, UdpLog, balancer, oracle, port, within};

/// One of the two programs in a scenario: its ports and its logs.
struct Side {
    program: PathBuf,
    front: u16,
    log: UdpLog,
}

impl Side {
    fn new(program: PathBuf) -> Self {
        Self {
            program,
            front: port(),
            log: UdpLog::new(),
        }
    }

    /// Starts with two log targets, a usual `defaults` with `defaults` added, and a `listen l` on
    /// `front` with `body`.
    #[track_caller]
    fn start(&self, defaults: &str, body: &str) -> Daemon {
        let config = format!(
            "global\n nbthread 1\n log 127.0.0.1:{} local0\n log stdout format raw local1\ndefaults\n mode tcp\n log global\n \
             balance roundrobin\n timeout connect 2s\n timeout client 5s\n timeout server 5s\n{defaults}\
             listen l\n bind 127.0.0.1:{}\n{body}",
            self.log.port, self.front
        );
        Launch::of(self.program.clone(), &config).start()
    }

    /// Waits until `n` lines came, so that the next connection finds the last one gone.
    fn settled(&self, n: usize) {
        within(Duration::from_secs(8), || self.log.all().len() >= n);
    }

    /// The log lines that came, once there are `n` and none follows: those of UDP, then those on
    /// standard output, both masked. `names` are ports and what they are to be called.
    fn lines(&self, daemon: &Daemon, n: usize, names: &[(u16, &str)]) -> Vec<String> {
        within(Duration::from_secs(8), || self.log.all().len() >= n);
        std::thread::sleep(Duration::from_millis(150));
        let said = daemon.output();
        // What the start says there (alerts, warnings, notices, excerpts of the file) is no log line.
        let printed = said
            .lines()
            .filter(|line| !line.starts_with(['[', ' ']))
            .map(|line| format!("stdout: {line}"));
        let sent = self.log.all();
        let sent = sent.iter().map(|line| format!("udp: {}", line.trim_end()));
        let mut names = names.to_vec();
        names.push((self.front, "FRONT"));
        sent.chain(printed)
            .map(|line| mask(&line, &names))
            // haproxy's own HTTP client is a proxy of its own; Ringway has none.
            .filter(|line| !line.contains("<HTTPCLIENT>"))
            .collect()
    }
}

/// What `scenario` gives with us and with haproxy, run at once.
#[track_caller]
fn both<T: Send>(scenario: impl Fn(&Side) -> T + Sync) -> [T; 2] {
    std::thread::scope(|scope| {
        let theirs = scope.spawn(|| scenario(&Side::new(oracle())));
        let ours = scenario(&Side::new(balancer()));
        let theirs = theirs.join();
        [
            ours,
            theirs.unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
        ]
    })
}

/// Runs `scenario` with both programs at once and compares what it gives, which must not be empty
/// unless `scenario` says so by an empty line.
#[track_caller]
fn same(scenario: impl Fn(&Side) -> Vec<String> + Sync) {
    let [ours, theirs] = both(scenario);
    assert!(
        !theirs.is_empty(),
        "haproxy wrote nothing: the scenario is wrong"
    );
    let differing: Vec<_> = (0..ours.len().max(theirs.len()))
        .filter(|&i| ours.get(i) != theirs.get(i))
        .map(|i| format!("ours:    {:?}\nhaproxy: {:?}", ours.get(i), theirs.get(i)))
        .collect();
    assert!(
        differing.is_empty(),
        "{} of {} lines differ:\n{}",
        differing.len(),
        theirs.len(),
        differing.join("\n")
    );
}

/// Replaces what differs from run to run.
fn mask(line: &str, names: &[(u16, &str)]) -> String {
    let words: Vec<_> = line.split(' ').collect();
    let masked = words.iter().enumerate().map(|(i, word)| {
        // Five timers of a request stand before its status; five counts of connections do not.
        let status = words.get(i + 1).is_some_and(|w| w.parse::<i16>().is_ok());
        match word.split('/').count() {
            5 if status => mask_timers(word),
            _ => mask_word(word, names),
        }
    });
    let text = masked.collect::<Vec<_>>().join(" ");
    mask_date(&text)
}

/// Timers by their sign alone.
fn mask_timers(word: &str) -> String {
    let masked = word.split('/').map(|t| match t.as_bytes().first() {
        Some(b'-') => "-1",
        Some(b'+') => "+T",
        _ => "T",
    });
    masked.collect::<Vec<_>>().join("/")
}

fn mask_word(word: &str, names: &[(u16, &str)]) -> String {
    if word.starts_with('[') && word.ends_with(']') && word.len() == 26 {
        return "[DATE]".to_owned();
    }
    if let Some((tag, _)) = word.strip_suffix("]:").and_then(|w| w.split_once('[')) {
        return format!("{tag}[PID]:");
    }
    if let Some((address, port)) = word.rsplit_once(':') {
        let (port, rest) = port.split_at(
            port.find(|c: char| !c.is_ascii_digit())
                .unwrap_or(port.len()),
        );
        if address.starts_with("127.") && !port.is_empty() {
            let named = names.iter().find(|(n, _)| n.to_string() == port);
            return format!("{address}:{}{rest}", named.map_or("PORT", |(_, name)| name));
        }
    }
    if word.split('/').count() == 3 && word.split('/').all(is_timer) {
        return mask_timers(word);
    }
    match word
        .strip_suffix("ms,")
        .or_else(|| word.strip_suffix("ms."))
    {
        Some(number) if number.parse::<u64>().is_ok() => word.replace(number, "N"),
        _ => word.to_owned(),
    }
}

fn is_timer(text: &str) -> bool {
    let digits = text.trim_start_matches(['-', '+']);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

/// `<134>Nov 20 23:06:58 ` becomes `<134>DATE `.
fn mask_date(line: &str) -> String {
    match line.split_once('>') {
        Some((pri, rest)) if rest.get(15..16) == Some(" ") && rest.get(6..7) == Some(" ") => {
            format!("{pri}>DATE{}", &rest[15..])
        }
        _ => line.to_owned(),
    }
}
