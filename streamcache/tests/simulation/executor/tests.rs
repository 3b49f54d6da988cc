//! The executor by itself.

use super::{Executor, Spawn};
use crate::rng::Rng;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};

fn task(name: &str, background: bool) -> Spawn {
    Spawn { name: name.to_owned(), process: 1, background }
}

fn panic_of(run: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(run)).expect_err("it panics");
    *panic.downcast::<String>().expect("a formatted message")
}

/// Goal: time costs nothing and passes in order. Method: two sleepers of tokio's semaphore.
#[test]
fn time_moves_when_all_wait() {
    let executor = Executor::new(Rng::new(1));
    let turn = Rc::new(Semaphore::new(0));
    let (clock, permits) = (executor.clone(), Rc::clone(&turn));
    executor.spawn(task("giver", false), async move {
        clock.sleep(Duration::from_secs(60)).await;
        permits.add_permits(1);
    });
    let begun = executor.now();
    let clock = executor.clone();
    executor.spawn(task("taker", false), async move {
        turn.acquire().await.unwrap().forget();
        assert_eq!(clock.now() - begun, Duration::from_secs(60));
    });
    executor.run(&mut || ());
}

/// Goal: a forgotten wake-up is seen, even where a background task ticks for ever.
#[test]
fn deadlock_is_a_failure() {
    let executor = Executor::new(Rng::new(2));
    let clock = executor.clone();
    executor.spawn(task("ticker", true), async move {
        loop {
            clock.sleep(Duration::from_secs(60)).await;
        }
    });
    executor.spawn(task("sleeping beauty", false), async {
        Notify::new().notified().await;
    });
    let said = panic_of(|| executor.run(&mut || ()));
    assert!(said.contains("sleeping beauty"), "{said}");
}

/// Goal: a task that never rests is seen.
#[test]
fn livelock_is_a_failure() {
    let executor = Executor::new(Rng::new(3));
    executor.spawn(task("busy", false), async {
        std::future::poll_fn(|context| {
            context.waker().wake_by_ref();
            std::task::Poll::<()>::Pending
        })
        .await;
    });
    let said = panic_of(|| executor.run(&mut || ()));
    assert!(said.contains("busy"), "{said}");
}

/// Goal: the dead do not run on. Method: kill a process that holds what another waits for.
#[test]
fn killed_tasks_drop_what_they_hold() {
    let executor = Executor::new(Rng::new(4));
    let held = Rc::new(Semaphore::new(1));
    let (first, second) = (Rc::clone(&held), held);
    executor.spawn(task("holder", false), async move {
        let _permit = first.acquire().await.unwrap();
        std::future::pending::<()>().await;
    });
    let clock = executor.clone();
    executor.spawn(Spawn { name: "heir".to_owned(), process: 2, background: false }, async move {
        clock.sleep(Duration::from_secs(1)).await;
        clock.kill_process(1);
        second.acquire().await.unwrap().forget();
    });
    executor.run(&mut || ());
}
