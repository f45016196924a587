//! What rules and conditions refer to, once all sections are known, and what is said about those that cannot work.

use std::collections::HashMap;

use super::http::{Http, ServerName, Switch, SwitchTo, UseServer};
use super::language::Names;
use super::model::{BackendId, Config, Mode, ProxyId, ServerId};
use super::raw::{ProxyRaw, Raw, SectionKind};
use super::resolve::same_mode;
use super::words::{Cx, Said};
use crate::lang::acl::{Acls, Condition};
use crate::lang::diag::{Form, did_you_mean, nearest};
use crate::lang::expr::{Fault, Settle};
use crate::lang::rules::{ANY_LEN, Action, Rule, RuleSet};
use crate::lang::source::Span;

impl Http {
    /// Settles the ACLs of a `defaults` section in the rules it hands on: they are its own, whatever a proxy calls so.
    pub(super) fn bind(&mut self, acls: &Acls) {
        for rule in self.rules_mut() {
            if let Some(when) = &mut rule.when {
                when.bind(acls);
            }
        }
    }

    fn rules_mut(&mut self) -> impl Iterator<Item = &mut Rule> {
        self.tcp_connection
            .iter_mut()
            .chain(&mut self.tcp_session)
            .chain(&mut self.tcp_request)
            .chain(&mut self.tcp_response)
            .chain(&mut self.request)
            .chain(&mut self.response)
            .chain(&mut self.after_response)
            .chain(self.stats.iter_mut().flat_map(|page| &mut page.rules))
    }
}

/// The `use_backend` lines of each frontend.
pub(super) fn switching(sections: &[&ProxyRaw], raw: &Raw, out: &mut Config, cx: &mut Cx<'_>) {
    let by_name: HashMap<String, BackendId> = out
        .backends
        .iter()
        .zip(0..)
        .map(|(b, i)| (b.name.clone(), BackendId(i)))
        .collect();
    for (section, proxy) in sections.iter().zip(0..) {
        let mut rules = Vec::new();
        for switch in section.switches.iter().filter(|_| section.kind.has_front()) {
            let name = switch.backend.text();
            let own = section.kind == SectionKind::Listen && *name == section.name;
            let to = match (&switch.format, by_name.get(&*name)) {
                (Some(format), _) => SwitchTo::Format(format.clone()),
                (None, Some(_)) if own => {
                    let text = format!("Proxy '{name}': loop detected for use_backend: '{name}'.");
                    cx.diags.alert(switch.backend.span, text).form(Form::Bare);
                    continue;
                }
                (None, Some(&backend)) => {
                    let back = out.proxy(out.backend(backend).proxy);
                    same_mode(
                        section,
                        back,
                        switch.backend.span,
                        "in a 'use_backend' rule",
                        cx,
                    );
                    SwitchTo::Backend(backend)
                }
                (None, None) if section.set.disabled => continue,
                (None, None) if raw.skipped.iter().any(|s| *s == name) => continue,
                (None, None) => {
                    let near = did_you_mean(&nearest(&name, by_name.keys().map(|k| &**k)));
                    let text = format!(
                        "Proxy '{}': unable to find required use_backend: '{name}'{near}",
                        section.name
                    );
                    cx.diags.alert(switch.backend.span, text).form(Form::Bare);
                    continue;
                }
            };
            rules.push(Switch {
                to,
                when: switch.when.clone(),
                span: switch.backend.span,
            });
        }
        out.proxies[proxy].http.switching = rules;
    }
}

/// Settles all that proxy `id` evaluates.
pub(super) fn resolve(
    section: &ProxyRaw,
    id: ProxyId,
    raw: &Raw,
    out: &mut Config,
    cx: &mut Cx<'_>,
) {
    let mut http = std::mem::take(&mut out.proxies[id.index()].http);
    let tcp = section.set.mode == Mode::Tcp;
    if tcp {
        // Said already: they are ignored.
        http.request.clear();
        http.response.clear();
        http.after_response.clear();
        http.redirects.clear();
    }
    if !section.set.disabled {
        not_driven(section, &http, cx);
        let names = Names {
            config: out,
            proxy: id,
            acls: Some(&section.acls),
            groups: &raw.http_errors,
        };
        settle(section, &mut http, &names, cx);
        servers(section, &mut http, &names, cx);
        slots(section, &mut http, cx);
        if !tcp {
            layer_6(section, &http, cx);
        }
    }
    out.proxies[id.index()].http = http;
}

/// Actions that are read and that nothing carries out yet where they stand.
fn not_driven(section: &ProxyRaw, http: &Http, cx: &mut Cx<'_>) {
    let tcp = section.set.mode == Mode::Tcp;
    let lists = [
        (&http.tcp_connection, RuleSet::TcpConnection, true),
        (&http.tcp_session, RuleSet::TcpSession, true),
        (&http.tcp_request, RuleSet::TcpRequest, tcp),
        (&http.tcp_response, RuleSet::TcpResponse, tcp),
    ];
    for (list, set, before_http) in lists {
        for rule in list {
            let missing = match &rule.action {
                Action::SwitchHttp => "switch-mode",
                Action::SetDst(_) if before_http => "set-dst",
                Action::SetDstPort(_) if before_http => "set-dst-port",
                Action::SetServerMark(_) if before_http => "set-bc-mark",
                Action::SetServerTos(_) if before_http => "set-bc-tos",
                Action::SetRetries(_) if before_http => "set-retries",
                _ => continue,
            };
            let _: Said = cx.not_yet(rule.span, &format!("{} {missing}", set.name()));
        }
    }
}

/// Tells why a name cannot be settled.
fn unsettled(section: &ProxyRaw, span: Span, text: String, cx: &mut Cx<'_>) {
    let (form, prefix) = if text.starts_with("unknown http-errors") {
        (Form::Bare, format!("Proxy '{}': ", section.name))
    } else {
        (Form::ParsingTight, String::new())
    };
    let _: Said = cx.fault(form, &prefix, Fault::wrong(span, text));
}

fn settle(section: &ProxyRaw, http: &mut Http, names: &Names<'_>, cx: &mut Cx<'_>) {
    let acls = &section.acls;
    let names: &dyn Settle = names;
    for rule in http.rules_mut() {
        if let Err(text) = rule.settle(acls, names) {
            unsettled(section, rule.span, text, cx);
        }
    }
    for (redirect, when, _) in &mut http.redirects {
        let settled = match when {
            Some(when) => when.settle(acls, names),
            None => Ok(()),
        };
        if let Err(text) = settled.and_then(|()| redirect.settle(names)) {
            unsettled(section, section.span, text, cx);
        }
    }
    for switch in &mut http.switching {
        let settled = match &mut switch.when {
            Some(when) => when.settle(acls, names),
            None => Ok(()),
        };
        let format = match &mut switch.to {
            SwitchTo::Format(format) => format.settle(names),
            SwitchTo::Backend(_) => Ok(()),
        };
        if let Err(text) = settled.and(format) {
            unsettled(section, section.span, text, cx);
        }
    }
    let others = http
        .force_persist
        .iter_mut()
        .chain(&mut http.ignore_persist)
        .chain(&mut http.monitor_fail)
        .chain(http.stats.iter_mut().flat_map(|page| &mut page.admin));
    for when in others {
        if let Err(text) = when.settle(acls, names) {
            unsettled(section, section.span, text, cx);
        }
    }
}

/// `use-server` lines with their servers.
fn servers(section: &ProxyRaw, http: &mut Http, names: &Names<'_>, cx: &mut Cx<'_>) {
    for line in &section.server_rules {
        let name = line.server.text();
        let to = match &line.format {
            Some(format) => {
                let mut format = format.clone();
                if let Err(text) = format.settle(names) {
                    unsettled(section, line.server.span, text, cx);
                    continue;
                }
                ServerName::Format(format)
            }
            None => match names.server(&name).filter(|_| !name.contains('/')) {
                Some(id) => ServerName::Server(ServerId(id)),
                None => {
                    let known = section.servers.iter().map(|s| &*s.name);
                    let near = did_you_mean(&nearest(&name, known));
                    let text = format!(
                        "{} '{}' : unable to find server '{name}' referenced in a 'use-server' rule{near}",
                        section.kind.called(),
                        section.name
                    );
                    let end = if near.is_empty() { "." } else { "" };
                    let fault = Fault::wrong(line.server.span, text + end);
                    let _: Said = cx.fault(Form::Config, "", fault);
                    continue;
                }
            },
        };
        let mut when = line.when.clone();
        if let Err(text) = when.settle(&section.acls, names) {
            unsettled(section, line.server.span, text, cx);
            continue;
        }
        http.use_server.push(UseServer {
            to,
            when: Some(when),
            span: line.server.span,
        });
    }
}

/// `capture … id <slot>`: the slot has to be declared where the section is a frontend.
fn slots(section: &ProxyRaw, http: &mut Http, cx: &mut Cx<'_>) {
    if !section.kind.has_front() {
        return;
    }
    let lens = |list: &[super::http::CaptureHeader]| list.iter().map(|c| c.len).collect::<Vec<_>>();
    let declared = [lens(&http.request_captures), lens(&http.response_captures)];
    for rule in http.rules_mut() {
        let (slot, len, side, keyword) = match &mut rule.action {
            Action::CaptureRequest(_, slot, len) => (*slot, len, 0, "http-request"),
            Action::CaptureResponse(_, slot, len) => (*slot, len, 1, "http-response"),
            _ => continue,
        };
        match declared[side].get(slot as usize) {
            Some(own) if *len == ANY_LEN => *len = *own,
            Some(_) => {}
            None => {
                let text = format!(
                    "Proxy '{}': unable to find capture id '{slot}' referenced by {keyword} capture rule.",
                    section.name
                );
                let _: Said = cx.fault(Form::Bare, "", Fault::wrong(rule.span, text));
            }
        }
    }
}

/// What asks for bytes in HTTP mode, where there are messages only.
fn layer_6(section: &ProxyRaw, http: &Http, cx: &mut Cx<'_>) {
    let lists = [
        &http.tcp_request,
        &http.tcp_response,
        &http.request,
        &http.response,
    ];
    for rule in lists.into_iter().flatten() {
        if rule.when.as_ref().is_some_and(Condition::asks_layer_6) {
            let text = format!(
                "Proxy '{}': L6 sample fetches ignored on HTTP proxies (declared at {}).",
                section.name,
                cx.place(rule.span)
            );
            cx.warning(rule.span, text).form(Form::Bare);
        }
    }
    for switch in &section.switches {
        if switch.when.as_ref().is_some_and(Condition::asks_layer_6) {
            let text = format!(
                "Proxy '{}': L6 sample fetches ignored on HTTP proxies (declared at {}).",
                section.name,
                cx.place(switch.backend.span)
            );
            cx.warning(switch.backend.span, text).form(Form::Bare);
        }
    }
}
