//! Conditions of `.if` and `-cc` (configuration.txt 2.4).

/// What predicates ask of the program: its version, its features, what is enabled.
#[derive(Clone, Debug, Default)]
pub struct Predicates {
    /// haproxy version we are compatible with: `3.4.0`.
    pub version: String,
    /// Names `feature()` answers true to.
    pub features: Vec<&'static str>,
    /// Options `enabled()` answers true to.
    pub enabled: Vec<&'static str>,
}
