//! The session of a connection and everyone who waits for it.
//!
//! Always true: wakers are woken and dropped with nothing borrowed.
//! Never here: sockets.

use gitring_proto::yamux::{Event, Session, StreamId};
use std::cell::RefCell;
use std::collections::HashMap;
use std::task::Waker;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) session: Session,
    /// Nobody holds the mux or a stream of it.
    pub(super) abandoned: bool,
    pub(super) ended: bool,
    driver: Option<Waker>,
    acceptor: Option<Waker>,
    /// One for each open that waits.
    openers: Vec<Waker>,
    streams: HashMap<StreamId, Waiting>,
}

/// Who waits for a stream.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    reader: Option<Waker>,
    writer: Option<Waker>,
}

// === impl Shared ===

impl Shared {
    pub(super) fn new(session: Session) -> Self {
        Self {
            session,
            abandoned: false,
            ended: false,
            driver: None,
            acceptor: None,
            openers: Vec::new(),
            streams: HashMap::new(),
        }
    }

    pub(super) fn end(&mut self) {
        self.ended = true;
        self.session.end();
    }

    #[must_use = "to be dropped with nothing borrowed"]
    pub(super) fn wait_to_drive(&mut self, waker: &Waker) -> Option<Waker> {
        set(&mut self.driver, waker)
    }

    pub(super) fn wait_to_open(&mut self, waker: &Waker) {
        if !self.openers.iter().any(|opener| opener.will_wake(waker)) {
            self.openers.push(waker.clone());
        }
    }

    #[must_use = "to be dropped with nothing borrowed"]
    pub(super) fn wait_to_accept(&mut self, waker: &Waker) -> Option<Waker> {
        set(&mut self.acceptor, waker)
    }

    #[must_use = "to be dropped with nothing borrowed"]
    pub(super) fn wait_to_read(&mut self, id: StreamId, waker: &Waker) -> Option<Waker> {
        set(&mut self.streams.entry(id).or_default().reader, waker)
    }

    #[must_use = "to be dropped with nothing borrowed"]
    pub(super) fn wait_to_write(&mut self, id: StreamId, waker: &Waker) -> Option<Waker> {
        set(&mut self.streams.entry(id).or_default().writer, waker)
    }

    /// To be dropped with nothing borrowed: a waker may be the last thing that holds a task.
    pub(super) fn forget(&mut self, id: StreamId) -> Option<Waiting> {
        self.streams.remove(&id)
    }

    /// Those whom the events of the session concern.
    fn concerned(&mut self, wakers: &mut Vec<Waker>) {
        while let Some(event) = self.session.next_event() {
            match event {
                Event::Readable(id) => {
                    wakers.extend(self.streams.get_mut(&id).and_then(|one| one.reader.take()));
                }
                Event::Writable(id) => {
                    wakers.extend(self.streams.get_mut(&id).and_then(|one| one.writer.take()));
                }
                Event::Incoming => wakers.extend(self.acceptor.take()),
                Event::Openable => wakers.append(&mut self.openers),
            }
        }
    }
}

/// Wakes whoever an operation concerns, the driver included. Called after every operation, with
/// nothing borrowed: a waker may run code that uses the mux.
pub(super) fn after(shared: &RefCell<Shared>) {
    wake(shared);
    let driver = {
        let mut shared = shared.borrow_mut();
        let needed = shared.session.wants_transmit() || shared.abandoned;
        if needed { shared.driver.take() } else { None }
    };
    driver.into_iter().for_each(Waker::wake);
}

/// The same for operations of the driver, which goes on by itself.
pub(super) fn wake(shared: &RefCell<Shared>) {
    let mut wakers = Vec::new();
    shared.borrow_mut().concerned(&mut wakers);
    wakers.into_iter().for_each(Waker::wake);
}

/// Returns the waker that waited before, for the same reason as [`Shared::forget`].
fn set(place: &mut Option<Waker>, waker: &Waker) -> Option<Waker> {
    match place {
        Some(known) if known.will_wake(waker) => None,
        _ => place.replace(waker.clone()),
    }
}
