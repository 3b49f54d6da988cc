//! The tasks of one HTTP/2 connection.
//!
//! Always true: they run on the connection's thread and end with the connection, so that a client
//! that has left costs nothing.

use hyper::rt::Executor;
use std::cell::RefCell;
use std::rc::Rc;
use tokio::task::JoinSet;

/// hyper's executor: runs what a connection starts.
#[derive(Debug, Clone, Default)]
pub(super) struct ConnectionTasks {
    tasks: Rc<RefCell<JoinSet<()>>>,
}

// === impl ConnectionTasks ===

impl<F: Future<Output = ()> + 'static> Executor<F> for ConnectionTasks {
    fn execute(&self, task: F) {
        let mut tasks = self.tasks.borrow_mut();
        while tasks.try_join_next().is_some() {}
        tasks.spawn_local(task);
    }
}
