//! Commands about things of which there are none here: stick tables, maps, caches, peers, resolvers, certificates,
//! traces. Lists of them are empty in haproxy's layout, and a name is answered as a wrong one is there.

use super::{Answer, World};

pub(super) fn show_table(words: &[String], _: &World<'_>) -> Answer {
    named(words, "", "No such table")
}

pub(super) fn set_table(words: &[String], _: &World<'_>) -> Answer {
    table_of(
        words,
        "Required arguments: <table> key <key> [data.<store_data_type> <value>]*",
    )
}

pub(super) fn clear_table(words: &[String], _: &World<'_>) -> Answer {
    table_of(
        words,
        "Required arguments: <table> \"data.<store_data_type>\" <operator> <value> or <table> key <key>",
    )
}

fn table_of(words: &[String], wanted: &str) -> Answer {
    Answer::error(if words.is_empty() {
        wanted
    } else {
        "No such table"
    })
}

const NO_MAP: &str = "Unknown map identifier. Please use #<id> or <file>.";

pub(super) fn show_map(words: &[String], _: &World<'_>) -> Answer {
    named(words, "# id (file) description\n", NO_MAP)
}

/// `get`, `add`, `set`, `del`, `clear` and `prepare map`.
pub(super) fn map(words: &[String], _: &World<'_>) -> Answer {
    Answer::error(if words.is_empty() {
        "Missing map identifier."
    } else {
        NO_MAP
    })
}

pub(super) fn commit_map(words: &[String], _: &World<'_>) -> Answer {
    let has_version = words.first().is_some_and(|word| word.starts_with('@'));
    Answer::error(if has_version {
        NO_MAP
    } else {
        "Missing version number."
    })
}

pub(super) fn show_cache(_: &[String], _: &World<'_>) -> Answer {
    Answer::done()
}

pub(super) fn show_resolvers(words: &[String], _: &World<'_>) -> Answer {
    named(words, "", "Can't find that resolvers section")
}

/// `dict` and `-` are options.
pub(super) fn show_peers(words: &[String], _: &World<'_>) -> Answer {
    let names = words
        .iter()
        .position(|word| word != "dict" && word != "-")
        .map_or(&[][..], |at| &words[at..]);
    named(names, "", "No such peers")
}

pub(super) fn show_certificates(words: &[String], _: &World<'_>) -> Answer {
    named(
        words,
        "",
        "Can't display the certificate: Not found or the certificate is a bundle!",
    )
}

/// `show ssl ca-file` and `crl-file`.
pub(super) fn show_files(words: &[String], _: &World<'_>) -> Answer {
    named(
        words,
        "# filename\n",
        "Can't display the file: it is not referenced by the configuration!",
    )
}

pub(super) fn show_lists(words: &[String], _: &World<'_>) -> Answer {
    let names = words.strip_prefix(&["-n".to_owned()][..]).unwrap_or(words);
    named(names, "", "didn't find the specified filename")
}

pub(super) fn show_ocsp(words: &[String], _: &World<'_>) -> Answer {
    named(words, "", "Certificate ID does not match any certificate.")
}

pub(super) fn show_tls_keys(words: &[String], _: &World<'_>) -> Answer {
    named(
        words,
        "# id (file)\n",
        "'show tls-keys' unable to locate referenced filename",
    )
}

const TRACES: &str = "Supported trace sources and states (.=stopped, w=waiting, R=running) :\n";

pub(super) fn show_trace(words: &[String], _: &World<'_>) -> Answer {
    named(words, TRACES, "No such trace source")
}

pub(super) fn trace(words: &[String], _: &World<'_>) -> Answer {
    match words.first().map(String::as_str) {
        None => Answer::Text(format!(
            "{TRACES} [.] 0          : not a source, will immediately stop all traces\n"
        )),
        Some("0") => Answer::Text("All traces now stopped\n".into()),
        Some(_) => Answer::error("No such trace source"),
    }
}

pub(super) fn show_events(words: &[String], _: &World<'_>) -> Answer {
    named(
        words,
        "Supported events sinks are listed below. Add -0(zero), -w(wait), -n(new). Any key to stop\n",
        "No such event sink",
    )
}

/// The list where no name is given; there is nothing of any name.
fn named(words: &[String], list: &str, nothing: &str) -> Answer {
    if words.is_empty() {
        Answer::Text(list.to_owned())
    } else {
        Answer::error(nothing)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::ask;

    #[test]
    fn lists_of_what_there_is_none_of_are_empty_in_their_layout() {
        for (command, answer) in [
            ("show table", "\n"),
            ("show map", "# id (file) description\n\n"),
            ("show peers dict", "\n"),
            ("show resolvers", "\n"),
            ("show cache", "\n"),
            ("show ssl cert", "\n"),
            ("show ssl crt-list -n", "\n"),
            ("show ssl crl-file", "# filename\n\n"),
            ("show tls-keys", "# id (file)\n\n"),
            ("trace 0", "All traces now stopped\n\n"),
        ] {
            assert_eq!(ask(command), answer, "{command}");
        }
    }

    #[test]
    fn a_name_of_what_there_is_none_of_is_a_wrong_one() {
        for (command, answer) in [
            ("show table t", "No such table\n\n"),
            ("clear table t", "No such table\n\n"),
            (
                "show map m",
                "Unknown map identifier. Please use #<id> or <file>.\n\n",
            ),
            ("commit map m", "Missing version number.\n\n"),
            ("show peers - p", "No such peers\n\n"),
            ("show resolvers r", "Can't find that resolvers section\n\n"),
            ("show events buf0", "No such event sink\n\n"),
            ("trace h1", "No such trace source\n\n"),
        ] {
            assert_eq!(ask(command), answer, "{command}");
        }
    }
}
