//! Checks as a section has them: lines gathered, `defaults` handed on, and the [`Sequence`] that comes of it.

use std::sync::Arc;

use super::checks::*;
use super::language::Names;
use super::model::{Config, Global, ProxyId};
use super::raw::ProxyRaw;
use super::words::{Cx, Said};
use crate::lang::diag::Form;
use crate::lang::expr::{Fault, Settle};
use crate::lang::source::Span;
use crate::proto::check::Status;
use crate::proto::check::services::{self, MysqlClient};

/// What a section says of its checks; `defaults` hand it on.
#[derive(Debug, Clone, Default)]
pub(super) struct ChecksRaw {
    pub(super) chosen: Chosen,
    /// `option httpchk` as it is in force, whatever is chosen.
    pub(super) request: HttpLine,
    pub(super) http: StepsRaw,
    pub(super) tcp: StepsRaw,
    pub(super) disable_on_404: Option<Span>,
    pub(super) send_state: Option<Span>,
    /// `external-check command`, `external-check path`.
    pub(super) command: Option<String>,
    pub(super) path: Option<String>,
}

/// Steps of one kind; the first one of a section takes the place of all that it inherited.
#[derive(Debug, Clone, Default)]
pub(super) struct StepsRaw {
    pub(super) steps: Vec<Step>,
    inherited: bool,
}

/// Which `option` is in force.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Chosen {
    #[default]
    Connect,
    Http,
    Tcp,
    SslHello,
    External,
    Service(Service),
}

/// A protocol whose check is built in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Service {
    /// `HELO localhost`.
    Smtp(Box<[u8]>),
    Redis,
    Ldap,
    /// User.
    Pgsql(Box<[u8]>),
    /// User, if it logs in.
    Mysql(Option<(Box<[u8]>, MysqlClient)>),
}

impl Service {
    /// Numbers are those that haproxy 2.6 gives an answer that is empty.
    fn sequence(&self) -> Sequence {
        let send = |bytes: &[u8]| (What::Send(Payload::Bytes(bytes.into())), 0);
        let hear = |spoken, number, error| {
            let expect = Expect {
                error,
                ..Expect::new(Match::Spoken(spoken))
            };
            (What::Expect(Box::new(expect)), number)
        };
        let failed = Some(Status::L7Sts);
        let steps = match self {
            Self::Smtp(hello) => vec![
                hear(Spoken::Smtp, 2, None),
                send(&[hello, &b"\r\n"[..]].concat()),
                hear(Spoken::Smtp, 5, failed),
                send(services::SMTP_QUIT),
                hear(Spoken::Smtp, 7, failed),
            ],
            Self::Redis => vec![send(services::REDIS_PING), hear(Spoken::Redis, 2, failed)],
            Self::Ldap => vec![send(services::LDAP_BIND), hear(Spoken::Ldap, 2, None)],
            Self::Pgsql(user) => vec![
                send(&services::pgsql_startup(user)),
                hear(Spoken::Pgsql, 3, None),
            ],
            Self::Mysql(None) => vec![hear(Spoken::Mysql, 2, None)],
            Self::Mysql(Some((user, client))) => vec![
                hear(Spoken::Mysql, 3, None),
                send(&services::mysql_login(user, *client)),
                hear(Spoken::Mysql, 0, None),
            ],
        };
        let connect = (What::Connect(Connect::as_server()), 0);
        let (whats, numbers): (Vec<What>, Vec<u16>) = std::iter::once(connect).chain(steps).unzip();
        let mut sequence = Sequence::plain(whats);
        for (step, number) in sequence.steps.iter_mut().zip(numbers) {
            step.number = number;
        }
        sequence
    }
}

/// Name and value of a header field.
type Field = (Box<[u8]>, Box<[u8]>);

/// The arguments of `option httpchk`.
#[derive(Debug, Clone)]
pub(super) struct HttpLine {
    pub(super) method: Box<[u8]>,
    pub(super) uri: Box<[u8]>,
    pub(super) v11: bool,
    pub(super) fields: Vec<Field>,
    pub(super) body: Option<Box<[u8]>>,
}

impl Default for HttpLine {
    /// haproxy's request where `option httpchk` names none.
    fn default() -> Self {
        Self {
            method: (*b"OPTIONS").into(),
            uri: (*b"/").into(),
            v11: false,
            fields: Vec::new(),
            body: None,
        }
    }
}

impl ChecksRaw {
    /// What is here came from a `defaults` section.
    pub(super) fn inherit(&mut self) {
        self.http.inherited = true;
        self.tcp.inherited = true;
    }
    /// An `option` of the section itself begins anew: steps that `defaults` wrote are not its own (seen on 2.6).
    pub(super) fn choose(&mut self, chosen: Chosen) {
        self.chosen = chosen;
        for steps in [&mut self.http, &mut self.tcp] {
            if steps.inherited {
                *steps = StepsRaw::default();
            }
        }
    }
    /// The steps of the section itself, to add one.
    pub(super) fn own_steps(&mut self, style: Style) -> &mut Vec<Step> {
        let steps = match style {
            Style::Http => &mut self.http,
            Style::Tcp | Style::Plain => &mut self.tcp,
        };
        if std::mem::take(&mut steps.inherited) {
            steps.steps.clear();
        }
        &mut steps.steps
    }
    /// How the section's servers are probed, names in it not settled yet.
    pub(super) fn kind(&self, global: &Global) -> CheckKind {
        match &self.chosen {
            Chosen::External => CheckKind::External(Arc::new(External {
                command: self.command.clone().unwrap_or_default(),
                path: self.path.clone().unwrap_or_default(),
                preserve_env: global.external_check_env,
                allowed: global.insecure_fork_wanted,
            })),
            Chosen::Connect => CheckKind::TcpConnect,
            Chosen::SslHello => CheckKind::SslHello,
            Chosen::Http => CheckKind::Sequence(self.http_sequence().into()),
            Chosen::Tcp => CheckKind::Sequence(self.tcp_sequence().into()),
            Chosen::Service(service) => CheckKind::Sequence(service.sequence().into()),
        }
    }

    /// Says what is missing for `option external-check`, in haproxy's words.
    pub(super) fn look_at_external(&self, section: &ProxyRaw, global: &Global, cx: &mut Cx<'_>) {
        if self.chosen != Chosen::External {
            return;
        }
        let (name, at) = (&section.name, section.span);
        let lacking = |what| {
            format!("Proxy '{name}' : 'option external-check' unable to find required '{what}'.")
        };
        if !global.external_check {
            let _: Said = cx.alert_as(Form::Config, at, lacking("global.external-check"));
        }
        if self.command.is_none() {
            let _: Said = cx.alert_as(Form::Config, at, lacking("external-check command"));
        }
        if !global.insecure_fork_wanted {
            let text = format!(
                "Proxy '{name}' : 'insecure-fork-wanted' not enabled in the global section, 'option external-check' \
                 will likely fail."
            );
            cx.warning(at, text).form(Form::Config);
        }
    }

    fn tcp_sequence(&self) -> Sequence {
        let mut steps = self.tcp.steps.clone();
        if !steps.iter().any(|s| matches!(s.what, What::Connect(_))) {
            steps.insert(0, implied(What::Connect(Connect::as_server())));
        }
        Sequence {
            style: Style::Tcp,
            steps,
            disable_on_404: false,
            send_state: false,
        }
    }

    /// The steps with those that need not be written: the connection, the request of `option httpchk`, and the
    /// statuses that are good.
    fn http_sequence(&self) -> Sequence {
        let mut steps = self.http.steps.clone();
        if !steps.iter().any(|s| matches!(s.what, What::Connect(_))) {
            let passive = |s: &&Step| s.what.is_passive() && !matches!(s.what, What::Comment);
            let at = steps.iter().take_while(passive).count();
            steps.insert(at, implied(What::Connect(Connect::as_server())));
        }
        let first = steps
            .iter()
            .position(|s| matches!(s.what, What::Request(_) | What::Expect(_)));
        match first.map(|at| (at, &mut steps[at].what)) {
            Some((_, What::Request(request))) => self.request.fill(request),
            Some((mut at, _)) => {
                // Its comment stays with what is expected.
                while at > 0 && matches!(steps[at - 1].what, What::Comment) {
                    at -= 1;
                }
                steps.insert(at, implied(What::Request(self.request.alone())));
            }
            None => steps.push(implied(What::Request(self.request.alone()))),
        }
        let last = steps
            .iter()
            .rev()
            .find(|s| matches!(s.what, What::Request(_) | What::Expect(_)));
        if last.is_some_and(|s| matches!(s.what, What::Request(_))) {
            steps.push(implied(What::Expect(Box::new(Expect::new(
                Sequence::usual_status(),
            )))));
        }
        for step in &mut steps {
            if let What::Request(request) = &mut step.what {
                request.complete();
            }
        }
        Sequence {
            style: Style::Http,
            steps,
            disable_on_404: self.disable_on_404.is_some(),
            send_state: self.send_state.is_some(),
        }
    }
}

impl Connect {
    fn as_server() -> Self {
        Self {
            as_server: true,
            ..Self::default()
        }
    }
}

impl What {
    /// Neither speaks nor listens.
    pub(super) fn is_passive(&self) -> bool {
        matches!(
            self,
            Self::Comment | Self::SetVar(..) | Self::SetVarFmt(..) | Self::UnsetVar(_)
        )
    }
}

fn implied(what: What) -> Step {
    Step {
        what,
        comment: None,
        number: 0,
        span: None,
    }
}

impl HttpLine {
    fn alone(&self) -> Request {
        let mut request = Request::unset();
        self.fill(&mut request);
        request
    }
    /// What a `http-check send` leaves open.
    fn fill(&self, request: &mut Request) {
        let bytes = |b: &[u8]| Payload::Bytes(b.into());
        if request.method.is_empty() {
            request.method.clone_from(&self.method);
        }
        if request.uri.is_unset() {
            request.uri = bytes(&self.uri);
        }
        request.v11 = request.version.unwrap_or(self.v11);
        request.version = Some(request.v11);
        let own = self.fields.iter().map(|(n, v)| (n.clone(), bytes(v)));
        request.fields = own.chain(request.fields.drain(..)).collect();
        if request.body.is_none() {
            request.body = self.body.as_deref().map(bytes);
        }
    }
}

impl Request {
    /// Nothing said yet.
    pub(super) fn unset() -> Self {
        Self {
            method: Box::default(),
            uri: Payload::Bytes(Box::default()),
            version: None,
            v11: false,
            fields: Vec::new(),
            body: None,
        }
    }
    /// haproxy's own for what was left open.
    fn complete(&mut self) {
        HttpLine::default().fill(self);
    }
}

impl Payload {
    fn is_unset(&self) -> bool {
        matches!(self, Self::Bytes(b) if b.is_empty())
    }
}

// ---------------------------------------------------------------- names in it

/// Settles what the steps of a proxy refer to, and says which lines have no effect.
pub(super) fn resolve(section: &ProxyRaw, id: ProxyId, out: &mut Config, cx: &mut Cx<'_>) {
    let Some(backend) = out.proxy(id).backend else {
        return;
    };
    if section.set.disabled {
        return;
    }
    ignored(section, cx);
    let mut kind = std::mem::take(&mut out.backends[backend.index()].check);
    if let CheckKind::Sequence(sequence) = &mut kind
        && let Some(sequence) = Arc::get_mut(sequence)
    {
        let names = Names {
            config: out,
            proxy: id,
            acls: None,
            groups: &[],
        };
        for step in &mut sequence.steps {
            if let Err(why) = step.what.settle(&names) {
                let span = step.span.unwrap_or(section.span);
                let _: Said = cx.fault(Form::ParsingTight, "", Fault::wrong(span, why));
            }
        }
    }
    out.backends[backend.index()].check = kind;
}

/// Lines of the kind that is not in force.
fn ignored(section: &ProxyRaw, cx: &mut Cx<'_>) {
    let checks = &section.set.checks;
    let (kind, name) = (section.kind.called(), &section.name);
    let http = checks.chosen == Chosen::Http;
    let mut say = |at: Option<Span>, text: String| {
        if let Some(at) = at {
            cx.warning(at, text).form(Form::Config);
        }
    };
    if !http {
        for (at, word) in [
            (checks.disable_on_404, "disable-on-404"),
            (checks.send_state, "send-state"),
        ] {
            let text = format!(
                "'{word}' will be ignored for {kind} '{name}' (requires 'option httpchk')."
            );
            say(at, text);
        }
    }
    for (steps, chosen, word) in [
        (&checks.http, http, "http"),
        (&checks.tcp, checks.chosen == Chosen::Tcp, "tcp"),
    ] {
        if chosen || steps.inherited {
            continue;
        }
        let option = if word == "http" {
            "httpchk"
        } else {
            "tcp-check"
        };
        let text = format!(
            "{kind} '{name}' uses {word}-check rules without 'option {option}', so the rules are ignored."
        );
        say(steps.steps.first().and_then(|s| s.span), text);
    }
}

impl What {
    fn settle(&mut self, names: &dyn Settle) -> Result<(), String> {
        match self {
            Self::Comment | Self::UnsetVar(_) => Ok(()),
            Self::Connect(connect) => match &mut connect.port {
                Some(Port::Of(expr)) => expr.settle(names),
                _ => Ok(()),
            },
            Self::Send(payload) => payload.settle(names),
            Self::Request(request) => {
                request.uri.settle(names)?;
                for (_, value) in &mut request.fields {
                    value.settle(names)?;
                }
                request.body.as_mut().map_or(Ok(()), |b| b.settle(names))
            }
            Self::Expect(expect) => expect.settle(names),
            Self::SetVar(_, _, expr) => expr.settle(names),
            Self::SetVarFmt(_, _, format) => format.settle(names),
        }
    }
}

impl Payload {
    fn settle(&mut self, names: &dyn Settle) -> Result<(), String> {
        match self {
            Self::Bytes(_) | Self::TlsHello => Ok(()),
            Self::Text(format) | Self::Hex(format) => format.settle(names),
        }
    }
}

impl Expect {
    fn settle(&mut self, names: &dyn Settle) -> Result<(), String> {
        match &mut self.what {
            Match::Format(format) | Match::BinaryFormat(format) => format.settle(names)?,
            Match::Field(field) => {
                for pattern in [Some(&mut field.name), field.value.as_mut()] {
                    if let Some(Pattern::Text(_, payload)) = pattern {
                        payload.settle(names)?;
                    }
                }
            }
            _ => {}
        }
        for format in [&mut self.on_success, &mut self.on_error]
            .into_iter()
            .flatten()
        {
            format.settle(names)?;
        }
        self.code.as_mut().map_or(Ok(()), |code| code.settle(names))
    }
}
