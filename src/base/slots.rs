//! Slot map with generations.
