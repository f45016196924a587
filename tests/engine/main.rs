//! The shards themselves over real sockets, on both pollers, without command line or file.

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::Ordering::Relaxed;
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

/// Sends a number, half-closes and expects it back. `false`: the connection was ended.
fn round(address: std::net::SocketAddr, number: u32) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else {
        return false;
    };
    let mut got = Vec::new();
    let said = stream
        .write_all(&number.to_be_bytes())
        .and_then(|()| stream.shutdown(Shutdown::Write));
    said.and_then(|()| stream.read_to_end(&mut got)).is_ok() && got == number.to_be_bytes()
}

#[test]
fn a_thousand_panics_in_drivers_end_a_thousand_sessions_and_no_other() {
    const PANICS: u32 = 1000;
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if info.payload_as_str() != Some("injected by the test command") {
            hook(info);
        }
    }));
    let world = World::echo(PollerKind::IoUring, 2);
    world.shared.process.panics_wanted.store(PANICS, Relaxed);
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let address = world.address;
            std::thread::spawn(move || (0..1000).filter(|n| !round(address, *n)).count())
        })
        .collect();
    let failed: usize = clients
        .into_iter()
        .map(|c| c.join().expect("a client"))
        .sum();
    assert_eq!(
        world.shared.process.panics_wanted.load(Relaxed),
        0,
        "all were injected"
    );
    let panics = world.shared.sum(|s| &s.activity.panics);
    assert_eq!(panics, u64::from(PANICS));
    assert!(
        failed <= panics as usize,
        "{failed} sessions failed by {panics} panics"
    );
    world.expect_idle();
    world.stop();
}

#[test]
fn a_servers_timeout_counts_again_once_a_slow_client_took_what_it_held_up() {
    const ANSWER: usize = 32 << 20;
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let to = listener.local_addr().expect("its number");
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("accepted");
        stream.write_all(&vec![b'x'; ANSWER]).expect("sent");
        // Then it says nothing, until it is hung up on.
        let _ = stream.read(&mut [0; 8]);
    });
    let world = World::new(PollerKind::IoUring, 1, to, |config| {
        config.backends[0].timeout_server_ms = Some(500);
    });
    let mut stream = connect(&world);
    // Longer than the server's timeout: the timer looks while the client holds everything up.
    std::thread::sleep(Duration::from_millis(900));
    let mut got = Vec::new();
    stream
        .read_to_end(&mut got)
        .expect("ended by the server's timeout, long before the client's");
    assert_eq!(got.len(), ANSWER);
    server.join().expect("hung up on");
    world.stop();
}
