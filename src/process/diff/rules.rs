//! Lists of rules as what they do and ask, and which of them came, went or stayed.

use std::collections::HashMap;

use super::Side;
use crate::config::http::Http;
use crate::lang::acl::Condition;
use crate::lang::lexer::read_lines;
use crate::lang::rules::Rule;
use crate::lang::source::{FileId, Span};

/// One rule: its line, and what is compared of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) text: String,
    pub(super) meaning: String,
}

/// The words of every line of a configuration, as the language reads them.
#[derive(Debug, Default)]
pub(super) struct Words {
    lines: HashMap<(FileId, u32), Vec<String>>,
}

impl Words {
    pub(super) fn new(
        sources: &crate::lang::source::Sources,
        inputs: &crate::config::LoadInputs<'_>,
    ) -> Self {
        let mut env = inputs.env.clone();
        let mut ignored = crate::lang::diag::Diags::default();
        let mut out = Self::default();
        for at in 0..sources.files.len() {
            let Ok(at) = u16::try_from(at) else { break };
            let file = FileId(at);
            for line in read_lines(sources, file, &mut env, &inputs.predicates, &mut ignored) {
                let words = line.words.iter().map(|w| w.text().into_owned()).collect();
                out.lines.insert((file, line.span.line), words);
            }
        }
        out
    }

    /// The line at `span`; its part before the condition.
    fn of(&self, span: Span) -> (String, String) {
        let words = self.lines.get(&(span.file, span.line));
        let words = words.map_or(&[][..], Vec::as_slice);
        let quoted = |words: &[String]| {
            let shown = words.iter().map(|w| {
                if w.is_empty() || w.contains([' ', '\t']) {
                    format!("{w:?}")
                } else {
                    w.clone()
                }
            });
            shown.collect::<Vec<_>>().join(" ")
        };
        let end = words.iter().rposition(|w| w == "if" || w == "unless");
        (quoted(words), quoted(&words[..end.unwrap_or(words.len())]))
    }
}

/// The rules of a proxy, a list for each kind that is evaluated by itself.
pub(super) fn lists(http: &Http, side: &Side) -> Vec<(&'static str, Vec<Line>)> {
    let line = |span: Option<Span>, when: Option<&Condition>| {
        let (text, action) = span.map_or_else(Default::default, |span| side.words.of(span));
        let asks = when.map_or_else(String::new, |when| when.meaning(&side.config.lists));
        Line {
            text,
            meaning: format!("{action} {asks}"),
        }
    };
    let rules = |rules: &[Rule]| -> Vec<Line> {
        let each = rules.iter();
        each.map(|rule| line(Some(rule.span), rule.when.as_ref()))
            .collect()
    };
    let asked = |list: &[Condition]| -> Vec<Line> {
        list.iter()
            .map(|when| line(when.span(), Some(when)))
            .collect()
    };
    let mut out = vec![
        ("tcp-request connection", rules(&http.tcp_connection)),
        ("tcp-request session", rules(&http.tcp_session)),
        ("tcp-request content", rules(&http.tcp_request)),
        ("tcp-response content", rules(&http.tcp_response)),
        ("http-request", rules(&http.request)),
        ("http-response", rules(&http.response)),
        ("http-after-response", rules(&http.after_response)),
    ];
    let redirects = http.redirects.iter();
    let redirects = redirects.map(|(_, when, span)| line(Some(*span), when.as_ref()));
    out.push(("redirect", redirects.collect()));
    let switching = http.switching.iter();
    let switching = switching.map(|s| line(Some(s.span), s.when.as_ref()));
    out.push(("use_backend", switching.collect()));
    let servers = http.use_server.iter();
    let servers = servers.map(|s| line(Some(s.span), s.when.as_ref()));
    out.push(("use-server", servers.collect()));
    out.push(("force-persist", asked(&http.force_persist)));
    out.push(("ignore-persist", asked(&http.ignore_persist)));
    out.push(("monitor fail", asked(&http.monitor_fail)));
    if let Some(stats) = &http.stats {
        out.push(("stats http-request", rules(&stats.rules)));
        out.push(("stats admin", asked(&stats.admin)));
    }
    out
}

/// What is compared by itself in [`lists`] is taken out.
pub(super) fn without_rules(http: &Http) -> Http {
    let mut http = http.clone();
    http.tcp_connection.clear();
    http.tcp_session.clear();
    http.tcp_request.clear();
    http.tcp_response.clear();
    http.request.clear();
    http.response.clear();
    http.after_response.clear();
    http.redirects.clear();
    http.switching.clear();
    http.use_server.clear();
    http.force_persist.clear();
    http.ignore_persist.clear();
    http.monitor_fail.clear();
    if let Some(stats) = &mut http.stats {
        stats.rules.clear();
        stats.admin.clear();
    }
    http
}

/// What became of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Gone(Line),
    Came(Line),
}

/// Comparisons that are worth their time; longer lists are compared as sets.
const WORTH_IT: usize = 4_000_000;

/// The least that turns one list into the other, in order: their order decides what they do.
pub(super) fn steps(old: &[Line], new: &[Line]) -> Vec<Step> {
    let same = |(a, b): &(&Line, &Line)| a.meaning == b.meaning;
    let head = old.iter().zip(new).take_while(same).count();
    let (old, new) = (&old[head..], &new[head..]);
    let tail = old
        .iter()
        .rev()
        .zip(new.iter().rev())
        .take_while(same)
        .count();
    let (old, new) = (&old[..old.len() - tail], &new[..new.len() - tail]);
    let mut out = Vec::new();
    if old.len().saturating_mul(new.len()) > WORTH_IT {
        let lacks = |list: &[Line], line: &Line| !list.iter().any(|l| l.meaning == line.meaning);
        out.extend(
            old.iter()
                .filter(|l| lacks(new, l))
                .cloned()
                .map(Step::Gone),
        );
        out.extend(
            new.iter()
                .filter(|l| lacks(old, l))
                .cloned()
                .map(Step::Came),
        );
        return out;
    }
    // Lengths of the longest common subsequences of the ends.
    let width = new.len() + 1;
    let mut common = vec![0u32; (old.len() + 1) * width];
    for (i, a) in old.iter().enumerate().rev() {
        for (j, b) in new.iter().enumerate().rev() {
            common[i * width + j] = if a.meaning == b.meaning {
                common[(i + 1) * width + j + 1] + 1
            } else {
                common[(i + 1) * width + j].max(common[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < old.len() || j < new.len() {
        let both = i < old.len() && j < new.len();
        if both && old[i].meaning == new[j].meaning {
            (i, j) = (i + 1, j + 1);
        } else if j == new.len()
            || i < old.len() && common[(i + 1) * width + j] >= common[i * width + j + 1]
        {
            out.push(Step::Gone(old[i].clone()));
            i += 1;
        } else {
            out.push(Step::Came(new[j].clone()));
            j += 1;
        }
    }
    out
}
