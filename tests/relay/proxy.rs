//! The relay as a coordinator uses it: everything passes, sidechannels included, and the first
//! message of each call is read and written anew.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use gitring_daemon::client::Address;
use gitring_daemon::mux::{self, Mux, Role};
use gitring_daemon::relay::{Call, First, Target, Upstream, first_message};
use gitring_proto::gitaly::smart_http_service_client::SmartHttpServiceClient;
use gitring_proto::gitaly::{PostUploadPackWithSidechannelRequest, Repository as Named};
use gitring_proto::listenmux::BACKCHANNEL;
use gitring_proto::token::Secret;
use gitring_tests::gitaly::{Door, dial, run, with_sidechannel};
use gitring_tests::gitlab::{Gitlab, Listens};
use gitring_tests::repository::{Kind, Repository};
use gitring_tests::stock_gitaly::{StockGitaly, TOKEN, program};
use gitring_tests::upstream::Beside;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use prost::Message;
use tokio::io::AsyncReadExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::spawn_local;
use tonic::body::Body;
use tonic::{Code, Status};

/// Longest first message.
const FIRST_BYTES_MAX: usize = 4 << 20;

/// Passes calls on, those for `virtual` to the storage `default`.
struct Proxy {
    upstream: Upstream,
    rewritten: Cell<usize>,
}

// === impl Proxy ===

impl Proxy {
    async fn serve(self: Rc<Self>, mut socket: UnixStream) {
        let mut magic = [0; BACKCHANNEL.len()];
        socket.read_exact(&mut magic).await.expect("clients say what follows");
        let (mux, mut incoming, driver) = mux::start(socket, Role::Server, mux::NODE);
        let serving = async move {
            let Some(stream) = incoming.accept().await else { return };
            let service = service_fn(move |request| {
                let (this, mux) = (Rc::clone(&self), mux.clone());
                async move { Ok::<_, Status>(this.answer(mux, request).await) }
            });
            let served = http2::Builder::new(Beside)
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service);
            drop(served.await);
        };
        drop(tokio::join!(driver, serving));
    }

    async fn answer(&self, mux: Mux, request: Request<Incoming>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let First { message, rest } = match first_message(body, FIRST_BYTES_MAX).await {
            Ok(first) => first,
            Err(error) => return Status::internal(error.to_string()).into_http(),
        };
        let body = rest.after(message.map(|message| self.rewrite(&message)));
        let call = Call { head, body, mux: Some(mux), deadline: None };
        match self.upstream.call(call).await {
            Ok(response) => response.map(Body::new),
            Err(error) => error.status().into_http(),
        }
    }

    /// The one message that is sent here.
    fn rewrite(&self, message: &[u8]) -> Bytes {
        let mut request = PostUploadPackWithSidechannelRequest::decode(message).expect("sound");
        let repository = request.repository.as_mut().expect("it names one");
        assert_eq!(repository.storage_name, "virtual");
        repository.storage_name = "default".to_owned();
        self.rewritten.set(self.rewritten.get() + 1);
        request.encode_to_vec().into()
    }
}

/// A fetch of everything that `id` reaches, in version 0 of git's protocol.
fn clone_of(id: &str) -> Vec<u8> {
    let line = |text: String| format!("{:04x}{text}", text.len() + 4);
    let want = line(format!("want {id} side-band-64k ofs-delta agent=x\n"));
    format!("{want}0000{}", line("done\n".to_owned())).into()
}

/// Fetches, and repeats the pack that came in band 1.
async fn fetch(client: &gitring_daemon::client::Client, storage: &str, input: &[u8]) -> Vec<u8> {
    let repository =
        Named { storage_name: storage.to_owned(), relative_path: "varied.git".to_owned(), ..d() };
    let request = PostUploadPackWithSidechannelRequest { repository: Some(repository), ..d() };
    let answered = with_sidechannel(client, request, input, async |request| {
        let mut http = SmartHttpServiceClient::new(client.clone());
        http.post_upload_pack_with_sidechannel(request).await
    })
    .await;
    answered.reply.expect("fetched");
    let mut rest = &answered.bytes[..];
    let mut pack = Vec::new();
    while let Some((length, _)) = rest.split_first_chunk::<4>() {
        let digits = std::str::from_utf8(length).expect("digits");
        let length = usize::from_str_radix(digits, 16).expect("hexadecimal digits");
        if rest.get(4) == Some(&1) {
            pack.extend_from_slice(&rest[5..length]);
        }
        rest = &rest[length.max(4)..];
    }
    pack
}

fn d<T: Default>() -> T {
    T::default()
}

#[test]
fn fetches_pass_through_a_coordinator() {
    let Some(program) = program() else {
        eprintln!("GITRING_TEST_GITALY names no Gitaly: skipped");
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let storage = folder.path().join("storage");
    std::fs::create_dir(&storage).expect("a fresh folder is empty");
    let repository = Repository::create(&storage, "varied", Kind::Varied);
    let gitlab = Gitlab::friendly(&Listens::Tcp);
    let mut gitaly = StockGitaly::new(program);
    gitaly.start(&storage, gitlab.url());
    let socket = folder.path().join("proxy.sock");
    run(async {
        let target = Target { address: gitaly.address(), secret: Secret::new(TOKEN.as_bytes()) };
        let upstream = Upstream::new(Arc::new(ArcSwap::from_pointee(target)), None);
        let proxy = Rc::new(Proxy { upstream, rewritten: Cell::new(0) });
        let listener = UnixListener::bind(&socket).expect("the address is free");
        let serving = Rc::clone(&proxy);
        spawn_local(async move {
            while let Ok((socket, _)) = listener.accept().await {
                spawn_local(Rc::clone(&serving).serve(socket));
            }
        });
        let near = dial(&Address::Unix(socket), Door::UnixMux, "").await;
        let far = dial(&gitaly.address(), Door::UnixMux, TOKEN).await;
        let input = clone_of(&repository.id("main"));
        let expected = fetch(&far, "default", &input).await;
        assert!(expected.starts_with(b"PACK") && expected.len() > 10_000);
        let fetches: Vec<_> = (0..20)
            .map(|_| {
                let (near, input) = (near.clone(), input.clone());
                spawn_local(async move { fetch(&near, "virtual", &input).await })
            })
            .collect();
        for fetching in fetches {
            let pack = fetching.await.expect("no fetch has failed");
            assert!(pack[..12] == expected[..12] && pack.len() > 10_000);
        }
        assert_eq!(proxy.rewritten.get(), 20);
        // A refusal comes as it was said.
        let mut http = SmartHttpServiceClient::new(near.clone());
        let repository = Some(Named { storage_name: "virtual".to_owned(), ..d() });
        let request = PostUploadPackWithSidechannelRequest { repository, ..d() };
        let status = http.post_upload_pack_with_sidechannel(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    });
}
