//! SOCKS version 4, the client's side: a request to connect, and whether it was granted.
//!
//! There is no RFC: the protocol is Ying-Da Lee's note "SOCKS: A protocol for TCP proxy across firewalls". It knows
//! IPv4 alone.

use std::net::SocketAddrV4;

/// Bytes of an answer.
pub const ANSWER_BYTES: usize = 8;

/// The request to connect to `to`. Whose it is nobody verifies; haproxy says this name.
pub fn request(to: SocketAddrV4) -> Vec<u8> {
    const VERSION: u8 = 4;
    const CONNECT: u8 = 1;
    let mut out = vec![VERSION, CONNECT];
    out.extend(to.port().to_be_bytes());
    out.extend(to.ip().octets());
    out.extend(b"HAProxy\0");
    out
}

/// Whether the answer says that the connection is made. Its first byte has to be 0, but as haproxy does nobody minds.
pub fn is_granted(answer: &[u8; ANSWER_BYTES]) -> bool {
    const GRANTED: u8 = 90;
    answer[1] == GRANTED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_what_haproxy_sends() {
        let to = "127.0.0.1:25060".parse().expect("an address");
        assert_eq!(request(to), b"\x04\x01a\xe4\x7f\x00\x00\x01HAProxy\x00");
    }

    #[test]
    fn only_90_grants() {
        assert!(is_granted(b"\0\x5a\0\0\0\0\0\0"));
        for code in [0, 89, 91, 92, 93] {
            assert!(!is_granted(&[0, code, 0, 0, 0, 0, 0, 0]));
        }
    }
}
