//! Between the configuration and its expressions: what reading one needs to know, how its faults are told, and what
//! the names in it stand for once all sections are known.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use super::model::{Config, Proxy, ProxyId};
use super::pages::Group;
use super::words::{Cx, Said};
use crate::lang::acl::{Acls, Test};
use crate::lang::diag::Form;
use crate::lang::expr::{self, Fault, Settle};
use crate::lang::subject::{ProxyRef, ServerRef};

impl Cx<'_> {
    /// Lets the language read words of a line. Its warnings and its fault become messages of this form, `prefix` before
    /// the fault's text.
    pub(super) fn language<T>(
        &mut self,
        form: Form,
        prefix: &str,
        read: impl FnOnce(&mut expr::Cx<'_>) -> Result<T, Fault>,
    ) -> Result<T, Said> {
        let mut vars = std::mem::take(&mut self.vars);
        let (world, dir, env) = (self.world, &self.dir, &self.env);
        let mut cx = expr::Cx {
            vars: &mut vars,
            read: &|path: &Path| {
                let path = dir.as_ref().map_or_else(|| path.into(), |d| d.join(path));
                world.read(&path)
            },
            resolve: &|host: &str| -> Option<IpAddr> {
                world.resolve(host).ok()?.into_iter().next()
            },
            warnings: Vec::new(),
            env: &|name: &str| env.vars.get(name).cloned(),
        };
        let outcome = read(&mut cx);
        let warnings = cx.warnings;
        self.vars = vars;
        for (span, text, help) in warnings {
            let diag = self.warning(span, text);
            diag.form(form).help = help;
        }
        outcome.map_err(|fault| self.fault(form, prefix, fault))
    }

    /// Tells a fault of the language.
    pub(super) fn fault(&mut self, form: Form, prefix: &str, fault: Fault) -> Said {
        match fault.not_yet {
            Some(name) => self.not_yet(fault.span, &name),
            None => {
                let said = self.alert(fault.span, format!("{prefix}{}", fault.text));
                let diag = self.diags.list.last_mut().expect("just told");
                diag.form(form).help = fault.help;
                said
            }
        }
    }
}

/// What names in expressions of one proxy stand for.
pub(super) struct Names<'a> {
    pub(super) config: &'a Config,
    pub(super) proxy: ProxyId,
    /// The ACLs of the section, for `acl()`.
    pub(super) acls: Option<&'a Acls>,
    /// The `http-errors` sections.
    pub(super) groups: &'a [Group],
}

impl Names<'_> {
    /// The first proxy that `is` the one meant: two of different sides may share a name.
    fn find(&self, is: impl Fn(&Proxy) -> bool) -> ProxyRef {
        let at = self.config.proxies.iter().position(is)?;
        u32::try_from(at).ok()
    }
}

impl Settle for Names<'_> {
    fn proxy(&self, name: &str) -> ProxyRef {
        self.find(|p| p.name == name)
    }
    fn frontend(&self, name: &str) -> ProxyRef {
        self.find(|p| p.name == name && p.frontend.is_some())
    }
    fn backend(&self, name: &str) -> ProxyRef {
        self.find(|p| p.name == name && p.backend.is_some())
    }
    fn is_frontend(&self) -> bool {
        self.config.proxy(self.proxy).frontend.is_some()
    }
    fn is_backend(&self) -> bool {
        self.config.proxy(self.proxy).backend.is_some()
    }
    fn server(&self, name: &str) -> ServerRef {
        let (backend, server) = match name.split_once('/') {
            Some((backend, server)) => {
                let found = self.config.backends.iter().find(|b| b.name == backend)?;
                (found, server)
            }
            None => {
                let own = self.config.proxies[self.proxy.index()].backend?;
                (self.config.backend(own), name)
            }
        };
        let mut ids = backend.servers.iter();
        let id = ids.find(|&&id| self.config.server(id).name == server)?;
        self.config.server(*id).pinned.set();
        Some(id.0)
    }
    fn userlist(&self, name: &str) -> Option<u32> {
        let at = self.config.userlists.iter().position(|u| u.name == name)?;
        u32::try_from(at).ok()
    }
    fn acl(&self, name: &str) -> Option<Vec<Arc<Test>>> {
        self.acls?.named(name)
    }
    fn here(&self) -> &str {
        &self.config.proxy(self.proxy).name
    }
    fn error_page(&self, section: &str, status: u16) -> Option<Option<Arc<[u8]>>> {
        let group = self.groups.iter().find(|group| group.name == section)?;
        Some(group.raw_page(status))
    }
}
