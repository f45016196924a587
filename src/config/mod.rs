//! From words to a typed, immutable [`Config`]: keyword tables, sections, defaults, references.

pub mod model;

pub use model::*;
