//! `reqadd`, `reqrep`, `rspdel` and their kin of haproxy before 2.1: what they meant for a whole line of a message as
//! a rule of today, where one says the same; else an error that shows how to say it.

use super::keyword::{B, D, F, Keyword, L, MANY, Sections};
use super::raw::ProxyRaw;
use super::rule_lines::{parsed, push};
use super::words::{Args, Said};
use crate::lang::lexer::Word;
use crate::lang::rules::RuleSet;

const DFLB: Sections = D | F | L | B;

macro_rules! old {
    ($($name:literal $usage:literal $now:literal),* $(,)?) => { &[$(
        Keyword::new($name, DFLB, (0, MANY), $usage, concat!("obsolete: works as '", $now, "' where that says the same"), |p, a| line(p, a, $now))
            .http_only()
    ),*] };
}

/// Every keyword of this file, with the action that replaced it.
pub(super) static TABLE: &[Keyword<ProxyRaw>] = old![
    "reqadd" "<header> [{if|unless} <condition>]" "http-request add-header",
    "reqallow" "<regex> [if <condition>]" "http-request allow",
    "reqdel" "<regex> [{if|unless} <condition>]" "http-request del-header",
    "reqdeny" "<regex> [if <condition>]" "http-request deny",
    "reqiallow" "<regex> [if <condition>]" "http-request allow",
    "reqidel" "<regex> [{if|unless} <condition>]" "http-request del-header",
    "reqideny" "<regex> [if <condition>]" "http-request deny",
    "reqipass" "<regex>" "http-request allow",
    "reqirep" "<regex> <text> [{if|unless} <condition>]" "http-request replace-header",
    "reqitarpit" "<regex> [if <condition>]" "http-request tarpit",
    "reqpass" "<regex>" "http-request allow",
    "reqrep" "<regex> <text> [{if|unless} <condition>]" "http-request replace-uri",
    "reqtarpit" "<regex> [if <condition>]" "http-request tarpit",
    "rspadd" "<header> [{if|unless} <condition>]" "http-response add-header",
    "rspdel" "<regex> [{if|unless} <condition>]" "http-response del-header",
    "rspdeny" "<regex> [if <condition>]" "http-response deny",
    "rspidel" "<regex> [{if|unless} <condition>]" "http-response del-header",
    "rspideny" "<regex> [if <condition>]" "http-response deny",
    "rspirep" "<regex> <text> [{if|unless} <condition>]" "http-response replace-header",
    "rsprep" "<regex> <text> [{if|unless} <condition>]" "http-response replace-header",
];

/// What a line becomes: the words of a rule, and words that each alternative of its condition begins with.
#[derive(Debug, PartialEq, Eq)]
struct New {
    action: Vec<String>,
    test: Vec<String>,
}

fn line(proxy: &mut ProxyRaw, args: &mut Args<'_, '_>, now: &'static str) -> Result<(), Said> {
    let name = args.name;
    let set = if name.starts_with("req") {
        RuleSet::HttpRequest
    } else {
        RuleSet::HttpResponse
    };
    let action = now.rsplit(' ').next().unwrap_or(now);
    let first = args.expect("a text")?;
    let text = first.text();
    let second = if name.ends_with("rep") {
        Some(args.expect("a text and its replacement")?.text())
    } else {
        None
    };
    let rest = args.rest();
    args.at = args.line.words.len();
    let ignore_case = name.starts_with("reqi") || name.starts_with("rspi");
    let new = translated(action, set, &text, second.as_deref(), ignore_case);
    let new = new.filter(|_| !name.ends_with("pass"));
    let words = new.and_then(|new| with_condition(&new, rest, first));
    let Some(words) = words else {
        let text = format!(
            "The '{name}' directive is not supported anymore since HAProxy 2.1. Use '{now}' instead."
        );
        let help = "lines of this kind are translated where a rule says exactly the same; this one has to be \
                    rewritten by hand";
        return Err(args.fail_help(first.span, text, help));
    };
    let rule = parsed(proxy, args, set, &words)?;
    let shown: Vec<String> = words.iter().map(shown).collect();
    let spelling = format!("{} {}", set.name(), shown.join(" "));
    args.cx.obsolete(args.head, &format!("'{name}'"), &spelling);
    push(proxy, args, set, rule);
    Ok(())
}

/// A word as it has to be written.
fn shown(word: &Word) -> String {
    let text = word.text();
    if text.is_empty() || text.contains([' ', '\t', '#', '"', '\'', '\\', '$']) {
        format!("'{}'", text.replace('\'', "'\\''"))
    } else {
        text.into_owned()
    }
}

/// The rule's words with the line's own condition behind them.
fn with_condition(new: &New, rest: &[Word], first: &Word) -> Option<Vec<Word>> {
    let word = |text: &String| Word {
        bytes: text.clone().into_bytes(),
        span: first.span,
    };
    let mut words: Vec<Word> = new.action.iter().map(word).collect();
    if new.test.is_empty() {
        words.extend_from_slice(rest);
        return Some(words);
    }
    words.push(word(&"if".to_owned()));
    words.extend(new.test.iter().map(word));
    if let Some((opens, terms)) = rest.split_first() {
        if opens.bytes != b"if" {
            return None;
        }
        for term in terms {
            words.push(term.clone());
            if term.bytes == b"or" || term.bytes == b"||" {
                words.extend(new.test.iter().map(word));
            }
        }
    }
    Some(words)
}

/// A rule that says the same as `action` did for lines of a message that match `text`.
fn translated(
    action: &str,
    set: RuleSet,
    text: &str,
    replacement: Option<&str>,
    ignore_case: bool,
) -> Option<New> {
    let plain = |action: Vec<String>| New {
        action,
        test: Vec::new(),
    };
    let case = if ignore_case { "(?i)" } else { "" };
    if let Some(replacement) = replacement {
        if let Some((search, with)) = of_request_line(text, replacement)
            && set == RuleSet::HttpRequest
        {
            let search = format!("{case}{search}");
            return Some(plain(vec!["replace-uri".into(), search, escaped(&with)]));
        }
        let (name, search) = of_header(text)?;
        let (own, with) = replacement.split_once(':')?;
        if !own.eq_ignore_ascii_case(&name) {
            return None;
        }
        let search = format!("{case}{search}");
        let with = escaped(with.trim_start_matches(' '));
        return Some(plain(vec!["replace-header".into(), name, search, with]));
    }
    match action {
        "add-header" => {
            let (name, value) = text.split_once(':')?;
            let value = value.trim_matches(' ');
            let fine = is_name(name) && !value.is_empty();
            fine.then(|| plain(vec!["add-header".into(), name.to_owned(), escaped(value)]))
        }
        "del-header" => {
            let (name, search) = of_header(text)?;
            let any = matches!(&*search, "" | "^" | "^.*" | "^.*$" | ".*" | "$");
            any.then(|| plain(vec!["del-header".into(), name]))
        }
        action => {
            let (name, search) = of_header(text)?;
            let fetch = if set == RuleSet::HttpRequest {
                "req.fhdr"
            } else {
                "res.fhdr"
            };
            let mut test = vec!["{".to_owned(), format!("{fetch}({name})")];
            test.extend(["-m".to_owned(), "reg".to_owned()]);
            if ignore_case {
                test.push("-i".to_owned());
            }
            test.extend(["--".to_owned(), search, "}".to_owned()]);
            Some(New {
                action: vec![action.to_owned()],
                test,
            })
        }
    }
}

/// Percent signs were nothing special then.
fn escaped(text: &str) -> String {
    text.replace('%', "%%")
}

fn is_name(text: &str) -> bool {
    let token = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    !text.is_empty() && text.bytes().all(token)
}

/// `^Name:…`: the header's name and the expression for its value, which has no blanks around it.
fn of_header(text: &str) -> Option<(String, String)> {
    let (name, rest) = text.strip_prefix('^')?.split_once(':')?;
    if !is_name(name) {
        return None;
    }
    let blanks = ["[ ]*", "\\s*", " *", " ?", "\\ ", " "];
    let cut = blanks.iter().find_map(|blank| rest.strip_prefix(blank));
    let search = match cut {
        // `.*` may be all of the value or none of it.
        None if rest.is_empty() || rest.starts_with(".*") => rest.to_owned(),
        None => return None,
        Some(value) => format!("^{value}"),
    };
    Some((name.to_owned(), search))
}

/// A method, a blank and the beginning of a target, replaced by the same method and another target. The last group
/// took the rest of the line and has to stay its end.
fn of_request_line(text: &str, replacement: &str) -> Option<(String, String)> {
    const METHODS: [&str; 4] = ["^([^ :]*) ", "^([^: ]*) ", "^([^ ]*) ", "^(\\w+) "];
    const WITH_SLASH: [&str; 3] = ["^([^ :]*\\ /)", "^([^ :]* /)", "^([^ ]* /)"];
    let (search, with) = match METHODS.iter().find_map(|m| text.strip_prefix(m)) {
        Some(target) => (
            target.to_owned(),
            replacement.strip_prefix("\\1 ")?.to_owned(),
        ),
        None => {
            let target = WITH_SLASH.iter().find_map(|m| text.strip_prefix(m))?;
            let with = replacement.strip_prefix("\\1")?;
            (format!("/{target}"), format!("/{with}"))
        }
    };
    let groups = search.matches('(').count() - search.matches("(?:").count();
    let last = format!("\\{}", groups + 1);
    let ends = (search.ends_with("(.*)") || search.ends_with("(.*)$")) && with.ends_with(&last);
    if !ends || search.contains("\\(") || with.contains(' ') {
        return None;
    }
    // The method's group is gone: the others move up.
    let mut out = String::new();
    let mut chars = with.chars();
    while let Some(c) = chars.next() {
        out.push(c);
        if c == '\\' {
            let next = chars.next()?;
            match next.to_digit(10) {
                Some(0 | 1) => return None,
                Some(group) => out.push(char::from_digit(group - 1, 10)?),
                None => out.push(next),
            }
        }
    }
    Some((format!("^{search}"), out))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(action: &str, text: &str, with: Option<&str>, ignore_case: bool) -> String {
        match translated(action, RuleSet::HttpRequest, text, with, ignore_case) {
            None => String::new(),
            Some(new) => [new.action, new.test].concat().join(" "),
        }
    }

    #[test]
    fn a_line_of_old_becomes_the_rule_that_says_the_same() {
        let replaced = |text: &str, with: &str| of("replace-uri", text, Some(with), false);
        assert_eq!(
            replaced("^([^ :]*) /policies/(.*)", "\\1 /static/policies/\\2"),
            "replace-uri ^/policies/(.*) /static/policies/\\1"
        );
        assert_eq!(
            replaced("^([^ ]* /)httpbin[/]?(.*)", "\\1\\2"),
            "replace-uri ^/httpbin[/]?(.*) /\\1"
        );
        assert_eq!(
            of("replace-header", "^Host: (.*)", Some("Host: x.\\1%"), true),
            "replace-header Host (?i)^(.*) x.\\1%%"
        );
        assert_eq!(
            of("add-header", "X-Proto: https", None, false),
            "add-header X-Proto https"
        );
        for text in ["^X-A:", "^X-A:.*", "^X-A: .*", "^X-A:[ ]*.*"] {
            assert_eq!(
                of("del-header", text, None, false),
                "del-header X-A",
                "{text}"
            );
        }
        assert_eq!(
            of("deny", "^User-Agent: .*bad", None, true),
            "deny { req.fhdr(User-Agent) -m reg -i -- ^.*bad }"
        );
    }

    #[test]
    fn what_no_rule_says_exactly_is_not_translated() {
        for (action, text, with) in [
            ("replace-uri", "^GET (.*)", Some("POST \\1")),
            ("replace-uri", "^([^ :]*) /a", Some("\\1 /b")),
            ("replace-uri", "^([^ :]*) /a(.*)", Some("\\1 /b\\2/c")),
            ("replace-header", "^Host: (.*)", Some("X: \\1")),
            ("del-header", "X-A", None),
            ("del-header", "^X-A: 1", None),
            ("del-header", "^X-.*:", None),
            ("deny", "^GET /x", None),
            ("add-header", "nonsense", None),
        ] {
            assert_eq!(of(action, text, with, false), "", "{action} {text}");
        }
    }
}
