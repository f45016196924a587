//! The configuration language: files, words, conditions, values and what is said about mistakes.

pub mod addr;
pub mod cond;
pub mod diag;
pub mod env;
pub mod lexer;
pub mod source;
pub mod value;
