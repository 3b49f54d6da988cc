//! Custom hooks over the wire, by their present and their old names; GNU tar is the other side.

use std::fs;
use std::path::Path;
use std::pin::Pin;
use std::process::Command;
use std::task::{Context, Poll};

use gitring_daemon::client::Client;
use gitring_proto::gitaly::Repository as Named;
use gitring_proto::gitaly::repository_service_client::RepositoryServiceClient;
use gitring_proto::gitaly::{
    BackupCustomHooksRequest, GetCustomHooksRequest, RestoreCustomHooksRequest,
    SetCustomHooksRequest,
};
use gitring_tests::gitaly::{DOORS, Door, connect, metadata, named, refusal, run};
use gitring_tests::node::Node;
use gitring_tests::repository::{Kind, Repository};
use tonic::codegen::tokio_stream::{self, Stream};
use tonic::{Code, Request, Status};

/// One message, and never an end.
struct Unfinished(Option<SetCustomHooksRequest>);

impl Stream for Unfinished {
    type Item = SetCustomHooksRequest;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.take().map_or(Poll::Pending, |message| Poll::Ready(Some(message)))
    }
}

/// What a shell command prints in a fresh folder.
fn made(script: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = format!("umask 022; {script}");
    let output = Command::new("sh").args(["-ec", &script]).current_dir(folder.path()).output();
    let output = output.expect("sh runs");
    assert!(output.status.success(), "{script}: {output:?}");
    output.stdout
}

/// Pieces of an archive; the first names the repository and holds none of it.
fn pieces(archive: &[u8]) -> Vec<(Option<Named>, Vec<u8>)> {
    let mut pieces = vec![(named("a.git"), Vec::new())];
    pieces.extend(archive.chunks(100_000).map(|piece| (None, piece.to_vec())));
    pieces
}

async fn set(client: &Client, archive: &[u8]) -> Result<(), Status> {
    let messages = pieces(archive).into_iter();
    let messages =
        messages.map(|(repository, data)| SetCustomHooksRequest { repository, data: data.into() });
    let messages = tokio_stream::iter(messages.collect::<Vec<_>>());
    RepositoryServiceClient::new(client.clone()).set_custom_hooks(messages).await.map(drop)
}

#[expect(deprecated, reason = "older clients call it")]
async fn restore(client: &Client, archive: &[u8]) -> Result<(), Status> {
    let messages = pieces(archive).into_iter();
    let messages = messages
        .map(|(repository, data)| RestoreCustomHooksRequest { repository, data: data.into() });
    let messages = tokio_stream::iter(messages.collect::<Vec<_>>());
    RepositoryServiceClient::new(client.clone()).restore_custom_hooks(messages).await.map(drop)
}

async fn get(client: &Client) -> Result<Vec<u8>, Status> {
    let request = GetCustomHooksRequest { repository: named("a.git") };
    let reply = RepositoryServiceClient::new(client.clone()).get_custom_hooks(request).await?;
    let (mut stream, mut bytes) = (reply.into_inner(), Vec::new());
    while let Some(message) = stream.message().await? {
        assert!((1..=128 * 1024).contains(&message.data.len()), "{}", message.data.len());
        bytes.extend_from_slice(&message.data);
    }
    Ok(bytes)
}

#[expect(deprecated, reason = "older clients call it")]
async fn backup(client: &Client) -> Result<Vec<u8>, Status> {
    let request = BackupCustomHooksRequest { repository: named("a.git") };
    let reply = RepositoryServiceClient::new(client.clone()).backup_custom_hooks(request).await?;
    let (mut stream, mut bytes) = (reply.into_inner(), Vec::new());
    while let Some(message) = stream.message().await? {
        bytes.extend_from_slice(&message.data);
    }
    Ok(bytes)
}

/// Names and contents in an archive of hooks.
fn listed(archive: &[u8]) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("archive");
    fs::write(&path, archive).expect("a file can be written");
    let script = "tar -tvf \"$0\" | awk '{ print $1, $3, $NF }'";
    let output = Command::new("sh").args(["-ec", script]).arg(path).output().expect("sh runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("names are text")
}

fn left_behind(storage: &Path) -> usize {
    fs::read_dir(storage.join("+gitaly/tmp")).map_or(0, Iterator::count)
}

#[test]
fn hooks_are_set_and_read_on_every_door() {
    let node = Node::start();
    Repository::create(&node.storage(), "a", Kind::Empty);
    let script = |word: &str| {
        made(&format!(
            "mkdir -p custom_hooks/update.d; head -c 300000 /dev/zero >custom_hooks/data; \
             printf '%s' {word} >custom_hooks/update.d/1; chmod 755 custom_hooks/update.d/1; \
             tar -c custom_hooks"
        ))
    };
    let expected = "drwxr-xr-x 0 custom_hooks/\n-rw-r--r-- 300000 custom_hooks/data\n\
                    drwxr-xr-x 0 custom_hooks/update.d/\n-rwxr-xr-x 3 custom_hooks/update.d/1\n";
    let lines = |text: &str| {
        let lines = text.lines().map(|line| line.trim_end_matches('/').to_owned());
        let mut lines: Vec<String> = lines.collect();
        lines.sort();
        lines
    };
    for (at, door) in DOORS.into_iter().enumerate() {
        run(async {
            let client = connect(&node, door, "").await;
            if at == 0 {
                assert_eq!(get(&client).await.expect("no hooks are an answer"), b"");
            }
            set(&client, &script("one")).await.expect("an archive of GNU tar");
            let archive = get(&client).await.expect("hooks");
            assert_eq!(lines(&listed(&archive)), lines(expected), "{door:?}");
            restore(&client, &script("two")).await.expect("the old name works");
            let hook = node.storage().join("a.git/custom_hooks/update.d/1");
            assert_eq!(fs::read_to_string(&hook).expect("it is there"), "two");
            restore(&client, &archive).await.expect("what was read can be set");
            assert_eq!(fs::read_to_string(&hook).expect("it is there"), "one");
            assert_eq!(listed(&backup(&client).await.expect("hooks")), listed(&archive));
        });
    }
    assert_eq!(left_behind(&node.storage()), 0);
}

#[test]
fn refusals_change_nothing() {
    let node = Node::start();
    Repository::create(&node.storage(), "a", Kind::Empty);
    run(async {
        let client = connect(&node, Door::Tcp, "").await;
        let good = made("mkdir custom_hooks; echo old >custom_hooks/update; tar -c custom_hooks");
        set(&client, &good).await.expect("an archive of GNU tar");
        let before = listed(&get(&client).await.expect("hooks"));
        let check = async |archive: &[u8], code: Code, text: &str| {
            let (found, said) = refusal(set(&client, archive).await);
            assert!(found == code && said.starts_with(text), "{found:?} {said}");
            assert_eq!(listed(&get(&client).await.expect("hooks")), before);
        };
        let link = made("mkdir custom_hooks; ln -s /x custom_hooks/y; tar -c custom_hooks");
        let text = "setting custom hooks: extracting hooks: entry \"custom_hooks/y\" is neither";
        check(&link, Code::InvalidArgument, text).await;
        let text = "setting custom hooks: extracting hooks: read the archive";
        check(&[b'x'; 3000], Code::Internal, text).await;
        let lock = node.storage().join("a.git/custom_hooks.lock");
        fs::write(&lock, "").expect("a file can be written");
        let text = "setting custom hooks: locking hooks: file already locked";
        check(&good, Code::Internal, text).await;
        fs::remove_file(lock).expect("it is still there");
        // Nobody can be asked on a connection without a mux.
        let message = SetCustomHooksRequest { repository: named("a.git"), data: good.into() };
        let mut request = Request::new(tokio_stream::iter(vec![message]));
        *request.metadata_mut() = metadata(&[("gitaly-reference-transaction", "e30=")]);
        let mut repositories = RepositoryServiceClient::new(client.clone());
        let (code, _) = refusal(repositories.set_custom_hooks(request).await);
        assert_eq!(code, Code::FailedPrecondition);
        let none = tokio_stream::iter(Vec::<SetCustomHooksRequest>::new());
        let (code, text) = refusal(repositories.set_custom_hooks(none).await);
        assert_eq!((code, &*text), (Code::Internal, "getting first request: EOF"));
        let absent = GetCustomHooksRequest { repository: named("absent.git") };
        let (code, text) = refusal(repositories.get_custom_hooks(absent).await);
        assert_eq!((code, &*text), (Code::NotFound, "repository not found"));
    });
}

/// A client that leaves in the middle of an archive leaves no lock and no files.
#[test]
fn an_archive_that_breaks_off_is_forgotten() {
    let node = Node::start();
    Repository::create(&node.storage(), "a", Kind::Empty);
    run(async {
        let client = connect(&node, Door::Tcp, "").await;
        let message = SetCustomHooksRequest { repository: named("a.git"), data: "x".into() };
        let mut request = Request::new(Unfinished(Some(message)));
        request.metadata_mut().insert("grpc-timeout", "300m".parse().expect("ASCII"));
        let mut repositories = RepositoryServiceClient::new(client.clone());
        let (code, _) = refusal(repositories.set_custom_hooks(request).await);
        assert_eq!(code, Code::DeadlineExceeded);
        let good = made("mkdir custom_hooks; tar -c custom_hooks");
        let mut outcome = set(&client, &good).await;
        // What was held goes when a worker gets to it.
        for _ in 0..200 {
            if outcome.is_ok() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            outcome = set(&client, &good).await;
        }
        outcome.expect("the lock is free");
    });
    assert_eq!(left_behind(&node.storage()), 0);
}
