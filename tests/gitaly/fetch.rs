//! Workhorse's part: advertisements, and packs over sidechannels.

use gitring_daemon::client::Client;
use gitring_proto::gitaly::smart_http_service_client::SmartHttpServiceClient;
use gitring_proto::gitaly::{
    InfoRefsRequest, PackfileNegotiationStatistics as Statistics,
    PostUploadPackWithSidechannelRequest,
};
use gitring_tests::git;
use gitring_tests::gitaly::{
    Answered, DOORS, Door, connect, named, refusal, run, with_sidechannel,
};
use gitring_tests::metrics;
use gitring_tests::pktline::{Packet, parse, readable, request};
use gitring_tests::repository::{Kind, Repository};
use gitring_tests::stdio::{Call, Server};
use gitring_tests::{history, node::Node};
use tonic::Code;

use super::node_with_varied;

/// What Gitaly configures for every upload-pack; stock git must be told.
const GITALY: [&str; 4] = [
    "uploadpack.allowFilter=true",
    "uploadpack.allowAnySHA1InWant=true",
    "uploadpack.hideRefs=refs/keep-around/",
    "uploadpack.hideRefs=refs/tmp/",
];

/// `PostUploadPackWithSidechannel`
async fn post(
    client: &Client,
    protocol: &str,
    options: &[&str],
    input: &[u8],
) -> Answered<Statistics> {
    let message = PostUploadPackWithSidechannelRequest {
        repository: named("varied.git"),
        git_protocol: protocol.to_owned(),
        git_config_options: options.iter().map(|option| (*option).to_owned()).collect(),
    };
    let mut http = SmartHttpServiceClient::new(client.clone());
    with_sidechannel(client, message, input, async move |request| {
        let reply = http.post_upload_pack_with_sidechannel(request).await?.into_inner();
        Ok(reply.packfile_negotiation_statistics.expect("statistics are always there"))
    })
    .await
}

/// `InfoRefsUploadPack`, its pieces joined.
async fn info_refs(client: &Client, path: &str, protocol: &str, options: &[&str]) -> Vec<u8> {
    let message = InfoRefsRequest {
        repository: named(path),
        git_protocol: protocol.to_owned(),
        git_config_options: options.iter().map(|option| (*option).to_owned()).collect(),
    };
    let mut http = SmartHttpServiceClient::new(client.clone());
    let mut pieces = http.info_refs_upload_pack(message).await.expect("refs").into_inner();
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.message().await.expect("the stream goes on") {
        bytes.extend_from_slice(&piece.data);
    }
    bytes
}

/// Stock git's answer to the same bytes, configured as Gitaly configures it.
fn stock(repository: &Repository, protocol: &str, options: &[&str], input: &[u8]) -> Vec<u8> {
    let mut call = Call::stateless(protocol);
    let listing = ["--stateless-rpc", "--advertise-refs"];
    if input.is_empty() {
        call.options = &listing;
    }
    let settings: Vec<_> = GITALY.iter().chain(options).collect();
    let mut environment = vec![("GIT_CONFIG_COUNT".to_owned(), (settings.len() + 1).to_string())];
    for (at, setting) in settings.iter().enumerate() {
        let (key, value) = setting.split_once('=').expect("key=value");
        environment.push((format!("GIT_CONFIG_KEY_{}", at + 1), key.to_owned()));
        environment.push((format!("GIT_CONFIG_VALUE_{}", at + 1), value.to_owned()));
    }
    let environment: Vec<_> =
        environment.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    call.environment = &environment;
    Server::Stock.converse(&repository.path, &call, input).stdout
}

/// The pack in an answer with side-band-64k, which git must find sound and complete.
fn index_pack(repository: &Repository, answer: &[u8]) -> usize {
    let data = parse(answer).into_iter().filter_map(|packet| {
        let Packet::Data(payload) = packet else { return None };
        payload.strip_prefix(&[1]).map(<[u8]>::to_vec)
    });
    let pack = data.collect::<Vec<_>>().concat();
    assert!(pack.starts_with(b"PACK"), "{}", answer[..answer.len().min(300)].escape_ascii());
    let folder = tempfile::tempdir().expect("a temporary folder");
    git::run(folder.path(), &["init", "-q", "--bare", "."]);
    git::run_with(folder.path(), &["index-pack", "--strict", "--stdin", "--fix-thin"], &pack);
    let refs = repository.git(&["for-each-ref", "--format=create %(refname) %(objectname)"]);
    git::run_with(folder.path(), &["update-ref", "--stdin"], format!("{refs}\n").as_bytes());
    git::run(folder.path(), &["fsck", "--full", "--strict", "--no-progress"]);
    pack.len()
}

/// Every ref of a repository in `want` lines of version 2.
fn everything(repository: &Repository, last: &[&str]) -> (Vec<u8>, usize) {
    let ids = repository.git(&["for-each-ref", "--format=want %(objectname)"]);
    let mut ids: Vec<_> = ids.lines().collect();
    ids.sort_unstable();
    ids.dedup();
    let head = ["command=fetch", "object-format=sha1", "delim", "no-progress", "ofs-delta"];
    (request(&[&head[..], &ids, last].concat()), ids.len())
}

#[test]
fn advertisements_are_stock_gits_behind_a_service_line() {
    let (node, repository) = node_with_varied("");
    for name in ["refs/keep-around/1", "refs/tmp/1", "refs/environments/1", "refs/pipelines/1"] {
        repository.git(&["update-ref", name, "main"]);
    }
    let service = b"001e# service=git-upload-pack\n0000";
    for (protocol, known) in
        [("", ""), ("version=1", "version=1"), ("version=2", "version=2"), ("version=2:x", "")]
    {
        let visible = ["uploadpack.hideRefs=!refs/keep-around/"];
        for options in [&[][..], &["uploadpack.hideRefs=refs/heads/"], &visible] {
            let expected = stock(&repository, known, options, b"");
            for door in DOORS {
                let answer = run(async {
                    info_refs(&connect(&node, door, "").await, "varied.git", protocol, options)
                        .await
                });
                let what = format!("{door:?} {protocol:?} {options:?}");
                let answer = answer.strip_prefix(service).expect(&what);
                assert_eq!(readable(answer), readable(&expected), "{what}");
            }
        }
    }
    assert_eq!(node.children_log(), "", "nothing here needs a child");
}

#[test]
fn ls_refs_is_stock_gits() {
    let (node, repository) = node_with_varied("");
    let head = ["command=ls-refs", "object-format=sha1", "delim", "peel", "symrefs"];
    let prefixes = ["ref-prefix refs/heads/", "ref-prefix HEAD"];
    for lines in [&[][..], &prefixes] {
        let input = request(&[&head[..], lines, &["flush"]].concat());
        let answered = run(async {
            post(&connect(&node, Door::Mux, "").await, "version=2", &[], &input).await
        });
        assert_eq!(answered.reply.expect("ls-refs"), Statistics::default());
        let expected = stock(&repository, "version=2", &[], &input);
        assert_eq!(readable(&answered.bytes), readable(&expected));
    }
    assert_eq!(node.children_log(), "");
}

#[test]
fn a_clone_over_a_sidechannel() {
    let (node, repository) = node_with_varied("");
    let (input, wants) = everything(&repository, &["done", "flush"]);
    for door in [Door::Mux, Door::UnixMux] {
        let answered =
            run(async { post(&connect(&node, door, "").await, "version=2", &[], &input).await });
        index_pack(&repository, &answered.bytes);
        assert!(answered.bytes.ends_with(b"0000"), "{door:?}");
        let lines = ["command=fetch", "object-format=sha1", "no-progress", "ofs-delta", "done"];
        let text: usize = lines.iter().map(|line| line.len()).sum();
        let expected = Statistics {
            payload_size: (text + wants * "want ".len() + wants * 40) as i64,
            // Four lines, the delimiter, the wants. `done` counts as payload, not as a packet.
            packets: (5 + wants) as i64,
            wants: wants as i64,
            ..Statistics::default()
        };
        assert_eq!(answered.reply.expect("a clone"), expected, "{door:?}");
    }
    let total = [("git_negotiation_feature", "total")];
    let name = "gitaly_smarthttp_packfile_negotiation_requests_total";
    assert_eq!(metrics::sum(&node, name, &total), 2);
}

#[test]
fn statistics_of_version_0() {
    let (node, repository) = node_with_varied("");
    let (main, old) = (repository.id("main"), repository.id("main~2"));
    let want = format!("want {main} side-band-64k ofs-delta filter");
    let have = format!("have {old}");
    let lines = [&*want, "deepen 2", "filter blob:none", "flush", &have, "done"];
    let answered =
        run(async { post(&connect(&node, Door::Mux, "").await, "", &[], &request(&lines)).await });
    let payload: usize = lines.iter().filter(|line| **line != "flush").map(|line| line.len()).sum();
    let expected = Statistics {
        payload_size: payload as i64,
        packets: 5,
        caps: ["side-band-64k", "ofs-delta", "filter"].map(str::to_owned).to_vec(),
        wants: 1,
        haves: 1,
        shallows: 0,
        deepen: "deepen 2".to_owned(),
        filter: "blob:none".to_owned(),
    };
    assert_eq!(answered.reply.expect("a fetch"), expected);
    let name = "gitaly_smarthttp_packfile_negotiation_requests_total";
    for feature in ["total", "have", "deepen", "filter"] {
        assert_eq!(
            metrics::sum(&node, name, &[("git_negotiation_feature", feature)]),
            1,
            "{feature}"
        );
    }
}

/// Many at once on one connection, each with its own sidechannel, larger than all windows.
#[test]
fn several_fetches_on_one_connection() {
    let node = Node::start();
    let repository = Repository::create(&node.storage(), "varied", Kind::Empty);
    repository.import(&history::heavy(100));
    let (input, _) = everything(&repository, &["done", "flush"]);
    let answers = run(async {
        let client = connect(&node, Door::Mux, "").await;
        let fetch = || post(&client, "version=2", &[], &input);
        tokio::join!(fetch(), fetch(), fetch(), fetch())
    });
    for answered in [answers.0, answers.1, answers.2, answers.3] {
        assert!(answered.reply.is_ok(), "{:?}", answered.reply);
        assert!(index_pack(&repository, &answered.bytes) > 2_000_000);
    }
}

#[test]
fn fetches_that_are_refused() {
    let (node, repository) = node_with_varied("");
    let (input, _) = everything(&repository, &["done", "flush"]);
    let missing =
        request(&["command=fetch", "delim", &format!("want {:040x}", 7), "done", "flush"]);
    run(async {
        let mux = connect(&node, Door::Mux, "").await;
        let answered = post(&mux, "version=2", &[], &missing).await;
        let said = String::from_utf8_lossy(&answered.bytes).into_owned();
        assert!(answered.reply.is_err(), "{said}");
        let (code, text) = refusal(answered.reply);
        assert_eq!(code, Code::FailedPrecondition, "{text}");
        assert!(said.contains("ERR upload-pack: not our ref"), "{said}");
        let answered = post(&mux, "version=2", &["no equals sign"], &input).await;
        assert_eq!(refusal(answered.reply).0, Code::InvalidArgument);
        // Without a mux, and without an id.
        let mut plain = SmartHttpServiceClient::new(connect(&node, Door::Tcp, "").await);
        let message = || PostUploadPackWithSidechannelRequest {
            repository: named("varied.git"),
            ..Default::default()
        };
        let (code, text) = refusal(plain.post_upload_pack_with_sidechannel(message()).await);
        assert_eq!(code, Code::Internal);
        assert!(text.starts_with("open sidechannel: "), "{text}");
        let mut http = SmartHttpServiceClient::new(mux.clone());
        let (code, text) = refusal(http.post_upload_pack_with_sidechannel(message()).await);
        assert_eq!(
            (code, &*text),
            (Code::Internal, "open sidechannel: no sidechannel id in the metadata")
        );
    });
}
