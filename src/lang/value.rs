//! Times, sizes and numbers as haproxy writes them.
