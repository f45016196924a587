//! Leaf types without policy.

pub mod slots;
pub mod tick;
pub mod wheel;
