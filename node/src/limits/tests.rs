//! Limits as calls and packs meet them, and what becomes of those who wait when they change.

use super::*;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

const OLD: &str = "/gitaly.SmartHTTPService/PostUploadPack";
const NEW: &str = "/gitaly.SmartHTTPService/PostUploadPackWithSidechannel";

/// What a future comes to if it is asked once.
fn now<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

fn fixed(limit: usize) -> Concurrency {
    Concurrency { limit: Limit::Fixed(limit), queue_max: 10, wait_max: None }
}

fn table(rpc: &str, limit: Concurrency) -> MethodConcurrency {
    MethodConcurrency { rpc: rpc.to_owned(), limit: Some(limit), anonymous: None }
}

fn config(concurrency: Vec<MethodConcurrency>) -> LimitsConfig {
    LimitsConfig { concurrency, ..LimitsConfig::protective(1) }
}

fn limits(config: &LimitsConfig) -> Limits {
    Limits::new(config, &Registry::new())
}

fn caller(client: &str) -> Caller {
    let claim = Claim { key: repository_key("default", "a.git"), client: Name::new(client) };
    Caller { claim, is_anonymous: false }
}

#[test]
fn an_older_method_and_its_successor_share_a_limit_unless_both_have_one() {
    let shared = limits(&config(vec![table(OLD, fixed(1))]));
    let (old, new) = (shared.method(OLD).unwrap(), shared.method(NEW).unwrap());
    let first = now(old.admit(&caller("one"))).unwrap().unwrap();
    assert!(now(new.admit(&caller("two"))).is_none(), "there is one place for both");
    drop(first);
    assert!(now(new.admit(&caller("two"))).is_some());
    let apart = limits(&config(vec![table(OLD, fixed(1)), table(NEW, fixed(1))]));
    let (old, new) = (apart.method(OLD).unwrap(), apart.method(NEW).unwrap());
    let _first = now(old.admit(&caller("one"))).unwrap().unwrap();
    assert!(now(new.admit(&caller("two"))).is_some());
    assert!(apart.method("/gitaly.SSHService/SSHUploadPackWithSidechannel").is_none());
}

#[tokio::test]
async fn who_waits_keeps_its_place_when_limits_change() {
    let shared = limits(&config(vec![table(OLD, fixed(1))]));
    let method = shared.method(OLD).unwrap();
    let _first = method.admit(&caller("one")).await.unwrap();
    let wait = |client| {
        let method = Arc::clone(&method);
        async move { method.admit(&caller(client)).await }
    };
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            let second = tokio::task::spawn_local(wait("two"));
            let third = tokio::task::spawn_local(wait("three"));
            tokio::task::yield_now().await;
            shared.reload(&config(vec![table(OLD, fixed(2))]));
            let second = second.await.unwrap().unwrap();
            let queue = &shared.snapshot()[3];
            assert_eq!(queue.name, format!("perRPC{OLD}"));
            assert_eq!((queue.load.limit, queue.load.running, queue.load.queued), (2, 2, 1));
            let client = |client: &str, running, queued| ClientLoad {
                client: client.into(),
                running,
                queued,
            };
            let clients = [client("three", 0, 1), client("two", 1, 0), client("one", 1, 0)];
            assert_eq!(queue.load.top_clients.len(), clients.len());
            assert!(clients.iter().all(|client| queue.load.top_clients.contains(client)));
            shared.reload(&config(Vec::new()));
            assert!(shared.method(OLD).is_none());
            drop((second, third.await.unwrap().unwrap()));
        })
        .await;
}

#[test]
fn a_limit_stays_where_the_load_has_moved_it() {
    let adaptive = |initial, min, max| Concurrency {
        limit: Limit::Adaptive { initial, min, max },
        ..fixed(0)
    };
    let shared = limits(&config(vec![table("/a", adaptive(8, 2, 16))]));
    let find = |shared: &Limits| {
        let all = shared.adjustable();
        all.into_iter().find(|limit| limit.name == "perRPC/a").unwrap()
    };
    let limit = find(&shared);
    assert_eq!((limit.initial, limit.min, limit.max, limit.current()), (8, 2, 16, 8));
    limit.set_limit(1);
    assert_eq!(limit.current(), 2);
    shared.reload(&config(vec![table("/a", adaptive(8, 2, 16)), table("/b", fixed(1))]));
    assert_eq!(find(&shared).current(), 2);
    shared.reload(&config(vec![table("/a", adaptive(8, 4, 16))]));
    assert_eq!(find(&shared).current(), 4);
    shared.reload(&config(vec![table("/a", fixed(9))]));
    let names: Vec<String> = shared.adjustable().into_iter().map(|limit| limit.name).collect();
    assert_eq!(names, [BUILDING]);
}

fn requester(client: &str, address: Option<&str>) -> Requester {
    Requester { address: address.map(Name::new), client: Name::new(client), is_anonymous: false }
}

fn work(is_incremental: bool) -> Work {
    Work { store: Name::new("a.git"), is_incremental }
}

/// A pack that somebody wants, in line.
fn wanted(limits: &Limits, client: &str, is_incremental: bool) -> (Member, PackTurn) {
    let crowd = Arc::<Crowd>::default();
    let member = crowd.join(requester(client, None));
    (member, limits.packs().queue(&crowd, work(is_incremental)).unwrap())
}

#[tokio::test(start_paused = true)]
async fn increments_have_a_reserve_until_they_are_not_quick() {
    let one = LimitsConfig { building: fixed(1), ..LimitsConfig::protective(1) };
    let limits = limits(&one);
    let (_large, turn) = wanted(&limits, "one", false);
    let large = now(turn.wait()).unwrap().unwrap();
    let (second, waits) = wanted(&limits, "two", false);
    assert_eq!(second.place(), Some(Place { before: 0, members: 1 }));
    let (_small, turn) = wanted(&limits, "three", true);
    let mut small = now(turn.wait()).unwrap().unwrap();
    let (third, _also_waits) = wanted(&limits, "four", true);
    assert_eq!(third.place(), Some(Place { before: 0, members: 1 }), "there is one place");
    drop(waits);
    small.leave_reserve();
    assert!(third.place().is_some(), "there is no room elsewhere");
    drop(large);
    small.leave_reserve();
    let (_fifth, turn) = wanted(&limits, "five", false);
    assert!(now(turn.wait()).is_none(), "its place is taken by what left the reserve");
    tokio::time::sleep(Duration::from_millis(600)).await;
    small.done();
    // It took too long: the next of its kind waits with all others.
    let (_sixth, turn) = wanted(&limits, "six", false);
    let _sixth_permit = now(turn.wait()).unwrap().unwrap();
    let (seventh, _seventh_turn) = wanted(&limits, "seven", true);
    assert!(seventh.place().is_some());
    let reserve = &limits.snapshot()[1];
    assert_eq!((reserve.name.as_str(), reserve.load.queued), (QUICK, 0));
}

#[test]
fn a_crowd_has_the_best_place_of_its_members_in_both_lines() {
    let config = LimitsConfig {
        packs_of_address: Some(fixed(1)),
        building: fixed(1),
        ..LimitsConfig::protective(1)
    };
    let limits = limits(&config);
    let crowd = |client: &str, address: Option<&str>| {
        let crowd = Arc::<Crowd>::default();
        let member = crowd.join(requester(client, address));
        let turn = limits.packs().queue(&crowd, work(false)).unwrap();
        (crowd, member, turn)
    };
    let (_, _first, turn) = crowd("one", Some("192.0.2.1"));
    let first_permit = now(turn.wait()).unwrap().unwrap();
    let (wanted, second, turn) = crowd("one", Some("192.0.2.1"));
    let mut turn = Box::pin(turn.wait());
    assert!(now(turn.as_mut()).is_none());
    // Behind the line of its address there is that of the node.
    assert_eq!(second.place(), Some(Place { before: 1, members: 1 }));
    // Somebody without such a line wants the same: now it waits with the node's.
    let joined = wanted.join(requester("two", None));
    assert!(now(turn.as_mut()).is_none());
    assert_eq!(second.place(), Some(Place { before: 0, members: 2 }));
    drop(second);
    assert_eq!(joined.place(), Some(Place { before: 0, members: 1 }));
    drop(first_permit);
    let permit = now(turn.as_mut()).unwrap().unwrap();
    assert_eq!(joined.place(), None);
    drop(permit);
    assert!(limits.snapshot().iter().all(|queue| queue.load.running + queue.load.queued == 0));
}

#[tokio::test(start_paused = true)]
async fn a_builder_that_waits_for_its_readers_lends_its_place() {
    let one = LimitsConfig { building: fixed(1), ..LimitsConfig::protective(1) };
    let limits = limits(&one);
    let (_first, turn) = wanted(&limits, "one", false);
    let mut first = turn.wait().await.unwrap();
    let (_second, turn) = wanted(&limits, "two", false);
    let mut second = Box::pin(turn.wait());
    for _ in 0..10 {
        // It works as long as it waits.
        first.wait(tokio::time::sleep(Duration::from_millis(900))).await;
        assert!(now(second.as_mut()).is_none(), "that is no time at all");
        tokio::time::sleep(Duration::from_millis(900)).await;
    }
    let second = {
        let mut idle = Box::pin(first.wait(tokio::time::sleep(Duration::from_secs(60))));
        let second = tokio::select! {
            () = idle.as_mut() => panic!("the other one was let in meanwhile"),
            second = second => second.unwrap(),
        };
        idle.await;
        second
    };
    let (_third, turn) = wanted(&limits, "three", false);
    let mut third = Box::pin(turn.wait());
    drop(second);
    assert!(now(third.as_mut()).is_none(), "the first one is back");
    drop(first);
    assert!(now(third.as_mut()).is_some());
}

/// Goal: a pack keeps its turn for who reads already and has not joined yet.
#[tokio::test(start_paused = true)]
async fn the_last_of_a_crowd_leaves_its_place_to_the_next() {
    let one = LimitsConfig { building: fixed(1), ..LimitsConfig::protective(1) };
    let limits = limits(&one);
    let (_first, turn) = wanted(&limits, "one", false);
    let building = now(turn.wait()).unwrap().unwrap();
    let crowd = Arc::<Crowd>::default();
    let leaves = crowd.join(requester("two", None));
    let turn = limits.packs().queue(&crowd, work(false)).unwrap();
    drop(leaves);
    let joins = crowd.join(requester("three", None));
    assert_eq!(joins.place(), Some(Place { before: 0, members: 1 }));
    drop(building);
    assert!(now(turn.wait()).unwrap().is_ok());
    let (_fourth, turn) = wanted(&limits, "four", false);
    assert!(now(turn.wait()).unwrap().is_ok(), "a turn that was given up holds no place");
}
