//! Probes.
use super::local::Local;
use crate::io::engine::Io;
use crate::io::op::Done;

#[derive(Debug)]
pub struct Probe {}
pub fn start(_local: &mut Local) {}
pub fn on_done(_local: &mut Local, _io: &mut dyn Io, _index: u32, _attempt: u32, _done: Done) {}
pub fn on_timer(_local: &mut Local, _io: &mut dyn Io, _index: u32) {}
