//! Which services there are.
//!
//! Always true: reflection shows what is served, and no more.

use super::Resources;
use super::commit::Commits;
use super::refs::Refs;
use super::repository::Repositories;
use super::server::Server;
use super::smarthttp::SmartHttp;
use super::ssh::Ssh;
use gitring_proto::DESCRIPTORS;
use gitring_proto::gitaly::commit_service_server::{self, CommitServiceServer};
use gitring_proto::gitaly::ref_service_server::{self, RefServiceServer};
use gitring_proto::gitaly::repository_service_server::{self, RepositoryServiceServer};
use gitring_proto::gitaly::server_service_server::{self, ServerServiceServer};
use gitring_proto::gitaly::smart_http_service_server::{self, SmartHttpServiceServer};
use gitring_proto::gitaly::ssh_service_server::{self, SshServiceServer};
use send_wrapper::SendWrapper;
use std::rc::Rc;
use tonic::service::Routes;
use tonic_health::pb::FILE_DESCRIPTOR_SET as HEALTH_DESCRIPTORS;
use tonic_reflection::server::Builder;

/// A message from a client, as Go's default has it. Bulk data comes in pieces of 128 KiB.
const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// Names of the services below.
const SERVED: &[&str] = &[
    "grpc.health.v1.Health",
    commit_service_server::SERVICE_NAME,
    ref_service_server::SERVICE_NAME,
    repository_service_server::SERVICE_NAME,
    server_service_server::SERVICE_NAME,
    smart_http_service_server::SERVICE_NAME,
    ssh_service_server::SERVICE_NAME,
];

/// Every service of the node.
pub(super) fn routes(resources: &Rc<Resources>) -> Routes {
    let mut routes = Routes::builder();
    // The whole node is `SERVING` while it accepts connections; clients ask for the empty name.
    let (_, health) = tonic_health::server::health_reporter();
    let shared = || SendWrapper::new(Rc::clone(resources));
    routes
        .add_service(
            CommitServiceServer::new(Commits(shared()))
                .max_decoding_message_size(MESSAGE_BYTES_MAX),
        )
        .add_service(
            RefServiceServer::new(Refs(shared())).max_decoding_message_size(MESSAGE_BYTES_MAX),
        )
        .add_service(
            RepositoryServiceServer::new(Repositories(shared()))
                .max_decoding_message_size(MESSAGE_BYTES_MAX),
        )
        .add_service(
            ServerServiceServer::new(Server(shared())).max_decoding_message_size(MESSAGE_BYTES_MAX),
        )
        .add_service(
            SmartHttpServiceServer::new(SmartHttp(shared()))
                .max_decoding_message_size(MESSAGE_BYTES_MAX),
        )
        .add_service(
            SshServiceServer::new(Ssh(shared())).max_decoding_message_size(MESSAGE_BYTES_MAX),
        )
        .add_service(health);
    let valid = "the descriptors were compiled with this program";
    routes
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
