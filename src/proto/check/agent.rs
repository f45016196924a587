//! What an agent says about its server: one line of words (configuration.txt 5.2, `agent-check`).

use super::{Answer, Status, shown};

/// A weight as an agent gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// `75%` of the one in the file.
    Percent(u32),
    /// `weight:12` (3.1).
    Absolute(u32),
}

/// Administrative states an agent may want.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    Ready,
    Drain,
    Maint,
}

/// One line, read.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Report {
    pub weight: Option<Weight>,
    pub maxconn: Option<u32>,
    /// The last one said.
    pub wish: Option<Wish>,
    /// `up`; or `down`, `stopped`, `fail`.
    pub up: Option<bool>,
    /// What is shown of it.
    pub info: String,
}

/// The line of an agent, once it is whole.
pub fn agent_answer(bytes: &[u8], ended: bool) -> Option<Answer> {
    let end = bytes.iter().position(|b| matches!(b, b'\r' | b'\n'));
    match end {
        Some(end) => Some(Answer {
            info: String::from_utf8_lossy(&bytes[..end]).into_owned(),
            ..Answer::plain(Status::L7Ok)
        }),
        None if ended => Some(Answer {
            info: "Ignoring incomplete line from agent".to_owned(),
            ..Answer::plain(Status::L7Tout)
        }),
        None => None,
    }
}

/// Reads a line. Words are parted by blanks, tabs and commas; a sharp begins a description.
pub fn report(line: &str) -> Report {
    let (words, description) = match line.split_once('#') {
        // A sharp inside of a word is a part of it.
        Some((words, rest)) if words.is_empty() || words.ends_with([' ', '\t', ',']) => {
            (words, rest.trim())
        }
        _ => (line, ""),
    };
    let mut report = Report::default();
    let (mut state, mut unknown) = ("", "");
    for word in words.split([' ', '\t', ',']).filter(|w| !w.is_empty()) {
        match &*word.to_ascii_lowercase() {
            "ready" => report.wish = Some(Wish::Ready),
            "drain" => report.wish = Some(Wish::Drain),
            "maint" => report.wish = Some(Wish::Maint),
            "up" => (report.up, state) = (Some(true), word),
            "down" | "stopped" | "fail" => (report.up, state) = (Some(false), word),
            lower => {
                let maxconn = lower.strip_prefix("maxconn:").and_then(|n| n.parse().ok());
                let weight = lower.strip_prefix("weight:").unwrap_or(lower);
                let percent = weight
                    .strip_suffix('%')
                    .and_then(number)
                    .map(Weight::Percent);
                let absolute = lower
                    .strip_prefix("weight:")
                    .and_then(number)
                    .filter(|&w| w <= 256)
                    .map(Weight::Absolute);
                match (maxconn, percent.or(absolute)) {
                    (Some(limit), _) => report.maxconn = Some(limit),
                    (None, Some(weight)) => report.weight = Some(weight),
                    (None, None) if unknown.is_empty() => unknown = word,
                    (None, None) => {}
                }
            }
        }
    }
    let said = if description.is_empty() {
        unknown
    } else {
        description
    };
    report.info = match (report.up, said) {
        (Some(_), "") => format!("via agent : {state}"),
        (Some(_), said) => format!("via agent : {state} ({})", shown(said.as_bytes())),
        (None, _) if !unknown.is_empty() => {
            format!("agent reports an error : {}", shown(unknown.as_bytes()))
        }
        (None, _) => String::new(),
    };
    report
}

/// Digits alone.
fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words and texts as haproxy 2.6.12 shows them, but for `weight:`, which is of 3.1.
    #[test]
    fn the_words_of_agents() {
        let told = |line: &str| {
            let r = report(line);
            (r.up, r.info)
        };
        let up = Some(true);
        let down = Some(false);
        for (line, want) in [
            ("up", (up, "via agent : up")),
            ("UP", (up, "via agent : UP")),
            ("75% garbage up", (up, "via agent : up (garbage)")),
            (
                "up 10% maxconn:5 ready#foo bar",
                (up, "via agent : up (ready#foo)"),
            ),
            ("stopped # x", (down, "via agent : stopped (x)")),
            (
                "stopped 50% #hello, world",
                (down, "via agent : stopped (hello, world)"),
            ),
            (
                "down#because it is so",
                (None, "agent reports an error : down#because"),
            ),
            ("-5%", (None, "agent reports an error : -5%")),
            ("75%", (None, "")),
            ("maint drain ready", (None, "")),
        ] {
            assert_eq!(told(line), (want.0, want.1.to_owned()), "{line}");
        }
        let all = report("up 10%,maxconn:5\tdrain");
        assert_eq!(
            (all.weight, all.maxconn, all.wish),
            (Some(Weight::Percent(10)), Some(5), Some(Wish::Drain))
        );
        assert_eq!(report("maint drain ready").wish, Some(Wish::Ready));
        assert_eq!(report("weight:12").weight, Some(Weight::Absolute(12)));
        assert_eq!(report("weight:12%").weight, Some(Weight::Percent(12)));
        assert_eq!(
            report("weight:300").info,
            "agent reports an error : weight:300"
        );
    }

    #[test]
    fn a_line_ends_with_its_first_cr_or_lf() {
        let line = |bytes: &[u8], ended| agent_answer(bytes, ended).map(|a| (a.status, a.info));
        assert_eq!(
            line(b"up\r\ndown\n", false),
            Some((Status::L7Ok, "up".into()))
        );
        assert_eq!(line(b"up", false), None);
        assert_eq!(
            line(b"up", true),
            Some((Status::L7Tout, "Ignoring incomplete line from agent".into()))
        );
    }
}
