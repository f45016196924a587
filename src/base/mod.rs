//! Leaf types without policy.

pub mod civil;
pub mod clock;
pub mod crypt;
pub mod hash;
pub mod histogram;
pub mod items;
pub mod slots;
pub mod tick;
pub mod wheel;
