//! The gRPC services that answer from storages, called by a gRPC client: codes and texts are
//! Gitaly 16.11's.

#![expect(clippy::disallowed_methods, reason = "a test prepares files and runs git")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod client;

use client::Client;
use gitring_proto::gitaly::{
    CreateRepositoryRequest, DiskStatisticsRequest, HasLocalBranchesRequest, ObjectFormat,
    ObjectFormatRequest, ReadinessCheckRequest, RemoveRepositoryRequest, Repository,
    RepositoryExistsRequest, RepositorySizeRequest, ServerInfoRequest, readiness_check_response,
};
use std::fs;
use std::process::{Command, Stdio};
use tonic::{Code, Request, Status};

fn repository(path: &str) -> Option<Repository> {
    on("default", path)
}

fn on(storage: &str, path: &str) -> Option<Repository> {
    let (storage_name, relative_path) = (storage.into(), path.into());
    Some(Repository { storage_name, relative_path, ..Repository::default() })
}

fn creation(path: &str) -> CreateRepositoryRequest {
    CreateRepositoryRequest { repository: repository(path), ..Default::default() }
}

fn check<T: std::fmt::Debug>(found: Result<T, Status>, code: Code, text: &str) {
    let status = found.unwrap_err();
    assert_eq!((status.code(), status.message()), (code, text));
}

/// What git prints in the repository.
fn git(args: &[&str], repository: &str) -> String {
    let mut git = Command::new("git");
    git.args(["-c", "user.name=n", "-c", "user.email=n@localhost", "-C", repository]).args(args);
    let output = git.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{args:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn repositories_are_created_once_and_removed_once() {
    let mut client = Client::start().await;
    let service = &mut client.repositories;
    let exists = async |path: &str| {
        let request = RepositoryExistsRequest { repository: repository(path) };
        service.clone().repository_exists(request).await.unwrap().into_inner().exists
    };
    assert!(!exists("a/b.git").await);
    let service = &mut client.repositories;
    service.create_repository(creation("a/b.git")).await.unwrap();
    let text = "creating repository: repository exists already";
    check(service.create_repository(creation("a/b.git")).await, Code::AlreadyExists, text);
    let request = RepositoryExistsRequest { repository: repository("/a//./b.git/") };
    assert!(service.repository_exists(request).await.unwrap().into_inner().exists);

    let mut long = creation("long.git");
    long.object_format = ObjectFormat::Sha256.into();
    long.default_branch = "trunk".into();
    service.create_repository(long).await.unwrap();
    for (path, format) in [("a/b.git", ObjectFormat::Sha1), ("long.git", ObjectFormat::Sha256)] {
        let request = ObjectFormatRequest { repository: repository(path) };
        let found = service.object_format(request).await.unwrap().into_inner().format;
        assert_eq!(found, i32::from(format), "{path}");
        let request = HasLocalBranchesRequest { repository: repository(path) };
        assert!(!service.has_local_branches(request).await.unwrap().into_inner().value, "{path}");
        let directory = client.dir.path().join("storage").join(path);
        let directory = directory.to_str().unwrap();
        let tree = git(&["mktree"], directory);
        let commit = git(&["commit-tree", &tree, "-m", "x"], directory);
        git(&["update-ref", "refs/heads/side", &commit], directory);
        let request = HasLocalBranchesRequest { repository: repository(path) };
        assert!(service.has_local_branches(request).await.unwrap().into_inner().value, "{path}");
    }

    let removal = || RemoveRepositoryRequest { repository: repository("a/b.git") };
    service.remove_repository(removal()).await.unwrap();
    let text = "repository does not exist";
    check(service.remove_repository(removal()).await, Code::NotFound, text);
    let request = ObjectFormatRequest { repository: repository("a/b.git") };
    check(service.object_format(request).await, Code::NotFound, "repository not found");
}

#[tokio::test]
async fn refusals_have_gitalys_codes_and_words() {
    let mut client = Client::start().await;
    let storage = client.dir.path().join("storage");
    let service = &mut client.repositories;
    let create = async |request: CreateRepositoryRequest, code: Code, text: &str| {
        check(service.clone().create_repository(request).await, code, text);
    };
    let bad = Code::InvalidArgument;
    let named = |repository| CreateRepositoryRequest { repository, ..Default::default() };
    create(named(None), bad, "repository not set").await;
    create(named(on("", "")), bad, "repository not set").await;
    create(named(on("default", "")), bad, "repository path not set").await;
    create(named(on("", "a.git")), bad, "storage name not set").await;
    create(named(on("other", "a.git")), bad, "storage name not found").await;
    create(creation("../a.git"), bad, "relative path escapes root directory").await;
    create(creation("+gitaly/a.git"), bad, "the path is reserved for the server").await;
    let format = CreateRepositoryRequest { object_format: 7, ..creation("a.git") };
    create(format, bad, "unknown object format: \"7\"").await;
    let branch = CreateRepositoryRequest { default_branch: "a..b".into(), ..creation("a.git") };
    let text = "creating repository: creating repository: \
                fatal: invalid initial branch name: 'a..b'";
    create(branch, Code::Internal, text).await;
    fs::write(storage.join("held.git.lock"), "").unwrap();
    let text = "creating repository: locking repository: file already locked";
    create(creation("held.git"), Code::Internal, text).await;

    let mut request = Request::new(creation("a.git"));
    request.metadata_mut().insert("gitaly-reference-transaction", "e30=".parse().unwrap());
    let text = "get backchannel: the call came over a connection without one";
    check(service.create_repository(request).await, Code::FailedPrecondition, text);
    fs::create_dir_all(storage.join("damaged.git/objects")).unwrap();
    let request = RepositorySizeRequest { repository: repository("damaged.git") };
    let text = "repository not valid: \"refs\" does not exist";
    check(service.repository_size(request).await, Code::FailedPrecondition, text);
    let request = RepositoryExistsRequest { repository: repository("damaged.git") };
    assert!(!service.repository_exists(request).await.unwrap().into_inner().exists);
    fs::rename(&storage, client.dir.path().join("unmounted")).unwrap();
    let request = RepositoryExistsRequest { repository: repository("a.git") };
    let text = "storage does not exist";
    check(service.repository_exists(request).await, Code::NotFound, text);
}

#[tokio::test]
async fn sizes_and_the_server_are_told() {
    let mut client = Client::start().await;
    client.repositories.create_repository(creation("a.git")).await.unwrap();
    fs::write(client.dir.path().join("storage/a.git/big"), vec![0; 3 << 20]).unwrap();
    let request = RepositorySizeRequest { repository: repository("a.git") };
    let size = client.repositories.repository_size(request).await.unwrap().into_inner().size;
    assert_eq!(size, 3072, "HEAD and config have less than one KiB");

    let info = client.server.server_info(ServerInfoRequest {}).await.unwrap().into_inner();
    let git = Command::new("git").arg("version").output().unwrap();
    let git = String::from_utf8(git.stdout).unwrap();
    assert_eq!(format!("git version {}", info.git_version), git.trim());
    assert_eq!(
        info.server_version.split('.').filter(|part| part.parse::<u32>().is_ok()).count(),
        3
    );
    let status = &info.storage_statuses[0];
    assert_eq!((status.storage_name.as_str(), status.replication_factor), ("default", 1));
    assert!(status.readable && status.writeable);
    let metadata = fs::read_to_string(client.dir.path().join("storage/.gitaly-metadata")).unwrap();
    assert_eq!(metadata, format!("{{\"gitaly_filesystem_id\":\"{}\"}}\n", status.filesystem_id));

    let disks = client.server.disk_statistics(DiskStatisticsRequest {}).await.unwrap().into_inner();
    assert!(disks.storage_statuses[0].available > 0 && disks.storage_statuses[0].used > 0);
    let ready = client.server.readiness_check(ReadinessCheckRequest::default()).await.unwrap();
    let ok = readiness_check_response::Result::OkResponse(readiness_check_response::Ok {});
    assert_eq!(ready.into_inner().result, Some(ok));
}
