use proptest::prelude::*;

use super::*;

fn patterns(method: Method, ignore_case: bool, texts: &[String]) -> Patterns {
    let mut builder = Builder::new(method, ignore_case);
    for text in texts {
        builder.add(text.as_bytes(), "eq", &|_| None).unwrap();
    }
    builder.build()
}

/// One pattern at a time, by the manual's words.
fn plainly(method: Method, ignore_case: bool, pattern: &str, text: &str) -> bool {
    let fold = |text: &str| {
        if ignore_case {
            text.to_ascii_lowercase()
        } else {
            text.to_owned()
        }
    };
    let (pattern, text) = (fold(pattern), fold(text));
    let parts = |separators: &[char]| {
        let pattern = pattern.trim_matches(separators);
        let ends = |at: usize| at == text.len() || text[at..].starts_with(separators);
        let begins = |at: usize| at == 0 || text[..at].ends_with(separators);
        !pattern.is_empty()
            && (0..text.len())
                .any(|at| text[at..].starts_with(pattern) && begins(at) && ends(at + pattern.len()))
    };
    match method {
        Method::Str => text == pattern,
        Method::Beg => text.starts_with(&pattern),
        Method::End => text.ends_with(&pattern),
        Method::Sub => text.contains(&pattern),
        Method::Dir => parts(&['/', '?']),
        Method::Dom => parts(&['/', '?', '.', ':']),
        Method::Reg => Regex::new(&pattern).unwrap().is_match(text.as_bytes()),
        other => panic!("{other:?}"),
    }
}

proptest! {
    #[test]
    fn many_patterns_match_what_one_after_the_other_would(
        method in prop::sample::select(vec![
            Method::Str, Method::Beg, Method::End, Method::Sub, Method::Dir, Method::Dom, Method::Reg,
        ]),
        ignore_case in any::<bool>(),
        texts in prop::collection::vec("[abA/.]{0,4}", 0..20),
        text in "[abA/.?:]{0,8}",
    ) {
        let given = patterns(method, ignore_case, &texts).matches(Value::Str(text.as_bytes()), &Arena::new());
        let expected = texts.iter().any(|pattern| plainly(method, ignore_case, pattern, &text));
        prop_assert_eq!(given, expected);
    }

    #[test]
    fn networks_contain_what_each_of_them_does(
        nets in prop::collection::vec((any::<u32>(), 0u8..=32), 0..12),
        ip in any::<u32>(),
        near in any::<prop::sample::Index>(),
    ) {
        // A random address is in no small network: take one near a network as often.
        let ip = match nets.is_empty() {
            false => nets[near.index(nets.len())].0 ^ (ip & 0xff),
            true => ip,
        };
        let nets: Vec<IpNet> = nets
            .into_iter()
            .map(|(bits, len)| IpNet::new(IpAddr::V4(bits.into()), len).unwrap().trunc())
            .collect();
        let texts: Vec<_> = nets.iter().map(ToString::to_string).collect();
        let ip = IpAddr::V4(ip.into());
        let given = patterns(Method::Ip, false, &texts).matches(Value::Ip(ip), &Arena::new());
        prop_assert_eq!(given, nets.iter().any(|net| net.contains(&ip)));
    }
}

#[test]
fn addresses_of_one_family_are_found_in_networks_of_the_other() {
    let net = |text: &str| patterns(Method::Ip, false, &[text.to_owned()]);
    for (pattern, ip, found) in [
        ("192.0.2.0/24", "::ffff:192.0.2.1", true),
        ("192.0.2.0/24", "::192.0.2.1", true),
        ("192.0.2.0/24", "2002:c000:0201::", true),
        ("192.0.2.0/24", "2001:db8::1", false),
        ("::ffff:192.0.2.0/120", "192.0.2.7", true),
        ("::/0", "192.0.2.7", true),
        ("2001:db8::/32", "2001:db8::5", true),
        ("2001:db8::/32", "2001:db9::5", false),
        ("0.0.0.0/0", "2001:db8::5", false),
    ] {
        let given = net(pattern).matches(Value::Ip(ip.parse().unwrap()), &Arena::new());
        assert_eq!(given, found, "{ip} in {pattern}");
    }
}

#[test]
fn versions_are_compared_as_two_numbers() {
    let mut builder = Builder::new(Method::Version, false);
    builder.add(b"3:3.1", "eq", &|_| None).unwrap();
    let patterns = builder.build();
    let matches =
        |major: i64, minor: i64| patterns.matches(Value::Int(major << 16 | minor), &Arena::new());
    assert!(matches(3, 0) && matches(3, 1));
    assert!(!matches(3, 2) && !matches(2, 9));
}
