//! `userlist` sections: names, passwords and groups for `http_auth` (configuration.txt 3.4 "Userlists").

use crate::base::crypt;
use crate::lang::subject::{Login, Secret};

/// One section.
#[derive(Debug, Clone, Default)]
pub struct Userlist {
    pub name: String,
    pub users: Vec<User>,
}

#[derive(Debug, Clone)]
pub struct User {
    pub name: String,
    pub password: Password,
    pub groups: Vec<String>,
}

#[derive(Debug, Clone)]
pub enum Password {
    /// `insecure-password`.
    Plain(String),
    /// `password`: as crypt(3) writes it.
    Hashed(String),
    /// None at all: nobody can log in by this name.
    None,
}

impl Userlist {
    pub fn user(&self, name: &[u8]) -> Option<&User> {
        self.users.iter().find(|u| u.name.as_bytes() == name)
    }
}

impl User {
    /// What expressions are told of the user; a hash stays here.
    pub fn login(&self) -> Login<'_> {
        let secret = match &self.password {
            Password::Plain(text) => Secret::Plain(text.as_bytes()),
            Password::Hashed(_) => Secret::Hashed,
            Password::None => Secret::Nobody,
        };
        Login {
            secret,
            groups: &self.groups,
        }
    }
    pub fn is_in(&self, group: &[u8]) -> bool {
        self.groups.iter().any(|g| g.as_bytes() == group)
    }
}

/// Whether `password` is the user's. Takes milliseconds where [`is_slow`] says so.
pub fn verify(user: &User, password: &[u8]) -> bool {
    match &user.password {
        Password::Plain(own) => crypt::same(own.as_bytes(), password),
        Password::Hashed(hash) => crypt::verify(hash, password),
        Password::None => false,
    }
}

/// Whether verifying costs so much that it belongs off the data path: a hash of any kind.
pub fn is_slow(user: &User) -> bool {
    matches!(user.password, Password::Hashed(_))
}

#[cfg(test)]
mod tests {
    use super::super::tests::config;
    use super::*;

    #[test]
    fn users_are_in_groups_whichever_side_says_so() {
        let lists = config(
            "userlist a\ngroup g1 users tom,ann\ngroup g2\nuser tom insecure-password cat groups g2\n\
             user ann\nuserlist b\nlisten l\nbind :1\nserver s 192.0.2.1:80\n",
        )
        .userlists;
        assert_eq!(lists.len(), 2);
        let tom = lists[0].user(b"tom").unwrap();
        assert!(tom.is_in(b"g1") && tom.is_in(b"g2") && !tom.is_in(b"g3"));
        assert!(verify(tom, b"cat") && !verify(tom, b"dog") && !is_slow(tom));
        let login = tom.login();
        assert!(matches!(login.secret, Secret::Plain(b"cat")));
        assert_eq!(login.groups, ["g2", "g1"]);
        let ann = lists[0].user(b"ann").unwrap();
        assert!(ann.is_in(b"g1") && !verify(ann, b""));
        assert!(lists[0].user(b"bob").is_none());
    }

    #[test]
    fn a_hash_is_verified_and_is_slow() {
        let user = |hash: &str| User {
            name: "u".to_owned(),
            password: Password::Hashed(hash.to_owned()),
            groups: Vec::new(),
        };
        let ours = user("$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5");
        assert!(
            verify(&ours, b"Hello world!") && !verify(&ours, b"hello world!") && is_slow(&ours)
        );
    }
}
