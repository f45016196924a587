//! What is said about a configuration: alerts, warnings, notices, each with its place and remedy.
//!
//! Messages are collected, so that one run shows all of them, and rendered at the end: haproxy's own first line, then
//! the line of the file with a caret under what is meant, then what to do about it. The excerpt is written here rather
//! than by a crate: annotate-snippets frames it with a header and an origin line that haproxy's first line already is.

use super::source::{Sources, Span};
use std::fmt::Write as _;

/// Severity, in haproxy's words as printed in brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// `-dD` diagnostics only.
    Diag,
    Notice,
    Warning,
    /// An error: the configuration is refused.
    Alert,
}

/// How a message begins. haproxy has four ways, by the stage that speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Form {
    /// `config : parsing [file:line] : text`, of keywords; without a span as [`Form::Config`].
    #[default]
    Parsing,
    /// `config : parsing [file:line]: text`, of the lexer and the oldest keywords.
    ParsingTight,
    /// `config : Parsing [file:line]: text`, of what is compiled once a section is whole.
    Late,
    /// As [`Form::ParsingTight`] without the excerpt: what the configuration itself says by `.notice` and its kin.
    Said,
    /// `config : text`. A span only gives the excerpt.
    Config,
    /// `text`, of what is found after parsing. A span only gives the excerpt.
    Bare,
}

/// One message. `text` is what follows `parsing [file:line] : ` on haproxy's first line.
#[derive(Clone, Debug)]
pub struct Diag {
    pub severity: Severity,
    /// `None` where no line is to blame.
    pub span: Option<Span>,
    pub text: String,
    /// What to do about it, printed below the excerpt.
    pub help: Option<String>,
    pub form: Form,
}

/// Collects every message of one run, in order.
#[derive(Debug, Default, Clone)]
pub struct Diags {
    pub list: Vec<Diag>,
}

impl Diags {
    pub fn push(
        &mut self,
        severity: Severity,
        span: Option<Span>,
        text: impl Into<String>,
    ) -> &mut Diag {
        self.list.push(Diag {
            severity,
            span,
            text: text.into(),
            help: None,
            form: Form::default(),
        });
        self.list.last_mut().expect("just pushed")
    }
    pub fn alert(&mut self, span: Span, text: impl Into<String>) -> &mut Diag {
        self.push(Severity::Alert, Some(span), text)
    }
    pub fn warning(&mut self, span: Span, text: impl Into<String>) -> &mut Diag {
        self.push(Severity::Warning, Some(span), text)
    }
    pub fn notice(&mut self, span: Span, text: impl Into<String>) -> &mut Diag {
        self.push(Severity::Notice, Some(span), text)
    }
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|d| d.severity == Severity::Alert)
    }
    pub fn has_warnings(&self) -> bool {
        self.list.iter().any(|d| d.severity == Severity::Warning)
    }

    /// Every message as it goes to standard error, each line ended. `pid` stands in the parentheses.
    pub fn render(&self, sources: &Sources, pid: u32, options: &RenderOptions) -> String {
        let mut out = String::new();
        let mut banner = options.banner.as_ref();
        for diag in self.list.iter().filter(|d| options.shows(d.severity)) {
            // haproxy introduces itself before the first warning or alert, not before notices.
            if let Some(who) = banner.take_if(|_| diag.severity >= Severity::Warning) {
                let notice = options.label(Severity::Notice, pid);
                let (name, version, path) = (&who.name, &who.version, &who.path);
                let _ = writeln!(out, "{notice}{name} version is {version}");
                let _ = writeln!(out, "{notice}path to executable is {path}");
            }
            diag.render(sources, pid, options, &mut out);
        }
        out
    }
}

impl Diag {
    pub fn help(&mut self, text: impl Into<String>) -> &mut Self {
        self.help = Some(text.into());
        self
    }

    /// Chooses how the first line begins.
    pub fn form(&mut self, form: Form) -> &mut Self {
        self.form = form;
        self
    }

    /// haproxy's `parsing [file:line]: ` without the space before the colon.
    pub fn tight(&mut self) -> &mut Self {
        self.form(Form::ParsingTight)
    }

    fn render(&self, sources: &Sources, pid: u32, options: &RenderOptions, out: &mut String) {
        out.push_str(&options.label(self.severity, pid));
        let place = self
            .span
            .and_then(|span| Some((span, sources.get(span.file)?)));
        let form = match (self.form, place) {
            (Form::Parsing | Form::ParsingTight | Form::Late | Form::Said, None) => Form::Config,
            (form, _) => form,
        };
        if form != Form::Bare {
            out.push_str("config : ");
        }
        if let (Form::Parsing | Form::ParsingTight | Form::Late | Form::Said, Some((span, file))) =
            (form, place)
        {
            let space = if form == Form::Parsing { " " } else { "" };
            let parsing = if form == Form::Late {
                "Parsing"
            } else {
                "parsing"
            };
            let _ = write!(out, "{parsing} [{}:{}]{space}: ", file.name, span.line);
        }
        out.push_str(&self.text);
        out.push('\n');
        if form != Form::Said
            && let Some((span, file)) = place
            && let Some(line) = (span.line as usize)
                .checked_sub(1)
                .and_then(|i| file.lines.get(i))
        {
            excerpt(span, line, options, out);
        }
        if let Some(help) = &self.help {
            let _ = writeln!(out, "{}= help: {help}", " ".repeat(GUTTER));
        }
    }
}

/// Who speaks, said once before the first warning or alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Banner {
    /// Name in `<name> version is`; haproxy prints its own.
    pub name: String,
    pub version: String,
    /// What `/proc/self/exe` says.
    pub path: String,
}

/// How messages are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RenderOptions {
    /// Colours for a terminal.
    pub color: bool,
    /// Alerts only.
    pub quiet_warnings: bool,
    /// `-dD`: diagnostics too.
    pub diag: bool,
    /// The two lines haproxy begins with.
    pub banner: Option<Banner>,
}

impl RenderOptions {
    fn shows(&self, severity: Severity) -> bool {
        match severity {
            Severity::Alert => true,
            Severity::Warning | Severity::Notice => !self.quiet_warnings,
            Severity::Diag => self.diag && !self.quiet_warnings,
        }
    }

    /// `[ALERT]    (4242) : `: the name padded to 11 columns, as 2.6 prints all four.
    fn label(&self, severity: Severity, pid: u32) -> String {
        let (name, color) = match severity {
            Severity::Diag => ("[DIAG]", "36"),
            Severity::Notice => ("[NOTICE]", "32"),
            Severity::Warning => ("[WARNING]", "33"),
            Severity::Alert => ("[ALERT]", "31"),
        };
        format!("{} ({pid}) : ", self.paint(&format!("{name:<10}"), color))
    }

    fn paint(&self, text: &str, color: &str) -> String {
        if self.color {
            format!("\x1b[1;{color}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Columns before the `|` of an excerpt: five for the line number and a space.
const GUTTER: usize = 6;
/// Columns of the file's text shown; a longer line is cut to a window around the span.
const WIDTH: usize = 120;
/// Columns kept before the span when the window is moved.
const BEFORE: usize = 30;
/// Bytes laid out on either side of the span's start. Above 4 times [`WIDTH`], as a character has up to 4 bytes.
const NEAR: usize = 1_024;
const TAB: usize = 8;
const CUT: &str = "...";

/// The line, and under it carets from `span.col` for `span.len` bytes, at least one.
fn excerpt(span: Span, line: &[u8], options: &RenderOptions, out: &mut String) {
    // What is far from the span is never shown; a line of megabytes need not be laid out for it.
    let near = line.len().min((span.col as usize).saturating_sub(NEAR))
        ..line.len().min(span.col as usize + NEAR);
    let (cut_before, cut_after) = (near.start > 0, near.end < line.len());
    let span_col = span.col as usize - near.start;
    let cells = cells(&line[near]);
    let total = cells.last().map_or(0, |c| c.end);
    let column_of = |byte: usize| {
        cells
            .iter()
            .find(|c| c.byte >= byte)
            .map_or(total, |c| c.start)
    };
    let start = column_of(span_col);
    let end = column_of(span_col + span.len as usize).max(start + 1);

    let from = if total <= WIDTH || start < WIDTH - BEFORE {
        0
    } else {
        start - BEFORE
    };
    let to = from + WIDTH;
    let mut text: String = cells
        .iter()
        .filter(|c| c.start >= from && c.end <= to)
        .map(|c| c.text.as_str())
        .collect();
    // A tab or escape cut by the window's edge leaves less than a cell behind; keep the carets under their bytes.
    let skipped = cells
        .iter()
        .find(|c| c.start >= from)
        .map_or(0, |c| c.start - from);
    text.insert_str(0, &" ".repeat(skipped));
    let lead = if from > 0 || cut_before { CUT } else { "" };
    let trail = if total > to || cut_after { CUT } else { "" };
    let _ = writeln!(
        out,
        "{:>5} | {}",
        span.line,
        format!("{lead}{text}{trail}").trim_end()
    );
    let carets = options.paint(&"^".repeat(end.min(to.max(start + 1)) - start), "31");
    let _ = writeln!(
        out,
        "{} | {}{carets}",
        " ".repeat(GUTTER - 1),
        " ".repeat(lead.len() + start - from)
    );
}

/// A piece of a line as shown: which byte it begins at, which columns it takes.
struct Cell {
    byte: usize,
    start: usize,
    end: usize,
    text: String,
}

/// Tabs become spaces up to the next stop; control characters and bytes that are not UTF-8 become `\xHH`.
fn cells(line: &[u8]) -> Vec<Cell> {
    let mut cells: Vec<Cell> = Vec::with_capacity(line.len());
    let mut byte = 0;
    let mut put = |byte: usize, text: &dyn Fn(usize) -> String| {
        let start = cells.last().map_or(0, |c| c.end);
        let text = text(start);
        let end = start + text.chars().count();
        cells.push(Cell {
            byte,
            start,
            end,
            text,
        });
    };
    for chunk in line.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\t' => put(byte, &|start| " ".repeat(TAB - start % TAB)),
                '\u{feff}' => put(byte, &|_| "\\u{feff}".to_owned()),
                c if c.is_control() => put(byte, &|_| format!("\\x{:02x}", u32::from(c))),
                c => put(byte, &|_| c.to_string()),
            }
            byte += c.len_utf8();
        }
        for b in chunk.invalid() {
            put(byte, &|_| format!("\\x{b:02x}"));
            byte += 1;
        }
    }
    cells
}

/// At most three of `candidates` that `word` may have been meant for, the nearest first.
///
/// Near is a third of the word's length in edits (a swap of neighbours counts as one), at least one edit; of words
/// equally near, those that begin alike come first, then those listed first.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    const MOST: usize = 3;
    // Beyond this no keyword is near, and the comparison takes time with the product of both lengths.
    if word.is_empty() || word.len() > 64 {
        return Vec::new();
    }
    let allowed = (word.chars().count() / 3).max(1);
    let alike = |candidate: &str| {
        word.bytes()
            .zip(candidate.bytes())
            .take_while(|(a, b)| a == b)
            .count()
    };
    let mut near: Vec<(usize, usize, &str)> = candidates
        .into_iter()
        .filter(|c| c.len().abs_diff(word.len()) <= allowed * 4)
        .map(|c| {
            (
                strsim::damerau_levenshtein(word, c),
                usize::MAX - alike(c),
                c,
            )
        })
        .filter(|(distance, ..)| *distance <= allowed)
        .collect();
    near.sort_by_key(|&(distance, alike, _)| (distance, alike));
    near.dedup_by_key(|&mut (.., c)| c);
    near.into_iter().take(MOST).map(|(.., c)| c).collect()
}

/// haproxy's tail of an "unknown keyword" line: `; did you mean 'balance' maybe ?`, or nothing.
pub fn did_you_mean(near: &[&str]) -> String {
    near.first().map_or_else(String::new, |best| {
        format!("; did you mean '{best}' maybe ?")
    })
}

#[cfg(test)]
mod tests;
