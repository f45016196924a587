use super::fixture::{Fixture, fault};

#[test]
fn outside_of_acls_one_of_several_values_is_given() {
    let subject = Fixture::request(
        "GET /p?a=1&a=2 HTTP/1.1\r\nX-List: one, two\r\nX-List: three\r\nCookie: c=1; c=2\r\n\r\n",
    )
    .response("HTTP/1.1 200 OK\r\nSet-Cookie: s=9; path=/\r\n\r\n");
    for (expr, value) in [
        ("req.hdr(x-list)", Some("three")),
        ("req.hdr(x-list,1)", Some("one")),
        ("req.hdr(x-list,-2)", Some("two")),
        ("req.fhdr(x-list,1)", Some("one, two")),
        ("req.hdr(none)", None),
        ("req.cook(c)", Some("2")),
        ("url_param(a)", Some("1")),
        ("res.cook(s)", Some("9")),
        ("status", Some("200")),
    ] {
        assert_eq!(subject.text(expr).as_deref(), value, "{expr}");
    }
    assert_eq!(subject.texts("req.hdr(x-list)"), ["one", "two", "three"]);
    assert_eq!(subject.texts("req.cook(c)"), ["1", "2"]);
    assert_eq!(subject.texts("url_param(a)"), ["1", "2"]);
}

#[test]
fn mistakes_are_said_as_haproxy_says_them() {
    for (expr, message) in [
        ("hdr(host", "fetch method 'hdr' : expected ')'."),
        ("hdr(host)x", "missing comma after fetch keyword 'hdr'."),
        ("sc0_conn_cur", "'sc0_conn_cur' is not supported yet."),
        (
            "int(x)",
            "fetch method 'int' : failed to parse 'x' as type 'integer' at position 1.",
        ),
        (",lower", "missing fetch method."),
        ("(a)", "missing fetch method."),
    ] {
        assert_eq!(fault(expr).text, message, "{expr}");
    }
}
