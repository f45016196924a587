//! `userlist` sections: names, passwords and groups for `http_auth` (configuration.txt 3.4 "Userlists").

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
