//! Password hashes as crypt(3) writes them: `$1$` (MD5), `$5$` and `$6$` (SHA-crypt), `$y$` (yescrypt), and the
//! traditional one of thirteen characters (DES).

mod des;

use md5::{Digest as _, Md5};
use sha_crypt::{PasswordVerifier as _, ShaCrypt};
use yescrypt::Yescrypt;

/// A kind of hash that can be verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Des,
    Md5,
    /// SHA-256 or SHA-512.
    Sha,
    Yescrypt,
}

/// Why a text is of no [`Scheme`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// crypt(3) of many systems knows it, we do not: its name.
    Later(&'static str),
    /// Nothing that crypt(3) writes.
    NoHash,
}

/// Which kind of hash `text` is, judged by how it begins.
///
/// # Errors
/// Why it can never be verified.
pub fn scheme(text: &str) -> Result<Scheme, Unknown> {
    let begins = |prefix: &&str| text.starts_with(*prefix);
    let later = [
        "$2a$", "$2b$", "$2x$", "$2y$", "$7$", "$gy$", "$sha1", "$md5",
    ];
    if let Some(name) = later.into_iter().find(begins) {
        return Err(Unknown::Later(name));
    }
    match text.as_bytes() {
        [b'$', b'1', b'$', ..] => Ok(Scheme::Md5),
        [b'$', b'5' | b'6', b'$', ..] => Ok(Scheme::Sha),
        [b'$', b'y', b'$', ..] => Ok(Scheme::Yescrypt),
        [b'_', ..] if text.len() == 20 => Err(Unknown::Later("of extended DES")),
        _ if text.len() == 13 && text.bytes().all(|b| DIGITS.contains(&b)) => Ok(Scheme::Des),
        _ => Err(Unknown::NoHash),
    }
}

/// Whether `hash` is that of `password`. A hash of no known kind is nobody's.
///
/// Takes from a fraction of a millisecond to a large part of a second, as the hash asks for.
pub fn verify(hash: &str, password: &[u8]) -> bool {
    match scheme(hash) {
        Ok(Scheme::Des) => verify_des(hash, password),
        Ok(Scheme::Md5) => verify_md5(hash, password),
        Ok(Scheme::Sha) => ShaCrypt::default().verify_password(password, hash).is_ok(),
        Ok(Scheme::Yescrypt) => Yescrypt::default().verify_password(password, hash).is_ok(),
        Err(_) => false,
    }
}

/// Compares without telling by its time where two texts of one length differ.
pub fn same(a: &[u8], b: &[u8]) -> bool {
    let differ = |(a, b): (&u8, &u8)| a ^ b;
    a.len() == b.len() && a.iter().zip(b).map(differ).fold(0, |all, one| all | one) == 0
}

/// Digits of crypt(3), six bits each.
const DIGITS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

fn verify_des(hash: &str, password: &[u8]) -> bool {
    let salt = hash.as_bytes().first_chunk();
    salt.is_some_and(|salt| same(hash.as_bytes(), &des::digits(password, *salt)))
}

fn verify_md5(hash: &str, password: &[u8]) -> bool {
    let parts = hash
        .strip_prefix("$1$")
        .and_then(|rest| rest.split_once('$'));
    parts.is_some_and(|(salt, digits)| {
        let salt = &salt.as_bytes()[..salt.len().min(MD5_SALT_MAX)];
        same(digits.as_bytes(), &md5_digits(password, salt))
    })
}

/// Bytes of salt that count.
const MD5_SALT_MAX: usize = 8;
/// How often the digest goes through MD5 again.
const MD5_ROUNDS: usize = 1000;

/// Poul-Henning Kamp's MD5-crypt, as FreeBSD 2.0 had it first.
fn md5_digits(password: &[u8], salt: &[u8]) -> [u8; 22] {
    let inner = Md5::new()
        .chain_update(password)
        .chain_update(salt)
        .chain_update(password);
    let inner = inner.finalize();
    let mut outer = Md5::new()
        .chain_update(password)
        .chain_update(b"$1$")
        .chain_update(salt);
    for block in password.chunks(inner.len()) {
        outer.update(&inner[..block.len()]);
    }
    let mut bits = password.len();
    while bits > 0 {
        outer.update(if bits & 1 == 1 { b"\0" } else { &password[..1] });
        bits >>= 1;
    }
    let mut digest = outer.finalize();
    for round in 0..MD5_ROUNDS {
        let mut next = Md5::new();
        let odd = round % 2 == 1;
        next.update(if odd { password } else { &digest[..] });
        if round % 3 != 0 {
            next.update(salt);
        }
        if round % 7 != 0 {
            next.update(password);
        }
        next.update(if odd { &digest[..] } else { password });
        digest = next.finalize();
    }
    let mut out = [0; 22];
    let groups = [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]];
    for (group, digits) in groups.iter().zip(out.chunks_mut(4)) {
        let [a, b, c] = group.map(|at: usize| u32::from(digest[at]));
        write_digits(a << 16 | b << 8 | c, digits);
    }
    write_digits(u32::from(digest[11]), &mut out[20..]);
    out
}

fn write_digits(mut value: u32, digits: &mut [u8]) {
    for digit in digits {
        *digit = DIGITS[(value & 63) as usize];
        value >>= 6;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by crypt(3) of Debian 12.
    #[test]
    fn hashes_of_crypt_are_verified() {
        for (hash, password) in KNOWN {
            assert!(verify(hash, password.as_bytes()), "{hash}");
            assert!(!verify(hash, format!("!{password}").as_bytes()), "{hash}");
            assert!(!verify(hash, b""), "{hash}");
            let cut = &hash[..hash.len() - 1];
            assert!(!verify(cut, password.as_bytes()), "{cut}");
        }
    }

    #[test]
    fn what_is_no_hash_is_nobodys_password() {
        for text in [
            "",
            "secret",
            "$9$a$b",
            "$6$",
            "$1$",
            "$1$salt",
            "$y$",
            "$5$rounds=x$a$b",
            "$apr1$a$b",
        ] {
            assert!(!verify(text, text.as_bytes()), "{text}");
        }
        assert_eq!(scheme("secret"), Err(Unknown::NoHash));
        assert_eq!(scheme("$2y$05$abc"), Err(Unknown::Later("$2y$")));
    }

    #[test]
    fn equal_texts_are_the_same() {
        assert!(same(b"", b"") && same(b"ab", b"ab"));
        assert!(!same(b"ab", b"ac") && !same(b"ab", b"abc"));
    }

    const KNOWN: &[(&str, &str)] = &[
        ("abNANd1rDfiNc", "secret"),
        ("./7H4fGCYxIHQ", "x"),
        ("zZoyjepmhj3As", "eightlet"),
        ("9k/cle2tuzTSc", "pass wd"),
        ("$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1", "secret"),
        ("$1$$LP5.V3ajGqHDdXW6XwZQy.", "x"),
        (
            "$1$ab$QPh5htJmMtcM8zDb4F4FT1",
            "a longer password than sixteen bytes",
        ),
        (
            "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
            "Hello world!",
        ),
        (
            "$5$rounds=10000$saltstringsaltst$3xv.VbSHBb41AL9AvLeujZkZRBAwqFMz2.opqey6IcA",
            "Hello world!",
        ),
        (
            "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
            "Hello world!",
        ),
        (
            "$6$rounds=1400$anotherlongsalts$gcqWy8YP4ck.Vdlo7M1LGDHs2rcLB5yO7t.qtjugLkoxi0ZJFQeEbBVv/meM7XB3ZjNW0qN7aJ6Otq.PcqSRe/",
            "a very much longer text to encrypt.",
        ),
        (
            "$y$j9T$LdJMENpBABJJ3hIHjB1Bi.$hLaZXcKh6m7JYeftf3YBX9tUkp4CF5Pqe06e1mb9bt8",
            "secret",
        ),
    ];
}
