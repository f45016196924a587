//! Fuzz targets without a toolchain of their own: each mutates the small inputs of `corpus/<target>/`, from a seed,
//! for a while. A panic, a failed assertion or a hang leaves the input in a file that the message names.
//!
//! `RINGWAY_FUZZ_SECONDS=600` for so long each (default 2); `RINGWAY_SEED=n` begins elsewhere;
//! `RINGWAY_FUZZ_FILE=path` runs one input through the target named on the command line.

mod driver;
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ringway::io::sim::Random;

/// No input is longer.
const MAX: usize = 20_000;
/// One input takes no longer: whatever does hangs, or may be made to.
const SLOW: Duration = Duration::from_secs(5);
/// Inputs grown at run time from those of the corpus.
const POOL: usize = 400;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    let list = std::fs::read_dir(dir.join(target)).expect("every target has a corpus");
    let mut paths: Vec<PathBuf> = list.map(|e| e.expect("readable").path()).collect();
    paths.sort();
    paths
        .iter()
        .map(|p| std::fs::read(p).expect("readable"))
        .collect()
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(otherwise)
}

/// Runs `target` over its corpus as it is, then over mutants of it until the time is over.
fn fuzz(target: &str, words: &[&str], run: fn(&[u8])) {
    if let Ok(path) = std::env::var("RINGWAY_FUZZ_FILE") {
        return run(&std::fs::read(path).expect("RINGWAY_FUZZ_FILE can be read"));
    }
    let seeds = corpus(target);
    let end = Instant::now() + Duration::from_secs(number("RINGWAY_FUZZ_SECONDS", 2));
    let mut random = Random::new(number("RINGWAY_SEED", 1));
    for input in &seeds {
        check(target, input, run);
    }
    let (mut pool, mut runs) = (seeds.clone(), seeds.len() as u64);
    while Instant::now() < end {
        let input = mutate(&pool, words, &mut random);
        check(target, &input, run);
        runs += 1;
        // Nothing is measured of coverage: mutants of mutants are made by chance, and forgotten by chance.
        if random.chance(2) {
            if pool.len() < POOL {
                pool.push(input);
            } else {
                let at = seeds.len() + random.below(pool.len() - seeds.len());
                pool[at] = input;
            }
        }
    }
    println!("{target}: {runs} inputs without a finding");
}

fn check(target: &str, input: &[u8], run: fn(&[u8])) {
    let began = Instant::now();
    let fine = catch_unwind(AssertUnwindSafe(|| run(input))).is_ok();
    let slow = began.elapsed() > SLOW;
    if fine && !slow {
        return;
    }
    let name = format!("fuzz-{target}-{}.bin", std::process::id());
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, input).expect("the input can be kept");
    let what = if fine { "is slow with" } else { "fails on" };
    panic!(
        "{target} {what} {}: repeat it with RINGWAY_FUZZ_FILE",
        path.display()
    );
}

/// One to eight changes to one of `pool`.
fn mutate(pool: &[Vec<u8>], words: &[&str], r: &mut Random) -> Vec<u8> {
    let mut out = pool[r.below(pool.len())].clone();
    for _ in 0..1 + r.below(8) {
        let at = r.below(out.len() + 1);
        match r.below(9) {
            0 if at < out.len() => out[at] ^= 1 << r.below(8),
            1 if at < out.len() => {
                out[at] = *b"\0\t\r\n :;,=\"'\\(){}[]%$#/?&*+-0919azAZ~\x7f\x80\xff"
                    .get(r.below(44))
                    .unwrap_or(&b'x');
            }
            2 => {
                let end = (at + 1 + r.below(12)).min(out.len());
                out.drain(at..end);
            }
            3 => {
                let end = (at + 1 + r.below(40)).min(out.len());
                let piece = out[at..end].to_vec();
                out.splice(at..at, piece);
            }
            4 => {
                // A piece of another.
                let other = &pool[r.below(pool.len())];
                let from = r.below(other.len() + 1);
                let end = (from + 1 + r.below(200)).min(other.len());
                out.splice(at..at, other[from..end].iter().copied());
            }
            5 => out.truncate(at),
            6 => {
                let text = [
                    "0",
                    "-1",
                    "4294967296",
                    "18446744073709551615",
                    "9223372036854775808",
                ];
                out.splice(at..at, text[r.below(5)].bytes());
            }
            _ if !words.is_empty() => {
                let word = words[r.below(words.len())];
                out.splice(at..at, word.bytes());
            }
            _ => out.insert(at, (r.draw() >> 32) as u8),
        }
    }
    out.truncate(MAX);
    out
}

const HTTP_WORDS: &[&str] = &[
    "\r\n",
    "\r\n\r\n",
    "GET ",
    "POST ",
    "CONNECT ",
    "HTTP/1.1",
    "HTTP/1.0",
    "HTTP/1.1 200 OK\r\n",
    "Content-Length: ",
    "Transfer-Encoding: chunked\r\n",
    "Connection: ",
    "upgrade",
    "close",
    "keep-alive",
    "Host: h\r\n",
    "Expect: 100-continue\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "0\r\n\r\n",
    "5\r\nhello\r\n",
    "Cookie: S=s0",
    "Set-Cookie: S=x",
    "HTTP/1.1 101 S\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
    "HTTP/1.1 204 N\r\n\r\n",
    "ffffffff",
    "\r\n ",
];

#[test]
fn heads() {
    fuzz("head", HTTP_WORDS, ringway::proto::h1::fuzz_all);
}

#[test]
fn chunks() {
    let words = &[
        "\r\n",
        "0\r\n\r\n",
        "5\r\nhello\r\n",
        ";a=b",
        "ffff",
        "x: y\r\n",
        "fffffffffffff",
        "\"",
    ];
    fuzz("chunks", words, ringway::proto::h1::fuzz_chunks);
}

#[test]
fn expressions() {
    fuzz("expression", targets::FETCHES, targets::expression);
}

#[test]
fn log_formats() {
    let words = &[
        "%[",
        "]",
        "%{",
        "}",
        "+Q",
        "-M",
        "+json",
        "+cbor",
        "%%",
        "%ci",
        "%t",
        "%ST",
        "%hr",
        "%hsl",
        "%(name)",
        "%[path,lower]",
        "%Ta",
        "%{+Q}r",
        ",",
        " ",
        "\\",
    ];
    fuzz("logformat", words, targets::log_format);
}

#[test]
fn configurations() {
    fuzz("configuration", targets::KEYWORDS, targets::configuration);
}

#[test]
fn the_http_driver() {
    fuzz("driver", HTTP_WORDS, driver::run);
}

#[test]
fn the_corpus_of_the_driver_leads_to_answers() {
    let inputs = corpus("driver");
    let answers: u64 = inputs.iter().map(|input| driver::play(input)).sum();
    assert!(answers >= 8, "{answers} answers");
}
