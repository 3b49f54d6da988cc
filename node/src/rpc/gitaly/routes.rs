//! Which services there are.
//!
//! Always true: reflection shows what is served, and no more.

mod built;

pub(super) use self::built::is_built;

use super::Resources;
use super::blob::Blobs;
use super::call::observed::Request as Body;
use super::commit::Commits;
use super::diff::Diffs;
use super::refs::Refs;
use super::repository::Repositories;
use super::server::Server;
use super::transfer::smarthttp::SmartHttp;
use super::transfer::ssh::Ssh;
use gitring_proto::DESCRIPTORS;
use gitring_proto::gitaly::blob_service_server::{self, BlobServiceServer};
use gitring_proto::gitaly::commit_service_server::{self, CommitServiceServer};
use gitring_proto::gitaly::diff_service_server::{self, DiffServiceServer};
use gitring_proto::gitaly::ref_service_server::{self, RefServiceServer};
use gitring_proto::gitaly::repository_service_server::{self, RepositoryServiceServer};
use gitring_proto::gitaly::server_service_server::{self, ServerServiceServer};
use gitring_proto::gitaly::smart_http_service_server::{self, SmartHttpServiceServer};
use gitring_proto::gitaly::ssh_service_server::{self, SshServiceServer};
use hyper::{Request, Response};
use send_wrapper::SendWrapper;
use std::convert::Infallible;
use std::rc::Rc;
use tonic::body::Body as Answer;
use tonic::service::Routes;
use tonic_health::pb::FILE_DESCRIPTOR_SET as HEALTH_DESCRIPTORS;
use tonic_reflection::server::Builder;
use tower_service::Service;

/// A message from a client, as Go's default has it. Bulk data comes in pieces of 128 KiB.
pub(super) const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// What reflection shows: names of the services below.
const SERVED: &[&str] = &[
    "grpc.health.v1.Health",
    blob_service_server::SERVICE_NAME,
    commit_service_server::SERVICE_NAME,
    diff_service_server::SERVICE_NAME,
    ref_service_server::SERVICE_NAME,
    repository_service_server::SERVICE_NAME,
    server_service_server::SERVICE_NAME,
    smart_http_service_server::SERVICE_NAME,
    ssh_service_server::SERVICE_NAME,
];

/// Every service of the node.
///
/// Those that are called often are found by their name alone: a router of paths, with its futures
/// and bodies in boxes, is work that a small call feels.
#[derive(Debug)]
pub(super) struct Services {
    blob: BlobServiceServer<Blobs>,
    commit: CommitServiceServer<Commits>,
    diff: DiffServiceServer<Diffs>,
    refs: RefServiceServer<Refs>,
    repository: RepositoryServiceServer<Repositories>,
    server: ServerServiceServer<Server>,
    smarthttp: SmartHttpServiceServer<SmartHttp>,
    ssh: SshServiceServer<Ssh>,
    /// Health, reflection, and who is not there.
    others: Routes,
}

// === impl Services ===

impl Services {
    pub(super) fn new(resources: &Rc<Resources>) -> Self {
        let shared = || SendWrapper::new(Rc::clone(resources));
        Self {
            blob: BlobServiceServer::new(Blobs(shared()))
                .max_decoding_message_size(MESSAGE_BYTES_MAX),
            commit: CommitServiceServer::new(Commits(shared()))
                .max_decoding_message_size(MESSAGE_BYTES_MAX),
            diff: DiffServiceServer::new(Diffs(shared()))
                .max_decoding_message_size(MESSAGE_BYTES_MAX),
            refs: RefServiceServer::new(Refs(shared()))
                .max_decoding_message_size(MESSAGE_BYTES_MAX),
            repository: RepositoryServiceServer::new(Repositories(shared()))
                .max_decoding_message_size(MESSAGE_BYTES_MAX),
            server: ServerServiceServer::new(Server(shared()))
                .max_decoding_message_size(MESSAGE_BYTES_MAX),
            smarthttp: SmartHttpServiceServer::new(SmartHttp(shared()))
                .max_decoding_message_size(MESSAGE_BYTES_MAX),
            ssh: SshServiceServer::new(Ssh(shared())).max_decoding_message_size(MESSAGE_BYTES_MAX),
            others: others(),
        }
    }

    /// Lets `service` answer. Cloning shares what is behind it.
    pub(super) async fn call(&self, service: &str, request: Request<Body>) -> Response<Answer> {
        let answered = match service {
            blob_service_server::SERVICE_NAME => self.blob.clone().call(request).await,
            commit_service_server::SERVICE_NAME => self.commit.clone().call(request).await,
            diff_service_server::SERVICE_NAME => self.diff.clone().call(request).await,
            ref_service_server::SERVICE_NAME => self.refs.clone().call(request).await,
            repository_service_server::SERVICE_NAME => self.repository.clone().call(request).await,
            server_service_server::SERVICE_NAME => self.server.clone().call(request).await,
            smart_http_service_server::SERVICE_NAME => self.smarthttp.clone().call(request).await,
            ssh_service_server::SERVICE_NAME => self.ssh.clone().call(request).await,
            _ => self.others.clone().call(request.map(Answer::new)).await,
        };
        answered.unwrap_or_else(|error: Infallible| match error {})
    }
}

fn others() -> Routes {
    let mut routes = Routes::builder();
    // The whole node is `SERVING` while it accepts connections; clients ask for the empty name.
    let (_, health) = tonic_health::server::health_reporter();
    let valid = "the descriptors were compiled with this program";
    routes
        .add_service(health)
        .add_service(reflection().build_v1().expect(valid))
        .add_service(reflection().build_v1alpha().expect(valid));
    routes.routes()
}

fn reflection() -> Builder<'static> {
    let mut builder = Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(HEALTH_DESCRIPTORS);
    for name in SERVED {
        builder = builder.with_service_name(*name);
    }
    builder
}
