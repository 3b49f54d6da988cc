//! Branches and tags: what Gitaly's readers of refs say, against git, on refs that are loose, packed
//! and of either format.

use gitring_daemon::client::Client;
use gitring_proto::gitaly::find_all_tags_request::SortBy;
use gitring_proto::gitaly::ref_service_client::RefServiceClient;
use gitring_proto::gitaly::{
    FindAllBranchesRequest, FindAllTagsRequest, FindLocalBranchesRequest, FindRefsByOidRequest,
    FindTagRequest, GitCommit, PaginationParameter, SignatureType, Tag,
};
use gitring_tests::gitaly::{Door, connect, named, refusal, run};
use gitring_tests::node::Node;
use gitring_tests::random::Random;
use gitring_tests::repository::Repository;
use gitring_tests::{git, history};
use tonic::{Code, Response, Status, Streaming};

/// Formats of objects; the second one is read by git alone.
const FORMATS: [&str; 2] = ["sha1", "sha256"];

struct Reader {
    refs: RefServiceClient<Client>,
    repository: Repository,
}

async fn all<M>(stream: Result<Response<Streaming<M>>, Status>) -> Result<Vec<M>, Status> {
    let mut stream = stream?.into_inner();
    let mut messages = Vec::new();
    while let Some(message) = stream.message().await? {
        messages.push(message);
    }
    Ok(messages)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn commit(commit: Option<&GitCommit>) -> String {
    let shown = |commit: &GitCommit| {
        let author = commit.author.clone().unwrap_or_default();
        format!("{} {} {}", commit.id, commit.tree_id, text(&author.name))
    };
    commit.map(shown).unwrap_or_default()
}

/// `<name> <id> <commit>|<message>|<tagger>`
fn tag(tag: &Tag) -> String {
    let tagger = tag.tagger.clone().unwrap_or_default();
    let tagger = format!("{} {}", text(&tagger.name), text(&tagger.timezone));
    let commit = commit(tag.target_commit.as_ref());
    format!("{} {} {commit}|{}|{}", text(&tag.name), tag.id, text(&tag.message), tagger.trim())
}

/// A repository with branches and tags of every kind, half of them packed.
fn repository(node: &Node, format: &str, random: &mut Random) -> Repository {
    let path = node.storage().join(format!("{format}.git"));
    let shown = path.to_string_lossy().into_owned();
    let option = format!("--object-format={format}");
    git::run(&node.storage(), &["init", "-q", "--bare", &option, "-b", "main", &shown]);
    let repository = Repository { path };
    repository.import(&history::varied(11));
    repository.git(&["update-ref", "-d", "refs/heads/gone"]);
    for n in 0..45 {
        let revision = format!("main~{}", random.below(9));
        let kind = ["refs/heads", "refs/remotes/origin", "refs/tags/extra"][random.below(3)];
        repository.git(&["update-ref", &format!("{kind}/{n}"), &revision]);
        if n == 20 {
            repository.git(&["pack-refs", "--all"]);
        }
    }
    repository.git(&["tag", "-a", "-m", "one\n\ntwo", "annotated", "main~1"]);
    repository.git(&["tag", "-a", "-m", "around", "nested", "annotated"]);
    repository.git(&["tag", "-a", "-m", "a tree", "tree", "main^{tree}"]);
    repository.git(&["tag", "v0-blob", "main:src"]);
    repository.git(&["symbolic-ref", "refs/heads/alias", "refs/heads/main"]);
    let signed = "-----BEGIN PGP SIGNATURE-----\n\nx\n-----END PGP SIGNATURE-----";
    repository.git(&["tag", "-a", "-m", &format!("signed\n{signed}"), "signed", "main"]);
    repository.git(&["tag", "-a", "-m", &"x".repeat(20_000), "long", "main"]);
    repository
}

// === impl Reader ===

impl Reader {
    fn named(&self) -> Option<gitring_proto::gitaly::Repository> {
        named(&self.repository.relative())
    }

    /// `<name> <id> <tree> <author>` of each, as git lists them.
    fn expected(&self, arguments: &[&str]) -> Vec<String> {
        let format = "--format=%(refname) %(objectname) %(tree) %(authorname)";
        let all: Vec<_> = ["for-each-ref", format].iter().chain(arguments).copied().collect();
        self.repository.git(&all).lines().map(|line| line.trim_end().to_owned()).collect()
    }

    async fn local(&self, sort_by: i32, page: (&str, i32)) -> Result<Vec<String>, Status> {
        let pagination_params =
            Some(PaginationParameter { page_token: page.0.to_owned(), limit: page.1 });
        let repository = self.named();
        let request = FindLocalBranchesRequest { repository, sort_by, pagination_params };
        let messages = all(self.refs.clone().find_local_branches(request).await).await?;
        for message in messages.iter().rev().skip(1) {
            assert_eq!(message.local_branches.len(), 20, "full but the last");
        }
        let branches = messages.into_iter().flat_map(|message| message.local_branches);
        let shown = branches.map(|branch| {
            format!("{} {}", text(&branch.name), commit(branch.target_commit.as_ref()))
        });
        Ok(shown.collect())
    }

    async fn all_branches(&self, merged_only: bool, merged: &[&str]) -> Vec<String> {
        let request = FindAllBranchesRequest {
            repository: self.named(),
            merged_only,
            merged_branches: merged.iter().map(|name| name.to_string().into()).collect(),
        };
        let messages = all(self.refs.clone().find_all_branches(request).await).await;
        let branches = messages.expect("branches").into_iter().flat_map(|message| message.branches);
        let shown = branches
            .map(|branch| format!("{} {}", text(&branch.name), commit(branch.target.as_ref())));
        shown.collect()
    }

    async fn tags(&self, sort: (i32, i32), page: (&str, i32)) -> Result<Vec<Tag>, Status> {
        let request = FindAllTagsRequest {
            repository: self.named(),
            sort_by: Some(SortBy { key: sort.0, direction: sort.1 }),
            pagination_params: Some(PaginationParameter {
                page_token: page.0.to_owned(),
                limit: page.1,
            }),
        };
        let messages = all(self.refs.clone().find_all_tags(request).await).await?;
        Ok(messages.into_iter().flat_map(|message| message.tags).collect())
    }

    async fn tag(&self, name: &str) -> Result<Tag, Status> {
        let tag_name = name.to_owned().into();
        let request = FindTagRequest { repository: self.named(), tag_name };
        let found = self.refs.clone().find_tag(request).await?.into_inner().tag;
        Ok(found.expect("a tag"))
    }

    async fn by_oid(&self, oid: &str, sort: &str, limit: u32) -> Result<Vec<String>, Status> {
        let request = FindRefsByOidRequest {
            repository: self.named(),
            oid: oid.to_owned(),
            ref_patterns: Vec::new(),
            sort_field: sort.to_owned(),
            limit,
        };
        Ok(self.refs.clone().find_refs_by_oid(request).await?.into_inner().refs)
    }

    async fn check_branches(&self) {
        for (sort_by, option) in
            [(0, "--sort=refname"), (1, "--sort=committerdate"), (2, "--sort=-committerdate")]
        {
            let expected = self.expected(&[option, "refs/heads"]);
            let page = async |token: &str, limit| self.local(sort_by, (token, limit)).await;
            assert_eq!(page("", -1).await.expect("branches"), expected, "{option}");
            assert_eq!(page("", 3).await.expect("branches"), expected[..3], "{option}");
            assert_eq!(page("", 0).await.expect("branches"), [""; 0], "{option}");
            let token = expected[4].split(' ').next().expect("a name");
            assert_eq!(page(token, 7).await.expect("branches"), expected[5..12], "{option}");
            assert_eq!(page(token, -1).await.expect("branches"), expected[5..], "{option}");
            let missing = "invalid page token: sending lines: could not find page token";
            let missing = (Code::InvalidArgument, missing.to_owned());
            assert_eq!(refusal(page("main", 7).await), missing);
            assert_eq!(refusal(page(token, 0).await), missing);
        }
        let expected = self.expected(&["refs/heads", "refs/remotes"]);
        assert_eq!(self.all_branches(false, &["refs/heads/main"]).await, expected);
        let expected = self.expected(&["--merged=refs/heads/main", "refs/heads", "refs/remotes"]);
        assert_eq!(self.all_branches(true, &[]).await, expected);
        let expected = self.expected(&["--merged=refs/heads/main", "refs/heads/main"]);
        assert_eq!(self.all_branches(true, &["refs/heads/main"]).await, expected);
    }

    async fn check_tags(&self) {
        for (key, name) in [(0, "refname"), (1, "creatordate"), (2, "version:refname")] {
            for (direction, sign) in [(0, ""), (1, "-")] {
                let option = format!("--sort={sign}{name}");
                let expected = self.expected(&[&option, "refs/tags/"]);
                let expected: Vec<_> = expected
                    .iter()
                    .map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" "))
                    .collect();
                let shown = |tags: Vec<Tag>| -> Vec<_> {
                    let line = |tag: &Tag| format!("refs/tags/{} {}", text(&tag.name), tag.id);
                    tags.iter().map(line).collect()
                };
                let page = async |token: &str, limit| {
                    self.tags((key, direction), (token, limit)).await.map(shown)
                };
                assert_eq!(page("", -1).await.expect("tags"), expected, "{option}");
                let token = expected[2].split(' ').next().expect("a name");
                assert_eq!(page(token, 4).await.expect("tags"), expected[3..7], "{option}");
                let missing = (Code::InvalidArgument, "could not find page token".to_owned());
                assert_eq!(refusal(page("v0", 7).await), missing);
            }
        }
        for one in self.tags((0, 0), ("", -1)).await.expect("tags") {
            let name = text(&one.name);
            assert_eq!(tag(&self.tag(&name).await.expect("it is listed")), tag(&one), "{name}");
            let target = format!("refs/tags/{name}^{{commit}}");
            let target =
                git::try_run(&self.repository.path, &["rev-parse", "--verify", "-q", &target]);
            let found = one.target_commit.map(|commit| commit.id).unwrap_or_default();
            assert_eq!(found, text(&target.stdout).trim(), "{name}");
        }
        let annotated = self.tag("annotated").await.expect("a tag");
        assert_eq!((text(&annotated.message), annotated.message_size), ("one\n\ntwo".into(), 8));
        let long = self.tag("long").await.expect("a tag");
        assert_eq!((long.message.len(), long.message_size), (10 << 10, 20_000));
        let signed = self.tag("signed").await.expect("a tag");
        assert_eq!(signed.signature_type(), SignatureType::Pgp);
        assert_eq!(text(&self.tag("annota*").await.expect("a tag").name), "annotated");
        for name in ["nothing", "refs/tags/annotated", "annotate"] {
            let status = self.tag(name).await.expect_err(name);
            assert_eq!((status.code(), status.message()), (Code::NotFound, "tag does not exist"));
            let detail = text(status.details());
            assert!(detail.contains("gitaly.FindTagError") && detail.contains(name), "{detail}");
        }
        let empty = (Code::InvalidArgument, "tag name is empty".to_owned());
        assert_eq!(refusal(self.tag("").await), empty);
        let (code, _) = refusal(self.tags((7, 0), ("", -1)).await);
        assert_eq!(code, Code::InvalidArgument);
    }

    async fn check_by_oid(&self) {
        let patterns = ["refs/tags/", "refs/heads/"];
        for revision in ["main", "main~1", "annotated", "nested", "main^{tree}", "main:src"] {
            let id = self.repository.id(revision);
            for (sort, option) in [("", "--sort=refname"), ("-creatordate", "--sort=-creatordate")]
            {
                let points_at = format!("--points-at={id}");
                let all = ["for-each-ref", "--format=%(refname)", option, &points_at];
                let all: Vec<_> = all.iter().chain(&patterns).copied().collect();
                let expected = self.repository.git(&all);
                let expected: Vec<_> = expected.lines().collect();
                let found = self.by_oid(&id, sort, 0).await.expect("refs");
                assert_eq!(found, expected, "{revision} {sort}");
                let found = self.by_oid(&id, sort, 1).await.expect("refs");
                assert_eq!(found, expected[..expected.len().min(1)], "{revision} {sort}");
            }
        }
        let short = &self.repository.id("main")[..12];
        assert!(!self.by_oid(short, "version:refname", 0).await.expect("refs").is_empty());
        let malformed = "for-each-ref pipeline command: exit status 129".to_owned();
        let malformed = (Code::InvalidArgument, malformed);
        assert_eq!(refusal(self.by_oid("nothing", "", 0).await), malformed);
        let unknown = "for-each-ref pipeline command: exit status 128".to_owned();
        let sorted = self.by_oid(short, "nonsense", 0).await;
        assert_eq!(refusal(sorted), (Code::Internal, unknown));
        let empty = (Code::InvalidArgument, "empty Oid".to_owned());
        assert_eq!(refusal(self.by_oid("", "", 0).await), empty);
    }
}

#[test]
fn branches_and_tags_are_gits() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(5);
    eprintln!("SEED={seed}");
    let mut random = Random::new(seed);
    let node = Node::start();
    for format in FORMATS {
        eprintln!("{format}");
        let repository = repository(&node, format, &mut random);
        run(async {
            let client = connect(&node, Door::Unix, "").await;
            let refs = RefServiceClient::new(client).max_decoding_message_size(64 << 20);
            let reader = Reader { refs, repository };
            reader.check_branches().await;
            reader.check_tags().await;
            reader.check_by_oid().await;
        });
    }
}
