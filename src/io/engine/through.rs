//! Connections by way of a proxy: it is told where to, and its answer awaited, before the driver hears of the
//! connection.

use super::super::op::GRANT_BYTES;
use super::*;

/// What came so far of the answer of a proxy on the way.
#[derive(Debug)]
pub(super) struct Greeting {
    answer: [u8; GRANT_BYTES],
    len: usize,
    grants: fn(&[u8; GRANT_BYTES]) -> bool,
}

impl<K: Kernel> Engine<K> {
    /// Tells the proxy on the way where to connect. The few bytes fit a socket that sent nothing before.
    pub(super) fn greet(&mut self, sock: SockKey, through: &Through) {
        let entry = self.socks.get_mut(sock.0).expect("looked up by the caller");
        match self.kernel.send(entry.fd, &through.hello) {
            Ok(n) if n == through.hello.len() => {
                entry.tx = Tx::Greeting(Box::new(Greeting {
                    answer: [0; GRANT_BYTES],
                    len: 0,
                    grants: through.grants,
                }));
                self.read_greeting(sock);
            }
            Ok(_) => self.connected(sock, Errno::PROXY_ENDED),
            Err(errno) => self.connected(sock, errno),
        }
    }

    /// Reads no byte beyond the answer: what follows is the server's.
    pub(super) fn read_greeting(&mut self, sock: SockKey) {
        let entry = self.socks.get_mut(sock.0).expect("looked up by the caller");
        let Tx::Greeting(greeting) = &mut entry.tx else {
            return;
        };
        while greeting.len < GRANT_BYTES {
            match self
                .kernel
                .recv(entry.fd, &mut greeting.answer[greeting.len..])
            {
                Ok(0) => return self.connected(sock, Errno::PROXY_ENDED),
                Ok(n) => greeting.len += n,
                Err(errno) if errno.would_block() => {
                    entry.ready &= !ready::READ;
                    self.ensure_watched(sock);
                    return;
                }
                Err(errno) => return self.connected(sock, errno),
            }
        }
        let granted = (greeting.grants)(&greeting.answer);
        let errno = if granted {
            Errno(0)
        } else {
            Errno::PROXY_DENIED
        };
        self.connected(sock, errno);
    }
}
