//! Where a session connects to and from where: the server's address, ports mapped from the
//! client's, source addresses, keep-alive.

use std::net::{IpAddr, SocketAddr, SocketAddrV4};

use crate::config::{self, Backend, Config, ServerAddress, ServerId, ServerPort, Source, UseSrc};
use crate::io::op::{Connect, KeepAlive, Target, Through};
use crate::proto::socks4;
use crate::shared::Shared;

/// The two ends of a client's connection, as far as they are known and internet addresses.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ends {
    /// The client's (from the PROXY header where one came).
    pub client: Option<SocketAddr>,
    /// Where the client connected to.
    pub local: Option<SocketAddr>,
}

/// The connection to `server`. `None`: its address is not known (unresolved).
pub fn to_server(shared: &Shared, id: ServerId, ends: Ends) -> Option<Connect> {
    let config = &shared.config;
    let address = shared.server(id).place.or(&config.server(id).address);
    let server = config.server(id);
    let backend = config.backend(server.backend);
    let mut spec = Connect::plain(target(&address, ends.local)?);
    if let Some(proxy) = server.socks4 {
        through_socks4(&mut spec, proxy)?;
    }
    dress(
        &mut spec,
        config,
        backend,
        server.source.as_ref().or(backend.source.as_ref()),
        ends,
    );
    spec.user_timeout_ms = server.tcp_ut_ms;
    spec.fastopen = server.tfo;
    Some(spec)
}

/// The connection to a fixed address (`dispatch`, `option transparent`).
pub fn to_address(config: &Config, backend: &Backend, to: SocketAddr, ends: Ends) -> Connect {
    let mut spec = Connect::plain(Target::Ip(to));
    dress(&mut spec, config, backend, backend.source.as_ref(), ends);
    spec
}

/// By way of a SOCKS4 proxy. `None`: it knows no such address, only those of IPv4.
pub fn through_socks4(spec: &mut Connect, proxy: SocketAddr) -> Option<()> {
    let to = match &spec.to {
        Target::Ip(SocketAddr::V4(to)) => *to,
        Target::Ip(SocketAddr::V6(to)) => SocketAddrV4::new(to.ip().to_ipv4_mapped()?, to.port()),
        Target::Unix(_) | Target::Abstract(_) => return None,
    };
    spec.through = Some(Through {
        proxy,
        hello: socks4::request(to).into(),
        grants: socks4::is_granted,
    });
    Some(())
}

fn dress(
    spec: &mut Connect,
    config: &Config,
    backend: &Backend,
    source: Option<&Source>,
    ends: Ends,
) {
    spec.keepalive = keepalive(&backend.tcpka);
    spec.rcvbuf = config.global.tune.rcvbuf_server;
    spec.sndbuf = config.global.tune.sndbuf_server;
    if let Some(source) = source {
        from_source(spec, source, ends);
    }
}

/// `source`: the address and ports to come from.
pub fn from_source(spec: &mut Connect, source: &Source, ends: Ends) {
    spec.interface.clone_from(&source.interface);
    let hop = spec.next_hop();
    let family = |ip: &IpAddr| matches!(&hop, Target::Ip(to) if to.is_ipv4() == ip.is_ipv4());
    let (ip, ports) = match (&source.usesrc, ends.client) {
        (Some(UseSrc::Client), Some(client)) => (client.ip(), (client.port(), client.port())),
        (Some(UseSrc::ClientIp), Some(client)) => (client.ip(), (0, 0)),
        (Some(UseSrc::Address(address)), _) => (address.ip(), (address.port(), address.port())),
        _ => (source.ip, source.ports),
    };
    spec.transparent = source.usesrc.is_some();
    let plain = ip.is_unspecified() && ports.0 == 0;
    if family(&ip) && !plain {
        spec.from = Some((ip, ports.0, ports.1));
    }
}

fn target(address: &ServerAddress, local: Option<SocketAddr>) -> Option<Target> {
    match address {
        ServerAddress::Ip { ip, port } => {
            let port = match port {
                ServerPort::Fixed(port) => *port,
                ServerPort::Mapped(offset) => {
                    let base = i32::from(local?.port());
                    // Wraps as haproxy's 16-bit sum does; the configuration bounds the offset.
                    (base + offset) as u16
                }
            };
            // No address of its own: the one the client connected to. Without one (a unix socket,
            // a probe) the kernel takes the unspecified address for this machine.
            let mut to = match local {
                Some(local) if ip.is_unspecified() => local,
                _ => SocketAddr::new(*ip, port),
            };
            to.set_port(port);
            Some(Target::Ip(to))
        }
        ServerAddress::Unresolved { .. } => None,
        ServerAddress::Unix(path) => Some(Target::Unix(path.clone())),
        ServerAddress::Abns(name) => Some(Target::Abstract(abns(name))),
    }
}

/// haproxy fills abstract names with zeros up to the full length of the address.
fn abns(name: &[u8]) -> Vec<u8> {
    const NAME_BYTES: usize = 107;
    let mut full = name.to_vec();
    full.resize(NAME_BYTES, 0);
    full
}

/// Keep-alive as the engine wants it.
pub fn keepalive(wanted: &config::KeepAlive) -> Option<KeepAlive> {
    wanted.enabled.then_some(KeepAlive {
        idle_s: wanted.idle_s,
        intvl_s: wanted.intvl_s,
        count: wanted.count,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Input, LoadInputs, load};

    fn reached(address: &str, local: Option<&str>) -> Option<Target> {
        let text = format!("listen l\nbind :1\nserver s {address}\n");
        let inputs = LoadInputs {
            inputs: vec![Input::Text {
                name: "test".to_owned(),
                bytes: text.into_bytes(),
            }],
            ..LoadInputs::default()
        };
        let config = load(&inputs).config.expect("a correct configuration");
        target(
            &config.server(ServerId(0)).address,
            local.map(|a| a.parse().unwrap()),
        )
    }

    #[test]
    fn an_unspecified_server_is_where_the_client_connected_to() {
        let ip = |text: &str| Some(Target::Ip(text.parse().unwrap()));
        for (address, local, want) in [
            ("0.0.0.0:80", Some("10.0.0.1:25"), "10.0.0.1:80"),
            ("[::]:80", Some("10.0.0.1:25"), "10.0.0.1:80"),
            ("0.0.0.0", Some("[2001:db8::7]:25"), "[2001:db8::7]:25"),
            ("[::]:+2", Some("[fe80::7%3]:25"), "[fe80::7%3]:27"),
            // Unix clients and probes: this machine.
            ("0.0.0.0:80", None, "0.0.0.0:80"),
            ("10.0.0.2:80", Some("10.0.0.1:25"), "10.0.0.2:80"),
        ] {
            assert_eq!(reached(address, local), ip(want), "{address} {local:?}");
        }
        assert_eq!(reached("0.0.0.0", None), None, "nor a port");
    }
}
