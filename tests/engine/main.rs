//! The shards themselves over real sockets, on both pollers, without command line or file.

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use ringway::shard::PollerKind;
use support::{World, both_pollers};

fn connect(world: &World) -> TcpStream {
    let stream = TcpStream::connect(world.address).expect("the balancer listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a timeout");
    stream
}

#[test]
fn bytes_come_back_the_way_they_went() {
    both_pollers(|poller| {
        let world = World::echo(poller, 2);
        for size in [1, 100, 16_384, 16_385, 100_000] {
            let mut stream = connect(&world);
            let sent: Vec<u8> = (0..size).map(|i| (i * 7 % 251) as u8).collect();
            stream.write_all(&sent).expect("sent");
            stream.shutdown(Shutdown::Write).expect("half-closed");
            let mut got = Vec::new();
            stream.read_to_end(&mut got).expect("read");
            assert!(got == sent, "{poller:?}: {size} bytes differ");
        }
        world.stop();
    });
}

#[test]
fn a_long_stream_is_spliced_and_arrives_whole() {
    both_pollers(|poller| {
        let world = World::echo(poller, 1);
        let stream = connect(&world);
        let mut writer = stream.try_clone().expect("cloned");
        const TOTAL: usize = 64 << 20;
        let sender = std::thread::spawn(move || {
            let block: Vec<u8> = (0..1 << 16).map(|i| (i % 253) as u8).collect();
            for _ in 0..TOTAL / block.len() {
                writer.write_all(&block).expect("sent");
            }
            writer.shutdown(Shutdown::Write).expect("half-closed");
        });
        let mut got = 0usize;
        let mut buffer = vec![0u8; 1 << 16];
        let mut stream = stream;
        loop {
            let n = stream.read(&mut buffer).expect("read");
            if n == 0 {
                break;
            }
            for (i, byte) in buffer[..n].iter().enumerate() {
                assert_eq!(
                    *byte,
                    ((got + i) % (1 << 16) % 253) as u8,
                    "{poller:?}: at {}",
                    got + i
                );
            }
            got += n;
        }
        sender.join().expect("sent all");
        assert_eq!(got, TOTAL);
        let spliced = world.shared.sum(|s| &s.activity.bytes_spliced);
        assert!(
            spliced > TOTAL as u64,
            "{poller:?}: only {spliced} bytes were spliced"
        );
        world.stop();
    });
}

#[test]
fn a_server_that_refuses_ends_the_session_after_its_retries() {
    let free = TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("its number");
    let world = World::new(PollerKind::IoUring, 1, free, |config| {
        config.backends[0].retries = 1;
        config.backends[0].timeout_connect_ms = Some(100);
    });
    let mut stream = connect(&world);
    let mut got = Vec::new();
    let _ = stream.read_to_end(&mut got);
    assert!(got.is_empty());
    assert_eq!(world.shared.sum(|s| &s.backends[0].retries), 1);
    assert_eq!(world.shared.sum(|s| &s.backends[0].connect_errors), 1);
    world.stop();
}

#[test]
fn many_short_connections_leave_nothing_behind() {
    both_pollers(|poller| {
        let world = World::echo(poller, 2);
        for round in 0..500u32 {
            let mut stream = connect(&world);
            stream.write_all(&round.to_be_bytes()).expect("sent");
            stream.shutdown(Shutdown::Write).expect("half-closed");
            let mut got = Vec::new();
            stream.read_to_end(&mut got).expect("read");
            assert_eq!(got, round.to_be_bytes());
        }
        assert_eq!(world.shared.sum(|s| &s.frontends[0].connections), 500);
        world.expect_idle();
        world.stop();
    });
}
