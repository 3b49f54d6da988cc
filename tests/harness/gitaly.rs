//! A client of Gitaly's wire: calls over every kind of connection, with sidechannels.
//!
//! Always true: whatever a test waits for here ends within [`WAIT_MAX`].
//!
//! Never here: bytes that no honest client sends; [`crate::http2`] and [`crate::yamux`] make those.

use std::future::Future;
use std::io;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use gitring_daemon::client::{Address, Client};
use gitring_daemon::mux::CLIENT;
use gitring_proto::gitaly::Repository as Named;
use tokio::task::LocalSet;
use tokio::time::timeout;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Status};

use crate::node::Node;

/// Longest wait for anything, on a loaded machine.
pub const WAIT_MAX: Duration = Duration::from_secs(60);

/// A client that nobody calls with a sidechannel fails after this.
const SIDECHANNEL_MAX: Duration = Duration::from_secs(10);

/// How a client connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// gRPC over TCP.
    Tcp,
    /// gRPC over the unix socket.
    Unix,
    /// A mux over TCP.
    Mux,
    /// A mux over the unix socket.
    UnixMux,
}

/// Every kind of connection.
pub const DOORS: [Door; 4] = [Door::Tcp, Door::Unix, Door::Mux, Door::UnixMux];

/// Messages as bytes that nobody looks at.
#[derive(Debug, Clone, Copy, Default)]
pub struct Raw;

/// What a call with a sidechannel came to.
#[derive(Debug)]
pub struct Answered<R> {
    /// The gRPC half.
    pub reply: Result<R, Status>,
    /// The sidechannel's half.
    pub bytes: Vec<u8>,
}

/// Runs a test's client on a thread of its own, which is this one.
///
/// # Panics
/// If it takes longer than [`WAIT_MAX`].
pub fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime can be built");
    LocalSet::new().block_on(&runtime, async {
        timeout(WAIT_MAX, work).await.expect("the node answers in time")
    })
}

/// Connects to a node. An empty token means none.
pub async fn connect(node: &Node, door: Door, token: &str) -> Client {
    dial(&door.address(node), door, token).await
}

/// Connects to an address that belongs to the door.
pub async fn dial(address: &Address, door: Door, token: &str) -> Client {
    let connected = match door {
        Door::Tcp | Door::Unix => Client::connect(address, token.as_bytes()).await,
        Door::Mux | Door::UnixMux => {
            Client::connect_mux(address, token.as_bytes(), CLIENT, None).await
        }
    };
    connected.expect("the node accepts")
}

/// A repository of the storage `default`, as messages name it.
pub fn named(relative_path: &str) -> Option<Named> {
    Some(Named {
        storage_name: "default".to_owned(),
        relative_path: relative_path.to_owned(),
        ..Default::default()
    })
}

/// Calls a unary method by its path. Message and answer are encoded by the caller.
pub async fn call(
    client: &Client,
    path: &str,
    metadata: MetadataMap,
    message: &[u8],
) -> Result<Bytes, Status> {
    let path: PathAndQuery = path.parse().expect("a method has a path");
    let mut request = Request::new(Bytes::copy_from_slice(message));
    *request.metadata_mut() = metadata;
    let mut grpc = Grpc::new(client.clone()).max_decoding_message_size(64 << 20);
    Ok(grpc.unary(request, path, Raw).await?.into_inner())
}

/// Metadata from ASCII keys and values.
pub fn metadata(entries: &[(&'static str, &str)]) -> MetadataMap {
    let mut metadata = MetadataMap::new();
    for (key, value) in entries {
        metadata.append(*key, value.parse().expect("an ASCII value"));
    }
    metadata
}

/// How long a refused call's sidechannel is listened to after the refusal.
const LAST_WORDS_MAX: Duration = Duration::from_millis(200);

/// Makes a call that talks over a sidechannel: sends `input`, half closes, reads to the end.
pub async fn with_sidechannel<M, R>(
    client: &Client,
    message: M,
    input: &[u8],
    call: impl AsyncFnOnce(Request<M>) -> Result<R, Status>,
) -> Answered<R> {
    let waiter = client.sidechannel().expect("the connection is a mux");
    let mut request = Request::new(message);
    waiter.announce(request.metadata_mut());
    let mut bytes = Vec::new();
    let talking = async {
        let mut end = waiter.accept(SIDECHANNEL_MAX).await.map_err(io::Error::other)?;
        end.write(Bytes::copy_from_slice(input)).await.map_err(io::Error::other)?;
        end.finish_writing().await.map_err(io::Error::other)?;
        while let Some(piece) = end.read().await.map_err(io::Error::other)? {
            bytes.extend_from_slice(&piece);
        }
        end.close().await.map_err(io::Error::other)
    };
    let reply = {
        // A call that is refused opens no sidechannel; one that fails later may have reset it.
        let mut calling = std::pin::pin!(call(request));
        let mut talking = std::pin::pin!(talking);
        let mut talked = None;
        let reply = loop {
            tokio::select! {
                biased;
                ended = &mut talking, if talked.is_none() => talked = Some(ended),
                reply = &mut calling => break reply,
            }
        };
        if reply.is_ok() {
            let talked = match talked {
                Some(talked) => talked,
                None => talking.await,
            };
            talked.expect("the sidechannel of a call that succeeded ended well");
        } else if talked.is_none() {
            // What was said before the refusal may still be on its way between tasks.
            let _ = tokio::time::timeout(LAST_WORDS_MAX, talking).await;
        }
        reply
    };
    Answered { reply, bytes }
}

/// Code and message of a call that failed.
///
/// # Panics
/// If it did not.
#[track_caller]
pub fn refusal<R>(reply: Result<R, Status>) -> (Code, String) {
    match reply {
        Ok(_) => panic!("the call succeeded"),
        Err(status) => (status.code(), status.message().to_owned()),
    }
}

// === impl Door ===

impl Door {
    /// Where a node has it.
    pub fn address(self, node: &Node) -> Address {
        match self {
            Self::Tcp | Self::Mux => {
                let tcp = node.gitaly_address();
                Address::Tcp { host: tcp.ip().to_string(), port: tcp.port() }
            }
            Self::Unix | Self::UnixMux => Address::Unix(node.socket_path()),
        }
    }
}

// === impl Raw ===

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
