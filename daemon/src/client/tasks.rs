//! What runs for one client, and ends with it.

use std::cell::RefCell;
use std::future::Future;
use std::rc::{Rc, Weak};
use tokio::task::JoinSet;

/// Dropping it aborts every task.
#[derive(Debug, Default)]
pub(super) struct Tasks(Rc<RefCell<JoinSet<()>>>);

/// Lets hyper add tasks while they are owned.
#[derive(Debug, Clone)]
pub(super) struct Executor(Weak<RefCell<JoinSet<()>>>);

// === impl Tasks ===

impl Tasks {
    pub(super) fn executor(&self) -> Executor {
        Executor(Rc::downgrade(&self.0))
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.executor().spawn(task);
    }
}

// === impl Executor ===

impl Executor {
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        // Tasks of a client that is gone have nobody to work for.
        let Some(tasks) = self.0.upgrade() else { return };
        let mut tasks = tasks.borrow_mut();
        // A set keeps what has ended until somebody asks.
        while tasks.try_join_next().is_some() {}
        tasks.spawn_local(task);
    }
}

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Executor {
    fn execute(&self, task: F) {
        self.spawn(task);
    }
}
