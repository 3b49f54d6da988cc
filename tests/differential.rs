//! Random histories and random requests: our answers against stock git's.
//!
//! Goal: what nobody thought of: clocks that run backwards, haves beside any want, boundaries
//! anywhere, filters, tags of tags, all of it at once.
//! Method: each round makes a repository and sends the same requests to both upload-packs;
//! acknowledgments, boundaries and the set of objects in the pack must be equal, but for objects that
//! only git sends and the client has. The seed is
//! printed; `SEED` repeats a run, `ROUNDS` makes it longer.
//!
//! Never here: clients; `fetch` has those.

mod answer;
mod ask;
mod world;

use std::time::{SystemTime, UNIX_EPOCH};

use gitring_tests::random::Random;
use gitring_tests::stdio::{Call, Server};

use answer::Answer;
use ask::Ask;
use world::World;

/// Repositories of one run, unless `ROUNDS` says otherwise.
const ROUNDS: u64 = 4;
/// Requests to each repository.
const REQUESTS: u64 = 12;
/// Runs in which something was found once.
const FOUND: [u64; 6] = [30, 46, 1076, 1125, 5009, 1_795_283_850_000];

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn random_requests_are_answered_like_stock_gits() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs());
    let first = number("SEED").unwrap_or(now * 1_000);
    let mut faults = Vec::new();
    let fresh = first..first + number("ROUNDS").unwrap_or(ROUNDS);
    for seed in FOUND.into_iter().chain(fresh) {
        let mut random = Random::new(seed);
        let world = World::new(&mut random);
        for request in 0..REQUESTS {
            let ask = Ask::random(&world, &mut random);
            if let Some(fault) = difference(&world, &ask) {
                faults.push(format!("SEED={seed} ROUNDS=1, request {request}:\n{ask}\n{fault}"));
            }
        }
    }
    assert!(faults.is_empty(), "{} faults\n\n{}", faults.len(), faults.join("\n\n"));
    eprintln!("seeds from {first}");
}

/// What differs in the two answers.
fn difference(world: &World, ask: &Ask) -> Option<String> {
    let call = Call { options: ask.options(), protocol: ask.protocol(), environment: &[] };
    let serve = |server: Server| {
        let output = server.converse(&world.repository.path, &call, &ask.bytes());
        Answer::new(world, ask, output)
    };
    serve(Server::Ours).difference(&serve(Server::Stock), world, ask)
}
