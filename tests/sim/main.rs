//! The relay, listener and connect drivers, the readiness engine, queues and mailboxes in a world
//! of one to eight shards whose turns, wires and clocks a seed interleaves.
//!
//! `RINGWAY_SEEDS=10000` for the full size; `RINGWAY_SEED=n` repeats one. A failure prints its seed.

mod http;
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

// ---------------------------------------------------------------- HTTP

/// About half as many as of the relay's; each is lived through three times, in every mood.
fn http_seeds() -> std::ops::Range<u64> {
    let all = seeds();
    if std::env::var("RINGWAY_SEEDS").is_ok() || all.end - all.start == 1 {
        return all;
    }
    0..800
}

fn one_seed() -> bool {
    std::env::var("RINGWAY_SEED").is_ok()
}

fn each_http_seed(mood: http::Mood) -> (u64, u64) {
    let (mut whole, mut panics) = (0, 0);
    for seed in http_seeds() {
        let result = std::panic::catch_unwind(|| {
            let mut world = http::HttpWorld::new(seed, http::Fault::None, mood);
            world.run();
            (world.whole, world.panics)
        });
        match result {
            Ok(done) => (whole, panics) = (whole + done.0, panics + done.1),
            Err(_) => panic!("seed {seed} fails ({mood:?}); repeat it with RINGWAY_SEED={seed}"),
        }
    }
    (whole, panics)
}

#[test]
fn http_responses_are_whole_or_cut_and_never_another_requests() {
    let (whole, _) = each_http_seed(http::Mood::Wild);
    assert!(
        whole > 0 || one_seed(),
        "no response came: nothing is tested"
    );
}

/// The next request taken for the body of one that was sent again (16, 22, 67), and that body for the next request
/// (686); two pieces sent to a client at once when its server broke the request off (348, 690).
#[test]
fn http_seeds_that_found_a_fault_find_it_no_more() {
    for seed in [16, 22, 67, 348, 686, 690] {
        http::HttpWorld::new(seed, http::Fault::None, http::Mood::Wild).run();
    }
}

#[test]
fn http_requests_all_have_their_answers_where_nothing_goes_wrong() {
    let (whole, _) = each_http_seed(http::Mood::Calm);
    assert!(
        whole > 0 || one_seed(),
        "no response came: nothing is tested"
    );
}

#[test]
fn a_panic_ends_its_http_session_and_no_other() {
    quiet_injected_panics();
    let (whole, panics) = each_http_seed(http::Mood::Panics(8));
    assert!(
        whole > 0 || one_seed(),
        "no response came: nothing is tested"
    );
    let full = http_seeds().count() >= 300;
    assert!(!full || panics >= 1000, "{panics} panics");
}

#[test]
fn http_faults_on_purpose_are_caught() {
    use http::{Fault, HttpWorld, Mood};
    for (fault, mood) in [
        (Fault::KeepAPlace, Mood::Calm),
        (Fault::Mix, Mood::Wild),
        (Fault::LoseAByte, Mood::Calm),
        (Fault::SendAgain, Mood::Wild),
        (Fault::Unread, Mood::Calm),
    ] {
        let caught = (0..30).any(|seed| {
            std::panic::catch_unwind(|| HttpWorld::new(seed, fault, mood).run()).is_err()
        });
        assert!(caught, "the simulation is blind to {fault:?}");
    }
}

/// The panics that are wanted say nothing.
fn quiet_injected_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let text = info.payload().downcast_ref::<&str>();
            if text.is_none_or(|text| !text.contains("injected by the test command")) {
                hook(info);
            }
        }));
    });
}
