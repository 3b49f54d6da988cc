//! Connections: each is made anew once it is lost.
//!
//! Always true: all users of a line share one connection; the first that finds it lost makes the
//! next one, and the others wait for it.
//!
//! Never here: requests.

use gitring_daemon::client::{Address, Client, ConnectError};
use gitring_daemon::mux;
use std::cell::RefCell;
use tokio::sync::Mutex;
use tonic::Status;

/// How to connect.
#[derive(Debug, Clone)]
pub(super) struct Dial {
    pub(super) address: Address,
    /// Empty: no authentication.
    pub(super) token: Vec<u8>,
    /// Whether sidechannels will be needed.
    pub(super) has_mux: bool,
}

/// A connection that lasts.
#[derive(Debug)]
pub(super) struct Line {
    dial: Dial,
    client: RefCell<Client>,
    connecting: Mutex<()>,
}

// === impl Dial ===

impl Dial {
    pub(super) async fn connect(&self) -> Result<Client, ConnectError> {
        if self.has_mux {
            Client::connect_mux(&self.address, &self.token, mux::CLIENT, None).await
        } else {
            Client::connect(&self.address, &self.token).await
        }
    }
}

// === impl Line ===

impl Line {
    pub(super) async fn open(dial: Dial) -> Result<Self, ConnectError> {
        let client = RefCell::new(dial.connect().await?);
        Ok(Self { dial, client, connecting: Mutex::new(()) })
    }

    /// The connection, or a new one.
    pub(super) async fn client(&self) -> Result<Client, Status> {
        if let Some(client) = self.current() {
            return Ok(client);
        }
        let _first = self.connecting.lock().await;
        if let Some(client) = self.current() {
            return Ok(client);
        }
        let client = self.dial.connect().await;
        let client = client.map_err(|error| Status::unavailable(error.to_string()))?;
        self.client.replace(client.clone());
        Ok(client)
    }

    fn current(&self) -> Option<Client> {
        let client = self.client.borrow();
        client.is_open().then(|| client.clone())
    }
}
