//! The environment as the configuration sees and changes it (configuration.txt 2.3, `setenv` and kin).

use std::collections::BTreeMap;

/// Variables by name. Starts as a copy of the process' own; `setenv`, `presetenv`, `unsetenv`, `resetenv` change it.
#[derive(Clone, Debug, Default)]
pub struct Env {
    pub vars: BTreeMap<String, String>,
}
