//! What the two connections show by themselves (configuration.txt 7.3.3).

use std::net::SocketAddr;

use crate::lang::sample::Value;
use crate::lang::subject::Subject;

/// One end of a connection, and the part of it asked for.
#[derive(Clone, Copy, Debug)]
pub(in crate::lang) struct Fetch {
    pub(super) end: End,
    pub(super) port: bool,
}

#[derive(Clone, Copy, Debug)]
pub(in crate::lang) enum End {
    Src,
    Dst,
    /// Of the client's connection, whatever rules and PROXY headers said.
    ClientSrc,
    ClientDst,
    /// Of the server's.
    ServerSrc,
    ServerDst,
}

impl Fetch {
    /// Of the connection to the server.
    pub(in crate::lang) fn of_server(self) -> bool {
        matches!(self.end, End::ServerSrc | End::ServerDst)
    }
    pub(super) fn one<'a>(self, subject: &'a dyn Subject) -> Option<Value<'a>> {
        let end: SocketAddr = match self.end {
            End::Src => subject.src(),
            End::Dst => subject.dst(),
            End::ClientSrc => subject.client_ends().0,
            End::ClientDst => subject.client_ends().1,
            End::ServerSrc => subject.server_ends().0,
            End::ServerDst => subject.server_ends().1,
        }?;
        Some(if self.port {
            Value::Int(end.port().into())
        } else {
            Value::Ip(end.ip())
        })
    }
}
