//! Many reactors at one gate.

use super::*;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{sleep, timeout};

/// Numbers that look random and come again with the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888);
        usize::try_from(self.0 >> 33).unwrap() % below
    }
}

fn claim(client: usize) -> Claim {
    Claim { key: Name::new("key"), client: Name::new(&client.to_string()) }
}

fn gate(limit: usize, queue_max: usize) -> Arc<Gate> {
    Gate::new(Settings { limit, queue_max, wait_max: None })
}

fn on_reactor<T>(work: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, work)
}

/// One visit: it waits, or gives up; works, pauses, goes on, or is refused.
async fn visit(gate: Arc<Gate>, inside: Arc<AtomicUsize>, seed: u64) {
    let mut random = Random(seed);
    let entry = gate.ask(&[claim(random.below(5))]);
    let entered = match entry {
        Ok(Entry::In(permit)) => Ok(permit),
        Ok(Entry::Queued(turn)) => {
            let patience = Duration::from_micros(random.below(3_000) as u64);
            match random.below(3) {
                0 => match timeout(patience, turn).await {
                    Ok(turned) => turned,
                    Err(_) => return,
                },
                _ => turn.await,
            }
        }
        Err(refusal) => Err(refusal),
    };
    let Ok(mut permit) = entered else { return };
    let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
    assert!(now <= 3, "{now} are in");
    if random.below(2) == 0 {
        sleep(Duration::from_micros(random.below(500) as u64)).await;
    }
    inside.fetch_sub(1, Ordering::SeqCst);
    if random.below(4) == 0 {
        permit.pause();
        sleep(Duration::from_micros(random.below(500) as u64)).await;
        if random.below(2) == 0 {
            permit.resume();
        }
    }
}

#[test]
fn reactors_share_a_gate_and_leave_nothing() {
    for seed in 1..=3_u64 {
        let (gate, inside) = (gate(3, 20), Arc::new(AtomicUsize::new(0)));
        std::thread::scope(|scope| {
            for reactor in 0..4 {
                let (gate, inside) = (Arc::clone(&gate), Arc::clone(&inside));
                scope.spawn(move || {
                    on_reactor(async {
                        let mut visits = JoinSet::new();
                        for at in 0..300 {
                            let seed = seed * 10_000 + reactor * 1_000 + at;
                            let (gate, inside) = (Arc::clone(&gate), Arc::clone(&inside));
                            visits.spawn_local(visit(gate, inside, seed));
                            if at % 7 == 0 {
                                sleep(Duration::from_micros(200)).await;
                            }
                        }
                        let all = timeout(Duration::from_secs(30), visits.join_all()).await;
                        all.unwrap_or_else(|_| panic!("seed {seed}: somebody waits without end"));
                    });
                });
            }
        });
        let load = gate.load(10);
        assert_eq!((load.running, load.queued), (0, 0), "seed {seed}: {load:?}");
        assert!(load.top_clients.is_empty() && gate.lock().waiting.is_empty(), "seed {seed}");
    }
}

#[test]
fn a_limit_that_grows_wakes_who_waits() {
    on_reactor(async {
        let gate = gate(1, 10);
        let Ok(Entry::In(_first)) = gate.ask(&[claim(1)]) else { panic!("there is room") };
        let Ok(Entry::Queued(second)) = gate.ask(&[claim(2)]) else { panic!("there is none") };
        let Ok(Entry::Queued(third)) = gate.ask(&[claim(3)]) else { panic!("there is none") };
        assert_eq!((gate.before(second.ticket()), gate.before(third.ticket())), (Some(0), Some(1)));
        gate.set_limit(2);
        let _second = timeout(Duration::from_secs(5), second).await.expect("it is woken").unwrap();
        gate.set_limit(0);
        let _third = timeout(Duration::from_secs(5), third).await.expect("it is woken").unwrap();
        assert_eq!(gate.load(0).running, 3);
    });
}

#[test]
fn a_turn_that_came_and_was_not_taken_goes_to_the_next() {
    on_reactor(async {
        let gate = gate(1, 10);
        let Ok(Entry::In(first)) = gate.ask(&[claim(1)]) else { panic!("there is room") };
        let Ok(Entry::Queued(second)) = gate.ask(&[claim(2)]) else { panic!("there is none") };
        let Ok(Entry::Queued(third)) = gate.ask(&[claim(3)]) else { panic!("there is none") };
        drop(first);
        drop(second);
        timeout(Duration::from_secs(5), third).await.expect("it is woken").unwrap();
        assert_eq!(gate.load(0).running, 0);
    });
}

#[test]
fn a_paused_permit_is_lent_and_comes_back_as_a_debt() {
    let gate = gate(1, 10);
    let Ok(Entry::In(mut first)) = gate.ask(&[claim(1)]) else { panic!("there is room") };
    first.pause();
    let Ok(Entry::In(second)) = gate.ask(&[claim(2)]) else { panic!("its place is free") };
    first.resume();
    let Ok(Entry::Queued(third)) = gate.ask(&[claim(3)]) else { panic!("there is none") };
    drop(second);
    assert_eq!(gate.before(third.ticket()), Some(0), "the first one is in");
    drop(first);
    on_reactor(async { drop(third.await.unwrap()) });
    assert_eq!(gate.load(0).running, 0);
}
