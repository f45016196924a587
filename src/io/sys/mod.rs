//! Direct system calls. `unsafe` is allowed here and in `uring`, nowhere else.
#![allow(unsafe_code)] // the one place, with `uring`, where the kernel is spoken to

pub mod adopt;
pub mod localtime;
pub mod net;
pub mod process;
pub mod rawfd;
pub mod rights;
