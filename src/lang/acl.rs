//! ACLs and conditions (configuration.txt 7.1, 7.2, 7.4).
//!
//! A condition is in disjunctive form, as the language writes it: terms side by side must all hold, `or` begins the
//! next group. Each term is an ACL, which holds if any of its lines does. All of it is three-valued: a test that fails
//! for lack of data which may still come is not decided.

mod index;
mod live;
pub mod told;

use std::cell::Cell;
use std::sync::Arc;

pub use index::{First, SwitchIndex};
use live::Entry;
pub use live::{List, Lists, Live};
pub use told::Told;
use told::{Unwatched, Watch};

use super::diag::{did_you_mean, nearest};
use super::expr::{Cx, Expr, Fault, Needs, Settle};
use super::fetch::Place;
use super::lexer::Word;
use super::pattern::{Builder, Method, Patterns};
use super::sample::{Arena, Value};
use super::source::{FileId, Span};
use super::subject::{ProxyRef, ServerRef, Subject};

/// What a test found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Holds,
    Fails,
    /// Not known before more data came (`inspect-delay`), a body is at hand or a password was verified.
    Later,
}

impl Verdict {
    /// `!` before it.
    #[must_use]
    pub fn negated(self, negated: bool) -> Self {
        match (self, negated) {
            (Self::Holds, true) => Self::Fails,
            (Self::Fails, true) => Self::Holds,
            (same, _) => same,
        }
    }
}

/// One line of an ACL: a criterion, flags and patterns.
#[derive(Clone, Debug)]
pub struct Test {
    expr: Expr,
    live: Arc<Live>,
}

impl Test {
    /// Reads `<criterion> [flags] [operator] <pattern>…`.
    ///
    /// # Errors
    /// haproxy's message about the first mistake.
    pub fn parse(words: &[Word], cx: &mut Cx<'_>) -> Result<Self, Fault> {
        let Some((first, rest)) = words.split_first() else {
            let nowhere = Span {
                file: FileId(0),
                line: 0,
                col: 0,
                len: 0,
            };
            return Err(Self::missing(nowhere));
        };
        let criterion = first.text();
        let read =
            Expr::read(first, true, cx).map_err(|bad| bad.in_acl(first, Some(&criterion)))?;
        let expr = read.expr;
        let default = read.method.or_else(|| Method::default_of(expr.kind()));
        let mut lines = Lines {
            expr: &expr,
            builder: default.map(|method| Builder::new(method, false)),
            default,
            ignore_case: false,
            names_resolved: true,
            id: None,
            files: Vec::new(),
            written: Vec::new(),
            in_file: false,
        };
        lines.flags(first, rest, cx)?;
        let Lines {
            builder,
            id,
            files,
            written,
            ..
        } = lines;
        let Some(builder) = builder else {
            return Err(no_method(first, expr.keyword()));
        };
        let (sets, span) = (&mut cx.vars.lists, first.span);
        let files = files.into_iter();
        let mut lists: Vec<_> = files.map(|(name, of)| sets.file(&name, of, span)).collect();
        lists.push(sets.written(id, expr.keyword(), written, span));
        let live = Live::new(builder.build(), lists);
        sets.note(&live);
        Ok(Self { live, expr })
    }

    /// What is said where no criterion stands at `span`.
    pub fn missing(span: Span) -> Fault {
        Fault::wrong(span, "missing fetch method in ACL expression ''.")
    }

    /// A test that nothing passes, in place of one that cannot be read.
    pub fn never() -> Self {
        Self {
            expr: Expr::never(),
            live: Live::new(Builder::new(Method::Bool, false).build(), Vec::new()),
        }
    }

    pub fn expr(&self) -> &Expr {
        &self.expr
    }
    /// The patterns in force.
    pub fn patterns(&self) -> arc_swap::Guard<Arc<Patterns>> {
        self.live.patterns()
    }

    pub fn holds(&self, subject: &dyn Subject, arena: &Arena) -> Verdict {
        self.decide(subject, arena, &mut Unwatched)
    }

    fn decide(&self, subject: &dyn Subject, arena: &Arena, watch: &mut impl Watch) -> Verdict {
        let mut hit = false;
        watch.test(self);
        if let Some(list) = self.group_list() {
            let user = self.expr.eval(subject, arena);
            if let Some(Value::Str(name)) = user
                && let Some(login) = subject.user(list, name)
            {
                let groups = login.groups.iter().map(|group| group.as_bytes());
                hit = self.patterns().matches_any_name(groups);
                watch.value(self, Value::Str(name), hit, arena);
            }
        } else {
            let patterns = self.patterns();
            self.expr.eval_each(subject, arena, &mut |value| {
                hit = patterns.matches(value, arena);
                watch.value(self, value, hit, arena);
                !hit
            });
        }
        let verdict = if hit {
            Verdict::Holds
        } else if self.expr.waits(subject) {
            Verdict::Later
        } else {
            Verdict::Fails
        };
        watch.test_done(verdict);
        verdict
    }

    fn is_out_of_place(&self, places: &[Place]) -> bool {
        !places.is_empty() && places.iter().all(|place| self.expr.lacks(*place).is_some())
    }

    /// The user list whose groups its patterns name.
    fn group_list(&self) -> Option<u32> {
        (self.live.method == Method::Group)
            .then(|| self.expr.fetch.auth_group())
            .flatten()
    }

    fn settle(&mut self, names: &dyn Settle) -> Result<(), String> {
        self.expr.settle_as("ACL keyword", names)
    }
}

fn no_method(word: &Word, keyword: &str) -> Fault {
    Fault::wrong(
        word.span,
        format!(
            "matching method must be specified first (using '-m') when using a sample fetch of this type ('{keyword}')."
        ),
    )
}

/// What stands behind a criterion, as it is read.
struct Lines<'a> {
    expr: &'a Expr,
    /// `None`: no way of matching is known yet.
    builder: Option<Builder>,
    default: Option<Method>,
    ignore_case: bool,
    /// No `-n`.
    names_resolved: bool,
    /// `-u`: the number of the list of what is written here.
    id: Option<u32>,
    /// What stands in files, and here.
    files: Vec<(String, Vec<Entry>)>,
    written: Vec<Entry>,
    in_file: bool,
}

impl Lines<'_> {
    fn flags(&mut self, criterion: &Word, words: &[Word], cx: &mut Cx<'_>) -> Result<(), Fault> {
        let mut rest = words;
        let mut files = Vec::new();
        while let [word, after @ ..] = rest {
            match (&*word.bytes, after) {
                (b"--", _) => {
                    rest = after;
                    break;
                }
                (b"-i", _) => {
                    self.ignore_case = true;
                    if let Some(builder) = &mut self.builder {
                        builder.ignore_case = true;
                    }
                    rest = after;
                }
                (b"-n", _) => (self.names_resolved, rest) = (false, after),
                (b"-u", [number, after @ ..]) => {
                    self.id = number.text().parse().ok();
                    rest = after;
                }
                (b"-u", []) => rest = after,
                (b"-f", [file, after @ ..]) => {
                    files.push(file);
                    rest = after;
                }
                (b"-m", _) if !files.is_empty() => {
                    let text = "'-m' must only be specified before patterns and files in parsing ACL expression.";
                    return Err(Fault::wrong(word.span, text));
                }
                (b"-m", [method, after @ ..]) => {
                    self.method(method)?;
                    rest = after;
                }
                (b"-M", _) => return Err(Fault::later(word.span, "acl … -M")),
                (b"-f" | b"-m", []) => {
                    let text = format!("'{}' expects an argument.", word.text());
                    return Err(Fault::wrong(word.span, text));
                }
                ([b'-', ..], _) => {
                    let text = format!(
                        "'{}' is not a valid ACL option. Please use '--' before any pattern beginning with a '-'.",
                        word.text()
                    );
                    return Err(Fault::wrong(word.span, text));
                }
                _ => break,
            }
        }
        if words.is_empty() && !matches!(self.default, None | Some(Method::Bool)) {
            let text = format!(
                "parsing acl keyword '{}' : no pattern to match against were provided, so this ACL will never match.",
                criterion.text()
            );
            let help = "'--' says that this is intended, '-m found' matches whatever there is";
            cx.warnings
                .push((criterion.span, text, Some(help.to_owned())));
        }
        for file in files {
            let name = file.text();
            let name = name.strip_prefix("file@").unwrap_or(&name);
            self.files.push((name.to_owned(), Vec::new()));
            self.in_file = true;
            self.file(criterion, file, cx)?;
        }
        self.in_file = false;
        let mut operator = String::new();
        // An empty word ends the line, as in haproxy.
        for word in rest.iter().take_while(|word| !word.bytes.is_empty()) {
            let builder = self.builder.as_mut();
            let builder = builder.ok_or_else(|| no_method(criterion, self.expr.keyword()))?;
            let text = word.text();
            if builder.method.compares() && matches!(&*text, "eq" | "ge" | "gt" | "le" | "lt") {
                operator = text.into_owned();
                continue;
            }
            // Seen in the wild: `status eq -- 200`. haproxy takes it for the end of flags wherever it stands.
            if builder.method.compares() && text == "--" {
                continue;
            }
            self.add(&word.bytes, &operator, word.span, cx)?;
        }
        Ok(())
    }

    fn method(&mut self, word: &Word) -> Result<(), Fault> {
        let text = word.text();
        let Some(method) = Method::of(&text) else {
            let near = did_you_mean(&nearest(&text, Method::NAMES.iter().map(|(name, _)| *name)));
            let text =
                format!("unknown matching method '{text}' when parsing ACL expression{near}");
            let text = if near.is_empty() { text + "." } else { text };
            return Err(Fault::wrong(word.span, text));
        };
        if !self.expr.kind().casts_to(method.expects()) {
            let text = format!(
                "matching method '{text}' cannot be used with fetch keyword '{}'.",
                self.expr.keyword()
            );
            return Err(Fault::wrong(word.span, text));
        }
        self.default = Some(method);
        self.builder = Some(Builder::new(method, self.ignore_case));
        Ok(())
    }

    /// Patterns of a file, one a line without the blanks before it; empty lines and those whose first byte is `#` are none.
    fn file(&mut self, criterion: &Word, file: &Word, cx: &mut Cx<'_>) -> Result<(), Fault> {
        let name = file.text();
        let (path, optional) = match name.split_once('@') {
            Some(("virt", _)) => return Err(Fault::later(file.span, "acl … -f virt@")),
            Some(("opt", path)) => (path, true),
            Some(("file", path)) => (path, false),
            _ => (&*name, false),
        };
        let bytes = match (cx.read)(path.as_ref()) {
            Ok(bytes) => bytes,
            Err(_) if optional => return Ok(()),
            Err(why) => {
                let text = format!("failed to open pattern file <{name}> ({why}).");
                return Err(Fault::wrong(file.span, text));
            }
        };
        if self.builder.is_none() {
            return Err(no_method(criterion, self.expr.keyword()));
        }
        for (line, number) in bytes.split(|&b| b == b'\n').zip(1u32..) {
            if line.starts_with(b"#") {
                continue;
            }
            let text = line.strip_suffix(b"\r").unwrap_or(line);
            let blanks = text
                .iter()
                .take_while(|b| matches!(b, b' ' | b'\t'))
                .count();
            let text = match self.builder.as_ref().map(|builder| builder.method) {
                // Beyond haproxy: a blank behind an address or a number does no harm.
                Some(Method::Ip | Method::Int | Method::Len) => text.trim_ascii(),
                _ => &text[blanks..],
            };
            if !text.is_empty() {
                self.add(text, "", file.span, cx).map_err(|mut fault| {
                    let message = fault.text.trim_end_matches('.');
                    fault.text = format!("{message} at line {number} of file '{name}'.");
                    fault
                })?;
            }
        }
        Ok(())
    }

    fn add(&mut self, text: &[u8], operator: &str, span: Span, cx: &Cx<'_>) -> Result<(), Fault> {
        let Some(builder) = &mut self.builder else {
            return Ok(());
        };
        let resolved = Cell::new(None);
        let resolve = |name: &str| {
            resolved.set((cx.resolve)(name).filter(|_| self.names_resolved));
            resolved.get()
        };
        builder
            .add(text, operator, &resolve)
            .map_err(|message| Fault::wrong(span, message + "."))?;
        let entry = Entry::new(text, operator, resolved.get());
        match self.files.last_mut().filter(|_| self.in_file) {
            Some((_, entries)) => entries.push(entry),
            None => self.written.push(entry),
        }
        Ok(())
    }
}

/// The ACLs of one proxy, in order of the file: several lines of one name are joined by "or".
#[derive(Clone, Debug, Default)]
pub struct Acls {
    pub lines: Vec<(String, Arc<Test>)>,
}

impl Acls {
    /// The lines called `name`.
    pub fn named(&self, name: &str) -> Option<Vec<Arc<Test>>> {
        let lines = self.lines.iter().filter(|(n, _)| n == name);
        let tests: Vec<_> = lines.map(|(_, test)| test.clone()).collect();
        (!tests.is_empty()).then_some(tests)
    }
}

/// Names of a proxy, ACLs among them: what `acl()` in an expression asks for.
#[derive(Clone, Copy)]
pub struct WithAcls<'a> {
    pub acls: &'a Acls,
    pub names: &'a dyn Settle,
}

impl Settle for WithAcls<'_> {
    fn proxy(&self, name: &str) -> ProxyRef {
        self.names.proxy(name)
    }
    fn frontend(&self, name: &str) -> ProxyRef {
        self.names.frontend(name)
    }
    fn backend(&self, name: &str) -> ProxyRef {
        self.names.backend(name)
    }
    fn is_frontend(&self) -> bool {
        self.names.is_frontend()
    }
    fn is_backend(&self) -> bool {
        self.names.is_backend()
    }
    fn server(&self, name: &str) -> ServerRef {
        self.names.server(name)
    }
    fn userlist(&self, name: &str) -> Option<u32> {
        self.names.userlist(name)
    }
    fn acl(&self, name: &str) -> Option<Vec<Arc<Test>>> {
        let mut tests = self.acls.named(name)?;
        for test in &mut tests {
            // One that asks for ACLs itself is not looked into: it could ask for itself.
            if test.expr.has_references() && !test.expr.asks_acls() {
                Arc::make_mut(test).settle(self).ok()?;
            }
        }
        Some(tests)
    }
    fn here(&self) -> &str {
        self.names.here()
    }
}

impl std::fmt::Debug for WithAcls<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WithAcls")
            .field("acls", self.acls)
            .finish_non_exhaustive()
    }
}

/// ACLs that need no declaration.
const PREDEFINED: &[(&str, &[&str])] = &[
    ("FALSE", &["always_false"]),
    ("HTTP", &["req.proto_http"]),
    ("HTTP_1.0", &["req.ver", "1.0"]),
    ("HTTP_1.1", &["req.ver", "1.1"]),
    ("HTTP_2.0", &["req.ver", "2.0"]),
    ("HTTP_3.0", &["req.ver", "3.0"]),
    ("HTTP_CONTENT", &["req.hdr_val(content-length)", "gt", "0"]),
    ("HTTP_URL_ABS", &["url_reg", "^[^/:]*://"]),
    ("HTTP_URL_SLASH", &["url_beg", "/"]),
    ("HTTP_URL_STAR", &["url", "*"]),
    ("LOCALHOST", &["src", "127.0.0.1/8", "::1"]),
    ("METH_CONNECT", &["method", "CONNECT"]),
    ("METH_DELETE", &["method", "DELETE"]),
    ("METH_GET", &["method", "GET", "HEAD"]),
    ("METH_HEAD", &["method", "HEAD"]),
    ("METH_OPTIONS", &["method", "OPTIONS"]),
    ("METH_POST", &["method", "POST"]),
    ("METH_PUT", &["method", "PUT"]),
    ("METH_TRACE", &["method", "TRACE"]),
    ("RDP_COOKIE", &["req.rdp_cookie_cnt", "gt", "0"]),
    ("REQ_CONTENT", &["req.len", "gt", "0"]),
    ("TRUE", &["always_true"]),
    ("WAIT_END", &["wait_end"]),
];

/// What follows `if` or `unless`. Names of ACLs stay names until [`Condition::settle`]: lines further down may add
/// to them.
#[derive(Clone, Debug)]
pub struct Condition {
    negated: bool,
    /// Groups joined by `or`; none at all always holds.
    any: Vec<Vec<Term>>,
    /// Where it stands: tests of what is to be had in none of these never match.
    places: Vec<Place>,
    /// The word that begins it.
    span: Option<Span>,
}

#[derive(Clone, Debug)]
struct Term {
    negated: bool,
    /// The name it was written by, if any.
    name: Option<Box<str>>,
    /// One of them has to hold. Those of a name so far, before it is settled.
    tests: Vec<Arc<Test>>,
    /// Declared in the section, so that further lines may come.
    declared: bool,
}

impl Condition {
    /// Reads `if|unless <terms>…`; `acls` are those declared so far, for messages about unknown names.
    ///
    /// # Errors
    /// haproxy's message about the first mistake.
    pub fn parse(words: &[Word], acls: &Acls, cx: &mut Cx<'_>) -> Result<Self, Fault> {
        let (negated, rest) = match words.split_first() {
            Some((word, rest)) if word.bytes == b"unless" => (true, rest),
            Some((_, rest)) => (false, rest),
            None => (false, words),
        };
        let mut any: Vec<Vec<Term>> = vec![Vec::new()];
        let mut not = false;
        let mut at = 0;
        while let Some(word) = rest.get(at) {
            at += 1;
            let text = word.text();
            if text == "||" || text.eq_ignore_ascii_case("or") {
                any.push(Vec::new());
                not = false;
                continue;
            }
            let name = text.trim_start_matches('!');
            not ^= (text.len() - name.len()) % 2 == 1;
            if name.is_empty() {
                continue;
            }
            let term = if name == "{" {
                let close = rest[at..].iter().position(|w| w.bytes == b"}");
                let Some(len) = close else {
                    return Err(Fault::wrong(word.span, "missing closing '}' in condition."));
                };
                if len == 0 {
                    return Err(Test::missing(word.span));
                }
                let test = Test::parse(&rest[at..at + len], cx)?;
                at += len + 1;
                Term::anonymous(test, std::mem::take(&mut not))
            } else {
                Term::named(word, name, std::mem::take(&mut not), acls, cx)?
            };
            any.last_mut().expect("never empty").push(term);
        }
        any.retain(|group| !group.is_empty());
        Ok(Self {
            negated,
            any,
            places: Vec::new(),
            span: words.first().map(|word| word.span),
        })
    }

    /// Puts the tests of all lines of each named ACL into place, and settles their references.
    ///
    /// # Errors
    /// haproxy's message about a name that does not exist.
    pub fn settle(&mut self, acls: &Acls, names: &dyn Settle) -> Result<(), String> {
        let names = &WithAcls { acls, names };
        for term in self.any.iter_mut().flatten() {
            if let (true, Some(name)) = (term.declared, &term.name)
                && let Some(tests) = acls.named(name)
            {
                term.tests = tests;
            }
            for test in &mut term.tests {
                if test.expr.has_references() {
                    Arc::make_mut(test).settle(names)?;
                }
            }
        }
        Ok(())
    }

    /// Puts the tests of each named ACL into place for good: a later [`Condition::settle`] with the ACLs of another
    /// section does not replace them.
    pub fn bind(&mut self, acls: &Acls) {
        for term in self.any.iter_mut().flatten() {
            if let (true, Some(name)) = (term.declared, &term.name)
                && let Some(tests) = acls.named(name)
            {
                term.tests = tests;
                term.declared = false;
            }
        }
    }

    /// The word that begins it.
    pub fn span(&self) -> Option<Span> {
        self.span
    }

    fn tests(&self) -> impl Iterator<Item = &Test> {
        let terms = self.any.iter().flatten();
        terms.flat_map(|term| &term.tests).map(|test| &**test)
    }

    /// The expressions of all its tests.
    pub fn exprs(&self) -> impl Iterator<Item = &Expr> {
        self.tests().map(Test::expr)
    }

    pub fn needs(&self) -> Needs {
        self.tests().fold(Needs::default(), |needs, test| {
            needs.with(test.expr.needs())
        })
    }

    pub fn holds(&self, subject: &dyn Subject, arena: &Arena) -> Verdict {
        self.decide(subject, arena, &mut Unwatched)
    }

    fn decide(&self, subject: &dyn Subject, arena: &Arena, watch: &mut impl Watch) -> Verdict {
        if self.any.is_empty() {
            return Verdict::Holds;
        }
        let mut verdict = Verdict::Fails;
        for group in &self.any {
            match all(group, subject, arena, watch) {
                Verdict::Holds => return Verdict::Holds.negated(self.negated),
                Verdict::Later => verdict = Verdict::Later,
                Verdict::Fails => {}
            }
        }
        verdict.negated(self.negated)
    }

    /// The test, where the condition is `if` and just one of it, not negated: what an index over rules can answer.
    pub fn single(&self) -> Option<&Test> {
        match &*self.any {
            [group] if !self.negated => match &**group {
                [term] if !term.negated => match &*term.tests {
                    [test] => Some(test),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        }
    }

    /// Says where it stands: a rule of a `listen` section stands on both sides. Tests that ask for what is to be had in
    /// none of `places` never match, of which haproxy warns: its text about the first.
    pub fn never_in(&mut self, places: impl IntoIterator<Item = Place>) -> Option<String> {
        self.places = places.into_iter().collect();
        let first = self.places.iter().min_by_key(|place| **place as u8)?;
        let terms = self.any.iter().flatten();
        let mut tests = terms.flat_map(|term| term.tests.iter().map(move |test| (term, test)));
        let (term, test) = tests.find(|(_, test)| test.is_out_of_place(&self.places))?;
        let (keyword, place) = (test.expr.keyword(), first.name());
        let all = term
            .tests
            .iter()
            .all(|test| test.is_out_of_place(&self.places));
        let text = match &term.name {
            None => format!(
                "anonymous acl will never match because it uses keyword '{keyword}' which is incompatible with '{place}'"
            ),
            Some(name) if all => format!(
                "acl '{name}' will never match because it only involves keywords that are incompatible with '{place}'"
            ),
            Some(name) => format!(
                "acl '{name}' involves keywords '{keyword}' which is incompatible with '{place}'"
            ),
        };
        self.strike();
        Some(text)
    }

    /// Takes the tests out that can never match where it stands.
    fn strike(&mut self) {
        let terms = self.any.iter_mut().flatten();
        for test in terms.flat_map(|term| &mut term.tests) {
            if test.is_out_of_place(&self.places) {
                *test = Arc::new(Test::never());
            }
        }
    }

    /// Whether it asks for bytes, which HTTP proxies pass over.
    pub fn asks_layer_6(&self) -> bool {
        self.tests().any(|test| test.expr.is_layer_6())
    }
}

fn all(group: &[Term], subject: &dyn Subject, arena: &Arena, watch: &mut impl Watch) -> Verdict {
    let mut verdict = Verdict::Holds;
    watch.group();
    for term in group {
        match term.decide(subject, arena, watch) {
            Verdict::Fails => return Verdict::Fails,
            Verdict::Later => verdict = Verdict::Later,
            Verdict::Holds => {}
        }
    }
    verdict
}

impl Term {
    fn anonymous(test: Test, negated: bool) -> Self {
        Self {
            negated,
            name: None,
            tests: vec![Arc::new(test)],
            declared: false,
        }
    }

    fn named(
        word: &Word,
        name: &str,
        negated: bool,
        acls: &Acls,
        cx: &mut Cx<'_>,
    ) -> Result<Self, Fault> {
        let (tests, declared) = match acls.named(name) {
            Some(tests) => (tests, true),
            None => (vec![predefined(word, name, acls, cx)?], false),
        };
        Ok(Self {
            negated,
            name: Some(name.into()),
            tests,
            declared,
        })
    }

    fn decide(&self, subject: &dyn Subject, arena: &Arena, watch: &mut impl Watch) -> Verdict {
        let mut verdict = Verdict::Fails;
        watch.term(self.name.as_deref(), self.negated);
        for test in &self.tests {
            match test.decide(subject, arena, watch) {
                Verdict::Holds => {
                    verdict = Verdict::Holds;
                    break;
                }
                Verdict::Later => verdict = Verdict::Later,
                Verdict::Fails => {}
            }
        }
        let verdict = verdict.negated(self.negated);
        watch.term_done(verdict);
        verdict
    }
}

/// The ACL of that name that haproxy brings along.
fn predefined(word: &Word, name: &str, acls: &Acls, cx: &mut Cx<'_>) -> Result<Arc<Test>, Fault> {
    let Some((_, text)) = PREDEFINED.iter().find(|(n, _)| *n == name) else {
        let declared = acls.lines.iter().map(|(name, _)| &**name);
        let near = nearest(
            name,
            declared.chain(PREDEFINED.iter().map(|(name, _)| *name)),
        );
        let near = did_you_mean(&near);
        let text = format!("no such ACL : '{name}'{near}");
        let text = if near.is_empty() { text + "." } else { text };
        return Err(Fault::wrong(word.span, text));
    };
    let words = text.iter().map(|text| Word {
        bytes: text.as_bytes().to_vec(),
        span: word.span,
    });
    Test::parse(&words.collect::<Vec<_>>(), cx).map(Arc::new)
}

#[cfg(test)]
mod tests;
