//! The house keeps its order: each module uses only those that `src/lib.rs` lists before it, and no file
//! grows beyond what a reader can hold.

use std::path::{Path, PathBuf};

/// Lines a source file may have, its tests aside.
const LINES_MAX: usize = 1000;
/// Files of one idea that may be longer, with their reason.
const LONGER: [(&str, usize); 1] = [
    // The relay's one state machine, its stages in order of life.
    ("proxy/tcp.rs", 1500),
];

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(dir).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            out.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
    out.sort();
    out
}

/// Modules in the order of the table in `src/lib.rs`.
fn order(root: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(root.join("src/lib.rs")).expect("the library");
    let name = |line: &str| Some(line.strip_prefix("//! | [`")?.split_once('`')?.0.to_owned());
    text.lines().filter_map(name).collect()
}

/// Modules of the crate that a line of code names.
fn used<'a>(line: &'a str, order: &'a [String]) -> impl Iterator<Item = &'a String> {
    let code = line.split("//").next().unwrap_or("");
    order.iter().filter(move |module| {
        code.match_indices("crate::").any(|(at, _)| {
            let rest = &code[at + "crate::".len()..];
            let whole = |text: &str| {
                text.strip_prefix(module.as_str())
                    .is_some_and(|r| !r.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
            };
            rest.strip_prefix('{').map_or_else(
                || whole(rest),
                |list| list.split([',', '}']).any(|part| whole(part.trim())),
            )
        })
    })
}

#[test]
fn each_module_uses_only_those_listed_before_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let order = order(root);
    assert!(order.len() >= 10, "the table in src/lib.rs lists {order:?}");
    let mut wrong = Vec::new();
    for (place, module) in order.iter().enumerate() {
        for path in sources(&root.join("src").join(module)) {
            let text = std::fs::read_to_string(&path).expect("a source");
            for (number, line) in text.lines().enumerate() {
                let above = used(line, &order).filter(|used| order[place + 1..].contains(used));
                wrong.extend(above.map(|used| {
                    format!("{}:{}: {module} uses {used}", path.display(), number + 1)
                }));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_source_file_grows_beyond_what_a_reader_can_hold() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut long = Vec::new();
    for path in sources(&root) {
        let name = path
            .strip_prefix(&root)
            .expect("below it")
            .display()
            .to_string();
        if name.ends_with("tests.rs") || name.contains("/tests/") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a source");
        let lines = text.lines().take_while(|l| *l != "#[cfg(test)]").count();
        let most = LONGER
            .iter()
            .find(|(n, _)| *n == name)
            .map_or(LINES_MAX, |l| l.1);
        if lines > most {
            long.push(format!("{name}: {lines} lines, {most} allowed"));
        }
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn uses_are_seen_alone_and_in_lists_but_not_in_comments() {
    let order: Vec<String> = ["base", "lang", "io"].map(str::to_owned).to_vec();
    let of = |line: &str| used(line, &order).cloned().collect::<Vec<_>>();
    assert_eq!(of("use crate::{base, lang::diag};"), ["base", "lang"]);
    assert_eq!(of("    crate::io::Op::new() // crate::lang"), ["io"]);
    assert!(of("use crate::iota;").is_empty());
}
