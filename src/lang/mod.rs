//! The configuration language: files, words, conditions, values and what is said about mistakes.

pub mod acl;
pub mod addr;
pub mod changes;
pub mod cond;
pub mod convert;
pub mod diag;
pub mod env;
pub mod expr;
pub mod fetch;
pub mod lexer;
pub mod logformat;
pub mod pattern;
pub mod rules;
pub mod sample;
pub mod source;
pub mod subject;
pub mod value;
