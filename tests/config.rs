//! Configurations and what is said about them: each `tests/config/*/NAME.cfg` beside its `NAME.out`.
//!
//! `RINGWAY_UPDATE_CASES=1 cargo test --test config_cases` writes the `.out` files anew; read them as a diff.
//! `broken/` holds one mistake a file, hence one message; `valid/` and `seeds/` are told apart by their `.out`.
//! A first line `# strict` reads the file as `--strict` does.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ringway::config::{Input, LoadInputs, Loaded, World, load};
use ringway::lang::cond::Predicates;
use ringway::lang::diag::RenderOptions;
use ringway::lang::env::Env;

/// A machine that is the same everywhere.
struct Nowhere;

impl World for Nowhere {
    fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, String> {
        match host {
            "localhost" => Ok(vec![IpAddr::from([127, 0, 0, 1])]),
            "web.example" => Ok(vec![IpAddr::from([192, 0, 2, 10])]),
            _ => Err("name not known".to_owned()),
        }
    }
    fn user(&self, name: &str) -> Option<u32> {
        ["root", "ha", "haproxy", "nobody"]
            .iter()
            .position(|&n| n == name)
            .map(|n| n as u32 * 100)
    }
    fn group(&self, name: &str) -> Option<u32> {
        self.user(name)
    }
}

fn read(path: &Path) -> Loaded {
    let bytes = std::fs::read(path).expect("a case can be read");
    let name = path
        .file_name()
        .expect("a file")
        .to_string_lossy()
        .into_owned();
    load(&LoadInputs {
        strict: bytes.starts_with(b"# strict"),
        inputs: vec![Input::Text { name, bytes }],
        env: Env::from_pairs([("HOME", "/home/ha"), ("PORT", "8080")]),
        predicates: Predicates {
            version: "3.4.0".to_owned(),
            ..Predicates::default()
        },
        shards: 4,
        world: &Nowhere,
        ..LoadInputs::default()
    })
}

fn verdict(loaded: &Loaded) -> &'static str {
    match (&loaded.config, loaded.has_listeners()) {
        (None, _) => "refused",
        (Some(_), true) => "valid",
        (Some(_), false) => "valid, but nothing to listen on",
    }
}

fn cases(dir: &str) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/config")
        .join(dir);
    let mut out: Vec<PathBuf> = std::fs::read_dir(dir)
        .expect("the cases lie there")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "cfg"))
        .collect();
    out.sort();
    out
}

/// Compares every case of `dir` with its `.out`; returns what was read for further checks.
fn compare(dir: &str) -> Vec<(PathBuf, Loaded)> {
    let update = std::env::var_os("RINGWAY_UPDATE_CASES").is_some();
    let mut wrong = Vec::new();
    let mut out = Vec::new();
    for path in cases(dir) {
        let loaded = read(&path);
        let shown = loaded
            .diags
            .render(&loaded.sources, 1, &RenderOptions::default());
        let got = format!("{shown}=> {}\n", verdict(&loaded));
        let expected = path.with_extension("out");
        if update {
            std::fs::write(&expected, &got).expect("the case can be written");
        } else if std::fs::read_to_string(&expected).unwrap_or_default() != got {
            wrong.push(format!("{}:\n{got}", path.display()));
        }
        out.push((path, loaded));
    }
    assert!(
        wrong.is_empty(),
        "{} cases differ from their .out:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    out
}

#[test]
fn every_mistake_gives_its_one_message() {
    let cases = compare("broken");
    assert!(
        cases.len() >= 60,
        "only {} broken configurations",
        cases.len()
    );
    for (path, loaded) in cases {
        assert_eq!(
            loaded.diags.list.len(),
            1,
            "{} says more or less than one thing",
            path.display()
        );
        assert!(loaded.config.is_none(), "{} is accepted", path.display());
    }
}

#[test]
fn what_is_right_is_accepted_with_the_warnings_expected() {
    for (path, loaded) in compare("valid") {
        assert!(loaded.config.is_some(), "{} is refused", path.display());
    }
}

#[test]
fn seed_configurations_are_accepted() {
    for (path, loaded) in compare("seeds") {
        assert!(loaded.config.is_some(), "{} is refused", path.display());
    }
}

/// A machine that has every user and knows every name.
struct Anywhere;

impl World for Anywhere {
    fn resolve(&self, _: &str) -> Result<Vec<IpAddr>, String> {
        Ok(vec![IpAddr::from([192, 0, 2, 1])])
    }
    fn user(&self, _: &str) -> Option<u32> {
        Some(1000)
    }
    fn group(&self, _: &str) -> Option<u32> {
        Some(1000)
    }
}

/// Runs every `*.cfg` of the directory in `RINGWAY_CORPUS` (nothing without it): none may panic, and each refusal
/// has its reasons, which are printed beside the verdict of `expected.tsv` (file, verdict of haproxy 3.4, …).
#[test]
fn real_configurations_are_refused_for_real_reasons() {
    let Some(dir) = std::env::var_os("RINGWAY_CORPUS").map(PathBuf::from) else {
        return;
    };
    let expected = std::fs::read_to_string(dir.join("expected.tsv")).unwrap_or_default();
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&dir)
        .expect("the corpus lies there")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "cfg"))
        .collect();
    paths.sort();
    for path in paths {
        let loaded = load(&LoadInputs {
            inputs: vec![Input::Path(path.clone())],
            dir: Some(dir.clone()),
            predicates: Predicates {
                version: "3.4.0".to_owned(),
                ..Predicates::default()
            },
            world: &Anywhere,
            ..LoadInputs::default()
        });
        let name = path.file_name().expect("a file").to_string_lossy();
        let theirs = expected
            .lines()
            .find(|l| l.starts_with(&*name))
            .unwrap_or("")
            .replace('\t', " ");
        let refused = loaded.diags.has_errors();
        assert_eq!(loaded.config.is_none(), refused, "{name}");
        println!("{theirs}\t=> {}", verdict(&loaded));
        for diag in &loaded.diags.list {
            println!("    {:?}: {}", diag.severity, diag.text);
        }
    }
}

/// Words, lines and bytes of all cases moved about: whatever comes of it, nothing panics, and nothing is refused
/// without a reason or accepted with one.
#[test]
fn nonsense_is_refused_with_a_reason_and_never_panics() {
    let texts: Vec<Vec<u8>> = ["broken", "valid", "seeds"]
        .iter()
        .flat_map(|dir| cases(dir))
        .map(|path| std::fs::read(path).expect("a case can be read"))
        .collect();
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed >> 33).expect("31 bits") % below.max(1)
    };
    for round in 0..3000 {
        let text = &texts[random(texts.len())];
        let mut words: Vec<Vec<u8>> = text
            .split_inclusive(|b| b" \n".contains(b))
            .map(<[u8]>::to_vec)
            .collect();
        for _ in 0..=random(4) {
            let (at, other) = (random(words.len()), &texts[random(texts.len())]);
            match random(6) {
                0 => drop(words.remove(at)),
                1 => words.insert(
                    at,
                    other[..random(other.len())]
                        .rsplit(|&b| b == b'\n')
                        .next()
                        .expect("one")
                        .to_vec(),
                ),
                2 => words[at].push(b"\\\"'#$%\0\xff:-,@(9"[random(14)]),
                3 => words[at].truncate(1),
                4 => words.swap(at, 0),
                _ => words.push(other.clone()),
            }
            if words.is_empty() {
                words.push(Vec::new());
            }
        }
        let bytes = words.concat();
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        let inputs = LoadInputs {
            inputs: vec![Input::Text {
                name: "t.cfg".to_owned(),
                bytes,
            }],
            world: &Anywhere,
            ..LoadInputs::default()
        };
        let loaded = load(&inputs);
        assert_eq!(
            loaded.config.is_none(),
            loaded.diags.has_errors(),
            "round {round}:\n{shown}"
        );
        let _: String = loaded
            .diags
            .render(&loaded.sources, 1, &RenderOptions::default());
    }
}

/// The list in the README is the keyword table, not a text of its own.
#[test]
fn the_readme_lists_the_keywords_of_the_table() {
    const END: &str = "<!-- end of keywords -->";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(&path).expect("the README is there");
    let (before, rest) = readme
        .split_once("<!-- keywords:")
        .expect("its mark is there");
    let (mark, rest) = rest.split_once('\n').expect("a line");
    let (_, after) = rest.split_once(END).expect("its second mark is there");
    let table = ringway::config::keyword::table_markdown();
    let wanted = format!("{before}<!-- keywords:{mark}\n{table}\n{END}{after}");
    if std::env::var_os("RINGWAY_UPDATE_CASES").is_some() {
        std::fs::write(&path, wanted).expect("written");
    } else {
        assert!(
            readme == wanted,
            "run RINGWAY_UPDATE_CASES=1 cargo test --test config_cases readme"
        );
    }
}
