//! The relay, listener and connect drivers, the readiness engine, queues and mailboxes in a world
//! of one to eight shards whose turns, wires and clocks a seed interleaves.
//!
//! `RINGWAY_SEEDS=10000` for the full size; `RINGWAY_SEED=n` repeats one. A failure prints its seed.

mod world;

use world::{Fault, World};

fn seeds() -> std::ops::Range<u64> {
    if let Ok(one) = std::env::var("RINGWAY_SEED") {
        let seed = one.parse().expect("RINGWAY_SEED is a number");
        return seed..seed + 1;
    }
    let count = std::env::var("RINGWAY_SEEDS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(1500);
    0..count
}

#[test]
fn bytes_slots_descriptors_and_counters_balance_whatever_the_seed_does() {
    let mut relayed = 0;
    for seed in seeds() {
        let result = std::panic::catch_unwind(|| {
            let mut world = World::new(seed, Fault::None);
            world.run();
            world.relayed
        });
        match result {
            Ok(bytes) => relayed += bytes,
            Err(_) => panic!("seed {seed} fails; repeat it with RINGWAY_SEED={seed}"),
        }
    }
    assert!(
        relayed > 0,
        "nothing was relayed: the simulation does not test anything"
    );
}

#[test]
fn a_byte_lost_on_purpose_is_caught() {
    caught_by_some_seed(Fault::LoseAByte);
}

#[test]
fn a_place_kept_on_purpose_is_caught() {
    caught_by_some_seed(Fault::KeepAPlace);
}

fn caught_by_some_seed(fault: Fault) {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let caught =
        (0..20).any(|seed| std::panic::catch_unwind(|| World::new(seed, fault).run()).is_err());
    std::panic::set_hook(hook);
    assert!(caught, "the simulation is blind to {fault:?}");
}
