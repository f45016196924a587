//! Seam of the PROXY header codec, which replaces this whole file.
use std::net::SocketAddr;
#[derive(Debug)]
pub struct Header;
impl Header {
    pub fn addresses(&self) -> Option<(SocketAddr, SocketAddr)> {
        None
    }
}
#[derive(Debug)]
pub enum Parse {
    Partial,
    Done(Header, usize),
}
pub fn parse(_: &[u8]) -> Result<Parse, ()> {
    Err(())
}
pub fn encode_v1(_: &mut Vec<u8>, _: Option<SocketAddr>, _: Option<SocketAddr>) {}
pub fn encode_v2(_: &mut Vec<u8>, _: Option<SocketAddr>, _: Option<SocketAddr>) {}
