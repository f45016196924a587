//! The environment as the configuration sees and changes it (configuration.txt 2.3, `setenv` and kin).

use std::collections::BTreeMap;

/// Variables by name. Starts as a copy of the process' own; `setenv`, `presetenv`, `unsetenv`, `resetenv` change it.
#[derive(Clone, Debug, Default)]
pub struct Env {
    pub vars: BTreeMap<String, String>,
}

impl Env {
    /// The environment made of these pairs; the last of two with one name wins.
    pub fn from_pairs<N: Into<String>, V: Into<String>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        Self {
            vars: pairs
                .into_iter()
                .map(|(n, v)| (n.into(), v.into()))
                .collect(),
        }
    }

    /// Value of `name`; `None` if unset, which is not the same as empty.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.vars.get(name).map(String::as_str)
    }

    /// `setenv`: sets `name` whether or not it exists.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), BadName> {
        BadName::check(name)?;
        self.vars.insert(name.to_owned(), value.to_owned());
        Ok(())
    }

    /// `presetenv`: sets `name` only if it does not exist yet.
    pub fn preset(&mut self, name: &str, value: &str) -> Result<(), BadName> {
        BadName::check(name)?;
        self.vars
            .entry(name.to_owned())
            .or_insert_with(|| value.to_owned());
        Ok(())
    }

    /// `unsetenv`: forgets `name`; one that does not exist is no mistake.
    pub fn unset(&mut self, name: &str) -> Result<(), BadName> {
        BadName::check(name)?;
        self.vars.remove(name);
        Ok(())
    }

    /// `resetenv`: forgets all but `kept`. Without a name, all is forgotten.
    pub fn reset(&mut self, kept: &[&str]) {
        self.vars.retain(|name, _| kept.contains(&name.as_str()));
    }
}

/// A name that no environment can hold: empty, or with `=` in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadName;

impl BadName {
    fn check(name: &str) -> Result<(), Self> {
        if name.is_empty() || name.contains('=') {
            return Err(Self);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presetenv_leaves_an_existing_variable_alone_even_if_empty() {
        let mut env = Env::from_pairs([("A", "")]);
        env.preset("A", "x").unwrap();
        env.preset("B", "y").unwrap();
        assert_eq!((env.value("A"), env.value("B")), (Some(""), Some("y")));
    }

    #[test]
    fn resetenv_keeps_only_the_names_it_is_given() {
        let mut env = Env::from_pairs([("A", "1"), ("B", "2")]);
        env.reset(&["B", "C"]);
        assert_eq!((env.value("A"), env.value("B")), (None, Some("2")));
        env.reset(&[]);
        assert!(env.vars.is_empty());
    }

    #[test]
    fn names_that_are_empty_or_hold_an_equals_sign_are_refused() {
        let mut env = Env::default();
        assert_eq!(env.set("", "x"), Err(BadName));
        assert_eq!(env.unset("A=b"), Err(BadName));
        assert_eq!(
            env.set("1 odd name", "x"),
            Ok(()),
            "haproxy takes these as well"
        );
    }
}
