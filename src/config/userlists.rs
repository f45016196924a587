//! Reads `userlist` sections (configuration.txt 3.4).

use super::keyword::{Keyword, MANY, USERLIST};
use super::raw::Raw;
use super::userlist::{Password, User, Userlist};
use super::words::{Args, Cx, Said};
use crate::base::crypt;
use crate::lang::diag::{Form, did_you_mean, nearest};
use crate::lang::lexer::Word;

/// One section as written.
#[derive(Debug)]
pub(super) struct UserlistRaw {
    pub(super) name: String,
    users: Vec<UserRaw>,
    groups: Vec<GroupRaw>,
}

#[derive(Debug)]
struct UserRaw {
    name: String,
    password: Password,
    /// `groups`: names separated by commas.
    groups: Vec<Word>,
}

#[derive(Debug)]
struct GroupRaw {
    name: String,
    /// `users`: names separated by commas.
    users: Vec<Word>,
}

impl UserlistRaw {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            users: Vec::new(),
            groups: Vec::new(),
        }
    }
}

/// Every keyword of `userlist`.
pub(super) static TABLE: &[Keyword<UserlistRaw>] = &[
    Keyword::new(
        "group",
        USERLIST,
        (0, MANY),
        "<name> [users <user>,…]",
        "a group and who is in it",
        group,
    ),
    Keyword::new(
        "user",
        USERLIST,
        (0, MANY),
        "<name> [password|insecure-password <password>] [groups <group>,…]",
        "a user, a hash as crypt(3) writes it or the password itself, and the groups it is in",
        user,
    ),
];

fn name(args: &mut Args<'_, '_>) -> Result<String, Said> {
    let Some(word) = args.next() else {
        let text = format!("'{}' expects <name> as arguments.", args.name);
        let end = args.end();
        return Err(args.fail(end, text));
    };
    Ok(word.text().into_owned())
}

fn group(list: &mut UserlistRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    let at = args.rest().first().map_or(args.head, |w| w.span);
    let name = name(args)?;
    if list.groups.iter().any(|g| g.name == name) {
        let text = format!(
            "ignoring duplicated group '{name}' in userlist '{}'.",
            list.name
        );
        args.cx.warning(at, text).tight();
        return Ok(());
    }
    let mut users = Vec::new();
    while let Some(word) = args.next() {
        if word.bytes != b"users" {
            return Err(args.fail(word.span, "'group' only supports 'users' option."));
        }
        users = names(args.next());
    }
    list.groups.push(GroupRaw { name, users });
    Ok(())
}

fn user(list: &mut UserlistRaw, args: &mut Args<'_, '_>) -> Result<(), Said> {
    let at = args.rest().first().map_or(args.head, |w| w.span);
    let name = name(args)?;
    if list.users.iter().any(|u| u.name == name) {
        let text = format!(
            "ignoring duplicated user '{name}' in userlist '{}'.",
            list.name
        );
        args.cx.warning(at, text).tight();
        return Ok(());
    }
    let mut out = UserRaw {
        name,
        password: Password::None,
        groups: Vec::new(),
    };
    while let Some(word) = args.next() {
        match &*word.bytes {
            b"password" => out.password = Password::Hashed(hash(args, word)?),
            b"insecure-password" => {
                out.password = Password::Plain(value(args, word)?.text().into_owned())
            }
            b"groups" => out.groups = names(args.next()),
            _ => {
                let text =
                    "'user' only supports 'password', 'insecure-password' and 'groups' options.";
                return Err(args.fail(word.span, text));
            }
        }
    }
    list.users.push(out);
    Ok(())
}

/// The word behind `option`. haproxy takes its absence as an empty password, which lets everyone in who types none.
fn value<'a>(args: &mut Args<'a, '_>, option: &Word) -> Result<&'a Word, Said> {
    args.next().ok_or(()).map_err(|()| {
        let text = format!("'user' : '{}' expects a password.", option.text());
        let end = args.end();
        args.fail(end, text)
    })
}

/// A hash that we can verify. One that crypt(3) cannot either is what haproxy takes for a password nobody has.
fn hash(args: &mut Args<'_, '_>, option: &Word) -> Result<String, Said> {
    let word = value(args, option)?;
    let text = word.text().into_owned();
    match crypt::scheme(&text) {
        Ok(_) => {}
        Err(crypt::Unknown::Later(name)) => {
            return Err(args.cx.not_yet(word.span, &format!("password hash {name}")));
        }
        Err(crypt::Unknown::NoHash) => {
            let what = "'user' : this is no password hash: nobody can log in by this name.";
            args.cx.warning(word.span, what).help(
                "'insecure-password' takes the password itself; 'mkpasswd -m sha-512' makes a hash",
            );
        }
    }
    Ok(text)
}

/// A list with commas, each name with its place.
fn names(word: Option<&Word>) -> Vec<Word> {
    let Some(word) = word else {
        return Vec::new();
    };
    let mut at = 0;
    let mut out = Vec::new();
    for part in word.bytes.split(|&b| b == b',') {
        if !part.is_empty() {
            out.push(Word {
                bytes: part.to_vec(),
                span: word.part(at, part.len()),
            });
        }
        at += part.len() + 1;
    }
    out
}

/// All lists, users in their groups whichever side said so.
pub(super) fn resolve(raw: &Raw, cx: &mut Cx<'_>) -> Vec<Userlist> {
    raw.userlists.iter().map(|list| one(list, cx)).collect()
}

fn one(list: &UserlistRaw, cx: &mut Cx<'_>) -> Userlist {
    let name = &list.name;
    let group_names = || list.groups.iter().map(|g| &*g.name);
    let user_names = || list.users.iter().map(|u| &*u.name);
    let mut users = Vec::new();
    for user in &list.users {
        let mut groups: Vec<String> = Vec::new();
        for word in &user.groups {
            let wanted = word.text();
            if group_names().any(|g| g == wanted) {
                groups.push(wanted.into_owned());
            } else {
                let near = did_you_mean(&nearest(&wanted, group_names()));
                let text = format!(
                    "userlist '{name}': no such group '{wanted}' specified in user '{}'{near}",
                    user.name
                );
                let _: Said = cx.alert_as(Form::Bare, word.span, text);
            }
        }
        let listed = |g: &&GroupRaw| g.users.iter().any(|w| w.text() == *user.name);
        for group in list.groups.iter().filter(listed) {
            if !groups.contains(&group.name) {
                groups.push(group.name.clone());
            }
        }
        users.push(User {
            name: user.name.clone(),
            password: user.password.clone(),
            groups,
        });
    }
    for group in &list.groups {
        for word in &group.users {
            let wanted = word.text();
            if !user_names().any(|u| u == wanted) {
                let near = did_you_mean(&nearest(&wanted, user_names()));
                let text = format!(
                    "userlist '{name}': no such user '{wanted}' specified in group '{}'{near}",
                    group.name
                );
                let _: Said = cx.alert_as(Form::Bare, word.span, text);
            }
        }
    }
    Userlist {
        name: name.clone(),
        users,
    }
}
