//! Operations and their ends, and the engine that turns one into the other.
//!
//! Drivers push [`Op`]s and receive [`Done`]s; they never see a ring. The [`engine::Engine`] is
//! *readiness*: it watches sockets through a [`kernel::Kernel`] (io_uring multishot poll, epoll, or
//! the simulation), makes direct non-blocking calls, and turns what completes at once into a `Done`
//! of the same turn. Nothing is in flight inside the kernel but polls, so a socket may be closed at
//! any time; a poll's late completion carries a generation and is dropped.
//!
//! Uses `base` only.

pub mod buf;
pub mod engine;
pub mod epoll;
pub mod kernel;
pub mod op;
pub mod pipe;
pub mod sim;
pub mod sys;
pub mod uring;

pub use buf::Buf;
pub use engine::{Engine, Limits};
pub use kernel::{Errno, Kernel};
pub use op::{Connect, Done, Op, SockKey, What};
pub use pipe::Pipe;
