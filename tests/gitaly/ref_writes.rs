//! `WriteRef`, `UpdateReferences`, `DeleteRefs`: what Gitaly 16.7 and 18.9 answer, and what git finds
//! afterwards.

use gitring_daemon::client::Client;
use gitring_proto::gitaly::ref_service_client::RefServiceClient;
use gitring_proto::gitaly::repository_service_client::RepositoryServiceClient;
use gitring_proto::gitaly::update_references_request::Update;
use gitring_proto::gitaly::{DeleteRefsRequest, UpdateReferencesRequest, WriteRefRequest};
use gitring_tests::git;
use gitring_tests::gitaly::{Door, connect, named, run};
use gitring_tests::node::Node;
use gitring_tests::repository::Repository;
use tonic::codegen::tokio_stream;
use tonic::{Code, Status};

const ZERO: &str = "0000000000000000000000000000000000000000";
const ABSENT: &str = "1111111111111111111111111111111111111111";
const WRITE: &str = "error when running update-ref command";

/// Code and message; `None`: it succeeds.
type Expected<'a> = Option<(Code, &'a str)>;

struct Writer {
    client: Client,
    path: &'static str,
}

#[track_caller]
fn judge(found: Result<(), Status>, expected: Expected<'_>, case: &str) {
    let found = found.err().map(|status| (status.code(), status.message().to_owned()));
    assert_eq!(found, expected.map(|(code, text)| (code, text.to_owned())), "{case}");
}

// === impl Writer ===

impl Writer {
    async fn start(node: &Node, path: &'static str) -> Self {
        Self { client: connect(node, Door::Unix, "").await, path }
    }

    async fn write(&self, [name, new, old]: [&str; 3], expected: Expected<'_>) {
        let request = WriteRefRequest {
            repository: named(self.path),
            r#ref: name.to_owned().into(),
            revision: new.to_owned().into(),
            old_revision: old.to_owned().into(),
        };
        let mut repositories = RepositoryServiceClient::new(self.client.clone());
        let found = repositories.write_ref(request).await.map(drop);
        judge(found, expected, &format!("{name} {new} {old}"));
    }

    /// Names, new and old ids.
    async fn update(&self, updates: &[[&str; 3]], expected: Expected<'_>) {
        let update = |[name, new, old]: &[&str; 3]| Update {
            reference: name.to_string().into(),
            new_object_id: new.to_string().into(),
            old_object_id: old.to_string().into(),
        };
        // One message for each.
        let mut repository = named(self.path);
        let messages = updates.iter().map(|one| UpdateReferencesRequest {
            repository: repository.take(),
            updates: vec![update(one)],
        });
        let messages: Vec<_> = messages.collect();
        let mut refs = RefServiceClient::new(self.client.clone());
        let found = refs.update_references(tokio_stream::iter(messages)).await.map(drop);
        judge(found, expected, &format!("{updates:?}"));
    }

    async fn delete(&self, names: &[&str], except: &[&str], expected: Expected<'_>) {
        let bytes = |names: &[&str]| names.iter().map(|name| name.to_string().into()).collect();
        let request = DeleteRefsRequest {
            repository: named(self.path),
            refs: bytes(names),
            except_with_prefix: bytes(except),
        };
        let mut refs = RefServiceClient::new(self.client.clone());
        let found = refs.delete_refs(request).await.map(drop);
        judge(found, expected, &format!("{names:?} {except:?}"));
    }
}

/// The object of a ref, if there is one.
fn target(repository: &Repository, name: &str) -> Option<String> {
    let found = git::try_run(&repository.path, &["rev-parse", "--verify", "-q", name]);
    let id = String::from_utf8_lossy(&found.stdout).trim().to_owned();
    Some(id).filter(|id| !id.is_empty())
}

#[test]
fn write_ref() {
    let (node, repository) = super::node_with_varied("");
    let [main, older, blob] = ["main", "main~3", "v0:README"].map(|one| repository.id(one));
    repository.git(&["symbolic-ref", "refs/heads/alias", "refs/heads/behind"]);
    std::fs::create_dir_all(repository.path.join("refs/heads")).expect("it can be created");
    std::fs::write(repository.path.join("refs/heads/held.lock"), "").expect("it can be written");
    run(async {
        let on = Writer::start(&node, "varied.git").await;
        on.write(["refs/heads/n", &main, ""], None).await;
        on.write(["refs/heads/n", &older, &main], None).await;
        on.write(["refs/heads/n", "main~2", "main~3"], None).await;
        on.write(["refs/tags/o", "v1", ZERO], None).await;
        assert_eq!(target(&repository, "refs/heads/n"), Some(repository.id("main~2")));
        on.write(["refs/heads/alias", &main, ZERO], None).await;
        assert_eq!(target(&repository, "refs/heads/behind"), Some(main.clone()));
        on.write(["refs/heads/n", ZERO, ""], None).await;
        on.write(["refs/heads/n", ZERO, ""], None).await;
        assert_eq!(target(&repository, "refs/heads/n"), None);
        on.write(["refs/x/blob", &blob, ""], None).await;
        on.write(["HEAD", "refs/heads/nowhere", "main"], None).await;
        assert_eq!(repository.git(&["symbolic-ref", "HEAD"]), "refs/heads/nowhere");

        let text = |what: &str| format!("{WRITE}: {what}");
        let fail = async |update: [&str; 3], what: &str| {
            on.write(update, Some((Code::Internal, &text(what)))).await;
        };
        fail(["refs/heads/behind", &main, ZERO], "reference already exists").await;
        let stale = "reference does not point to expected object";
        fail(["refs/heads/behind", &main, &older], stale).await;
        fail(["refs/heads/a..b", &main, ""], "invalid reference format").await;
        fail(["refs/heads/behind/x", &main, ""], "file directory conflict").await;
        fail(["refs/heads/blob", &blob, ""], "target object not a commit").await;
        fail(["refs/heads/none", &main, &older], "exit status 128").await;
        let held = Some((Code::Aborted, "reference is locked already"));
        on.write(["refs/heads/held", &main, ""], held).await;
        let missing = Some((Code::NotFound, "resolving new revision: reference not found"));
        on.write(["refs/heads/n", ABSENT, ""], missing).await;
        on.write(["refs/heads/n", "nothing", ""], missing).await;
        let missing = Some((Code::NotFound, "resolving old revision: reference not found"));
        on.write(["refs/heads/n", &main, ABSENT], missing).await;
        let malformed = "setting default branch: \"main\" is a malformed refname";
        on.write(["HEAD", "main", ""], Some((Code::Internal, malformed))).await;
        for (update, text) in [
            (["", &*main, ""], "invalid ref: empty revision"),
            (["-x", &main, ""], "invalid ref: revision can't start with '-'"),
            (["refs/heads/n", "", ""], "invalid revision: empty revision"),
            (["refs/heads/n", "a b", ""], "invalid revision: revision can't contain whitespace"),
            (["refs/heads/n", "main", "a:b"], "invalid OldRevision: revision can't contain ':'"),
            (["heads/n", &main, ""], "ref has to be a full reference"),
        ] {
            on.write(update, Some((Code::InvalidArgument, text))).await;
        }
        let on = Writer::start(&node, "nothing.git").await;
        let none = Some((Code::NotFound, "repository not found"));
        on.write(["refs/heads/n", &main, ""], none).await;
        on.write(["", "", ""], none).await;
        on.delete(&[], &[], none).await;
        on.update(&[["x", "", ""]], none).await;
    });
    repository.git(&["fsck", "--connectivity-only"]);
}

#[test]
fn update_references() {
    let (node, repository) = super::node_with_varied("");
    let [main, older] = ["main", "main~3"].map(|one| repository.id(one));
    std::fs::create_dir_all(repository.path.join("refs/heads")).expect("it can be created");
    std::fs::write(repository.path.join("refs/heads/held.lock"), "").expect("it can be written");
    run(async {
        let on = Writer::start(&node, "varied.git").await;
        on.update(&[["refs/heads/a", &main, ZERO], ["refs/x/b", &older, ""]], None).await;
        on.update(&[["refs/heads/a", ZERO, &main], ["refs/x/b", &main, &older]], None).await;
        let found = (target(&repository, "refs/heads/a"), target(&repository, "refs/x/b"));
        assert_eq!(found, (None, Some(main.clone())));

        // All or nothing, whatever stands in the way.
        let first = ["refs/heads/first", &*main, ""];
        let fail = async |second: [&str; 3], code: Code, text: &str| {
            on.update(&[first, second], Some((code, text))).await;
            assert_eq!(target(&repository, first[0]), None, "{second:?}");
        };
        let stale = "reference does not point to expected object";
        fail(["refs/x/b", &main, &older], Code::Aborted, stale).await;
        let exists = "committing update: reference already exists";
        fail(["refs/x/b", &main, ZERO], Code::Internal, exists).await;
        fail(["refs/heads/held", &main, ""], Code::Aborted, "reference is already locked").await;
        fail(["refs/heads/c", ABSENT, ""], Code::NotFound, "target object missing").await;
        let conflict = "committing update: file directory conflict";
        fail(["refs/x/b/c", &main, ""], Code::Internal, conflict).await;
        let within = "committing update: conflicting reference updates in the same transaction";
        fail(["refs/heads/first/c", &main, ""], Code::Internal, within).await;
        let twice =
            "committing update: reference has been updated multiple times within a transaction";
        fail(first, Code::Internal, twice).await;
        let text = "validating reference: HEAD reference not allowed";
        fail(["HEAD", &main, ""], Code::InvalidArgument, text).await;
        let text = "validating new object ID: invalid object ID: \"12\", \
                    expected length 40, got 2";
        fail(["refs/heads/c", "12", ""], Code::InvalidArgument, text).await;
        let text = "validating old object ID: invalid object ID: \"XX\", \
                    expected length 40, got 2";
        fail(["refs/heads/c", &main, "XX"], Code::InvalidArgument, text).await;

        let mut refs = RefServiceClient::new(on.client.clone());
        let message =
            || UpdateReferencesRequest { repository: named("varied.git"), updates: vec![] };
        let found = refs.update_references(tokio_stream::once(message())).await.map(drop);
        judge(found, Some((Code::InvalidArgument, "no updates specified")), "none");
        let updates = vec![Update {
            reference: "refs/heads/first".into(),
            new_object_id: main.clone().into(),
            old_object_id: "".into(),
        }];
        let message = UpdateReferencesRequest { updates, ..message() };
        let twice = tokio_stream::iter([message.clone(), message]);
        let found = refs.update_references(twice).await.map(drop);
        let text = "repository set in subsequent request";
        judge(found, Some((Code::InvalidArgument, text)), "twice");
        let nobody = tokio_stream::iter(Vec::<UpdateReferencesRequest>::new());
        let found = refs.update_references(nobody).await.map(drop);
        judge(found, Some((Code::Internal, "receiving initial request: EOF")), "nothing");
    });
}

#[test]
fn delete_refs() {
    let (node, repository) = super::node_with_varied("");
    repository.git(&["symbolic-ref", "refs/heads/alias", "refs/heads/main"]);
    repository.git(&["update-ref", "refs/heads/b", "main"]);
    repository.git(&["pack-refs", "--all"]);
    std::fs::create_dir_all(repository.path.join("refs/heads")).expect("it can be created");
    std::fs::write(repository.path.join("refs/heads/held.lock"), "").expect("it can be written");
    run(async {
        let on = Writer::start(&node, "varied.git").await;
        on.delete(&["refs/heads/alias", "refs/heads/none"], &[], None).await;
        assert!(target(&repository, "refs/heads/main").is_some(), "only the alias goes");
        let held = Some((Code::Aborted, "cannot lock references"));
        on.delete(&["refs/heads/b", "refs/heads/held"], &[], held).await;
        assert!(target(&repository, "refs/heads/b").is_some());
        let invalid = Some((Code::InvalidArgument, "invalid references"));
        on.delete(&["refs/heads/b", "refs/heads/a b"], &[], invalid).await;
        on.delete(&["HEAD"], &[], invalid).await;
        let malformed = "unable to prepare: invalid reference format";
        on.delete(&["refs/heads/a..b"], &[], Some((Code::Internal, malformed))).await;
        let dead = "unable to prepare: exit status 128";
        on.delete(&["top"], &[], Some((Code::Internal, dead))).await;
        let twice = "unable to prepare: \
                     reference has been updated multiple times within a transaction";
        on.delete(&["refs/heads/b", "refs/heads/b"], &[], Some((Code::Internal, twice))).await;
        on.delete(&[], &["refs/heads/main", "refs/tags/"], None).await;
        let left = repository.git(&["for-each-ref", "--format=%(refname)", "refs/heads/"]);
        assert_eq!(left, "refs/heads/main");
        assert!(repository.git(&["for-each-ref", "refs/tags/"]).lines().count() > 3);
        on.delete(&[], &["refs/"], None).await;
    });
    repository.git(&["fsck", "--connectivity-only"]);
}

/// Goal: refs that are not stored as we write them are changed by git.
#[test]
fn repositories_of_sha256() {
    let node = Node::start();
    let path = node.storage().join("new.git");
    let text = path.to_string_lossy().into_owned();
    let arguments = ["init", "-q", "--bare", "--object-format=sha256", "-b", "main", &text];
    git::run(&node.storage(), &arguments);
    let repository = Repository { path };
    repository.import(&gitring_tests::history::varied(3));
    let [main, older] = ["main", "main~2"].map(|one| repository.id(one));
    let zero = "0".repeat(64);
    run(async {
        let on = Writer::start(&node, "new.git").await;
        on.write(["refs/heads/n", &main, ""], None).await;
        on.write(["refs/heads/n", "main~2", "main"], None).await;
        assert_eq!(target(&repository, "refs/heads/n"), Some(older.clone()));
        let stale = format!("{WRITE}: reference does not point to expected object");
        on.write(["refs/heads/n", &main, &main], Some((Code::Internal, &stale))).await;
        on.write(["HEAD", "refs/heads/n", ""], None).await;
        assert_eq!(repository.git(&["symbolic-ref", "HEAD"]), "refs/heads/n");
        on.update(&[["refs/heads/u", &main, &zero], ["refs/heads/n", &main, ""]], None).await;
        let text = format!(
            "validating new object ID: invalid object ID: \"{ZERO}\", expected length 64, got 40"
        );
        let short = Some((Code::InvalidArgument, &*text));
        on.update(&[["refs/heads/u", ZERO, ""]], short).await;
        on.delete(&["refs/heads/u"], &[], None).await;
        assert_eq!(target(&repository, "refs/heads/u"), None);
        on.delete(&[], &["refs/heads/main"], None).await;
        assert_eq!(repository.git(&["for-each-ref", "--format=%(refname)"]), "refs/heads/main");
    });
}

/// Goal: many writers at once lose nothing, while git packs refs.
#[test]
fn many_writers() {
    const WRITERS: usize = 8;
    const REFS_EACH: usize = 40;
    let (node, repository) = super::node_with_varied("");
    let main = repository.id("main");
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (node, main) = (&node, &main);
            scope.spawn(move || {
                run(async {
                    let on = Writer::start(node, "varied.git").await;
                    for n in 0..REFS_EACH {
                        let name = format!("refs/keep-around/{writer}-{n}");
                        on.write([&name, main, ZERO], None).await;
                    }
                });
            });
        }
        for _ in 0..10 {
            // It may find a ref locked, and gives up then.
            let _ = git::try_run(&repository.path, &["pack-refs", "--all"]);
        }
    });
    let found = repository.git(&["for-each-ref", "--format=%(objectname)", "refs/keep-around/"]);
    assert_eq!(found.lines().filter(|id| *id == main).count(), WRITERS * REFS_EACH);
    assert_eq!(node.children_started(), 0, "no git writes refs: {}", node.children_log());
}
