use super::*;

#[test]
fn a_target_is_split_where_its_path_begins() {
    for (target, before, path_query) in [
        ("/a?b", "", Some("/a?b")),
        ("http://h:1/a?b", "http://h:1", Some("/a?b")),
        ("http://h", "http://h", None),
        ("*", "*", None),
        ("h:443", "h:443", None),
        ("", "", None),
        ("/http://h/x", "", Some("/http://h/x")),
    ] {
        let parts = Target::of(target.as_bytes());
        assert_eq!(parts.before, before.as_bytes(), "{target}");
        assert_eq!(parts.path_query, path_query.map(str::as_bytes), "{target}");
    }
}

#[test]
fn an_authority_is_what_a_target_names_as_its_host() {
    for (target, wanted) in [
        ("/a", None),
        ("*", None),
        ("http://u:p@h:1/a", Some("h:1")),
        ("http://h?a", Some("h")),
        ("h:443", Some("h:443")),
    ] {
        let got = authority(target.as_bytes());
        assert_eq!(got, wanted.map(str::as_bytes), "{target}");
    }
}
