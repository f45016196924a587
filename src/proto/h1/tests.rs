//! Rules one by one, every split, and a table of odd messages.

use super::*;

fn limits() -> Limits {
    Limits::default()
}

#[test]
fn a_plain_request_is_parsed_framed_and_written_again() {
    let wire =
        b"\r\nPOST  /a?b HTTP/1.1\r\nHost: x\r\nX-A: 1 \r\n 2\r\nContent-Length: 003\r\n\r\nabc";
    let mut head = Head::default();
    let parsed = request_head(wire, &limits(), &mut head);
    assert_eq!(
        parsed,
        Ok(Parse::Done {
            used: wire.len() - 3
        })
    );
    let framing = request_framing(&mut head, &limits()).unwrap();
    assert_eq!(framing.body, Body::Length(3));
    assert!(framing.keep_alive);
    let mut out = Vec::new();
    write_request(&mut out, &head);
    assert_eq!(
        std::str::from_utf8(&out).unwrap(),
        "POST /a?b HTTP/1.1\r\nhost: x\r\nx-a: 1    2\r\ncontent-length: 3\r\n\r\n"
    );
}
