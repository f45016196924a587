//! A small world for tests of statistics and commands: configuration text in, cells out.

use std::sync::Arc;

use super::{Facts, View};
use crate::base::tick::Tick;
use crate::config::{Config, Input, LoadInputs, load};
use crate::shared::Shared;

/// The proxies that haproxy 2.6.12 was asked about for the expected texts.
pub(crate) const CONFIG: &str = "
global
    maxconn 9981
defaults
    mode tcp
    timeout connect 500ms
    timeout client 3s
    timeout server 3s
    balance roundrobin
frontend fe
    option socket-stats
    bind 127.0.0.1:27001 name b1
    bind /tmp/fe.sock
    default_backend be
frontend conn
    bind 127.0.0.1:27002
    maxconn 100
    rate-limit sessions 50
    default_backend be
listen refused
    bind 127.0.0.1:27004
    server r1 127.0.0.1:27990
    server r2 127.0.0.1:27991
listen q
    bind 127.0.0.1:27005
    server q1 127.0.0.1:27900 maxconn 1
listen nosrv
    bind 127.0.0.1:27006
backend be
    balance roundrobin
    fullconn 2995
    server s1 127.0.0.1:27900 check weight 10
    server s2 127.0.0.1:27900 backup
    server s3 127.0.0.1:27992 check
    server s4 [::1]:27992 track s1 id 44
    server s5 /tmp/x.sock disabled
";

pub(crate) struct World {
    pub(crate) shared: Arc<Shared>,
    pub(crate) facts: Facts,
    pub(crate) now: Tick,
}

impl World {
    pub(crate) fn view(&self) -> View<'_> {
        View {
            shared: &self.shared,
            now: self.now,
            wall_us: 1_795_215_381_257_950,
            facts: &self.facts,
            offset_at: |_| 0,
        }
    }
}

pub(crate) fn config(text: &str) -> Config {
    let inputs = vec![Input::Text {
        name: "test.cfg".into(),
        bytes: text.into(),
    }];
    let loaded = load(&LoadInputs {
        inputs,
        shards: 2,
        ..LoadInputs::default()
    });
    assert!(!loaded.diags.has_errors(), "{:#?}", loaded.diags.list);
    loaded.config.expect("there was no error")
}

/// Two shards, up for 1 day, 2 hours, 3 minutes and 4 seconds.
pub(crate) fn world() -> World {
    world_of(CONFIG)
}

pub(crate) fn world_of(text: &str) -> World {
    world_with(text, |_| {})
}

/// A world whose configuration is changed before it is built.
pub(crate) fn world_with(text: &str, change: impl FnOnce(&mut Config)) -> World {
    let mut config = config(text);
    change(&mut config);
    let shared = Shared::new(Arc::new(config), 2);
    shared
        .process
        .pid
        .store(4242, std::sync::atomic::Ordering::Relaxed);
    let facts = Facts {
        name: "HAProxy".into(),
        version: "3.4.0-ringway-test".into(),
        release_date: "2026/11/20".into(),
        node: "lbnode".into(),
        poller: "io_uring".into(),
        control_poller: "poll".into(),
        hard_maxconn: 9981,
        ..Facts::default()
    };
    World {
        shared: Arc::new(shared),
        facts,
        now: Tick(93_784_000),
    }
}
