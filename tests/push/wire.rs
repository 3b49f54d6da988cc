//! Pushes as HTTP sees them: probes, chunks, compression, `Expect`; and what the gateway refuses.
//!
//! Never here: what a push does, unless it came in an unusual way.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use gitring_tests::client::Served;
use gitring_tests::git;
use gitring_tests::http;
use gitring_tests::node::Node;
use gitring_tests::pktline::readable;
use gitring_tests::random::Random;
use gitring_tests::stock_http::StockHttp;

use super::raw::{NULL, USUAL, commands, pack, post, shown};
use super::scene::{Scene, Template};
use super::{OPEN, SETTINGS};

const KIND: (&str, &str) = ("Content-Type", "application/x-git-receive-pack-request");

/// One scene with each server.
fn on_both(work: impl Fn(&Scene<'_>) -> String) {
    let folder = tempfile::tempdir().expect("this works on this machine");
    let stock = StockHttp::start_with(folder.path(), SETTINGS);
    let node = Node::start_with(OPEN);
    let template = Template::new();
    let storage = node.storage();
    let [stock, ours] = [
        Scene::new(&template, Served::StockHttp(&stock), (folder.path(), 0), 0),
        Scene::new(&template, Served::Gateway(&node), (&storage, 0), 0),
    ];
    assert_eq!(work(&ours), work(&stock), "{}", node.log());
    assert_eq!(ours.transcript(), stock.transcript());
    let refs = |scene: &Scene<'_>| scene.server().git(&["for-each-ref"]);
    assert_eq!(refs(&ours), refs(&stock));
}

/// A request that creates `refs/heads/x` with a new commit.
fn creation(scene: &Scene<'_>) -> Vec<u8> {
    let new = scene.commit("new");
    let (tree, blob) =
        ["main^{tree}", "main:new"].map(|name| scene.git(&["rev-parse", name])).into();
    let command = format!("{NULL} {new} refs/heads/x");
    [commands(USUAL, &[&command]), pack(scene, &[&new, &tree, &blob])].concat()
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut gzip = Command::new("gzip");
    gzip.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    git::feed(gzip, body).stdout
}

#[test]
fn a_probe_is_answered() {
    on_both(|scene| {
        let answer = post(scene, &[KIND], b"0000").expect("this works on this machine");
        format!("{} {} {:?}", answer.status, answer.header("content-type"), answer.body)
    });
}

#[test]
fn a_list_is_the_same() {
    on_both(|scene| {
        scene.server().git(&["update-ref", "refs/x/y", "main"]);
        let address = match scene.served() {
            Served::StockHttp(server) => server.address(),
            Served::Gateway(node) => node.gateway(),
            Served::Stock(_) | Served::Stdio(_) => panic!("not over HTTP"),
        };
        let path = "/0/server.git/info/refs?service=git-receive-pack";
        // Version 2 has no pushes; git's own clients never ask for it here.
        let versions = ["0", "1"].map(|version| {
            let protocol = format!("version={version}");
            let answer = http::send(address, "GET", path, &[("Git-Protocol", &protocol)], b"");
            let lines = readable(&answer.body).into_iter().map(|line| {
                let (front, _) = line.split_once(" agent=").unwrap_or((&line, ""));
                front.to_owned()
            });
            let lines: Vec<String> = lines.collect();
            let kind = answer.header("content-type").to_owned();
            format!("{} {kind} {}\n{lines:#?}", answer.status, answer.header("cache-control"))
        });
        versions.join("\n")
    });
}

#[test]
fn compressed_bodies_are_read() {
    on_both(|scene| {
        let body = gzip(&creation(scene));
        let answer = post(scene, &[KIND, ("Content-Encoding", "gzip")], &body)
            .expect("this works on this machine");
        format!("{} {}", answer.status, shown(&answer.body))
    });
}

#[test]
fn bodies_come_in_chunks() {
    on_both(|scene| {
        scene.write("big", Random::new(9).bytes(3 << 20));
        scene.commit("big blob");
        scene.push_with(&["http.postBuffer=65536"], &["origin", "main", ":topic"]);
        String::new()
    });
}

#[test]
fn broken_bodies_change_nothing() {
    let node = Node::start_with(OPEN);
    let scene = Scene::new(&Template::new(), Served::Gateway(&node), (&node.storage(), 0), 0);
    let before = scene.server().git(&["for-each-ref"]);
    let body = creation(&scene);
    let plain_as_gzip = post(&scene, &[KIND, ("Content-Encoding", "gzip")], &body)
        .expect("this works on this machine");
    assert!((400..500).contains(&plain_as_gzip.status), "{plain_as_gzip:?}");
    let packed = gzip(&body);
    let half = &packed[..packed.len() / 2];
    // The commands may have come through: then the status stands, and the report is missing.
    let cut = post(&scene, &[KIND, ("Content-Encoding", "gzip")], half)
        .expect("this works on this machine");
    assert!(!shown(&cut.body).contains("unpack ok"), "{cut:?}");
    for end in [10, body.len() / 2, body.len() - 1] {
        let path = "/0/server.git/git-receive-pack";
        let mut stream = http::open(node.gateway(), "POST", path, &[KIND], body.len());
        stream.write_all(&body[..end]).expect("this works on this machine");
        drop(stream);
    }
    gitring_tests::process::wait_until("nothing is left", Duration::from_secs(20), || {
        let objects = std::fs::read_dir(scene.server().path.join("objects"))
            .expect("this works on this machine");
        let names = objects.map(|entry| {
            entry.expect("this works on this machine").file_name().into_string().unwrap()
        });
        names.into_iter().all(|name| !name.starts_with("tmp_"))
    });
    assert_eq!(scene.server().git(&["for-each-ref"]), before);
}

#[test]
fn a_client_may_wait_for_leave() {
    let node = Node::start_with(OPEN);
    let scene = Scene::new(&Template::new(), Served::Gateway(&node), (&node.storage(), 0), 0);
    let body = creation(&scene);
    let path = "/0/server.git/git-receive-pack";
    let headers = [KIND, ("Expect", "100-continue")];
    let mut stream: TcpStream = http::open(node.gateway(), "POST", path, &headers, body.len());
    let mut line = [0; 25];
    stream.read_exact(&mut line).expect("this works on this machine");
    assert_eq!(&line, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(&body).expect("this works on this machine");
    let answer = http::read_answer(&mut stream).expect("this works on this machine");
    assert!(answer.status == 200 && shown(&answer.body).contains("ok refs/heads/x"), "{answer:?}");
}

#[test]
fn what_only_git_could_do_is_refused() {
    let node = Node::start_with(OPEN);
    let template = Template::new();
    let settings: [(&str, &str); 5] = [
        ("receive.certNonceSeed", "seed"),
        ("receive.procReceiveRefs", "refs/for"),
        ("receive.shallowUpdate", "true"),
        ("transfer.advertiseSID", "true"),
        ("extensions.objectFormat", "sha256"),
    ];
    for (number, (key, value)) in settings.into_iter().enumerate() {
        let scene = Scene::new(&template, Served::Gateway(&node), (&node.storage(), number), 0);
        let before = scene.server().git(&["for-each-ref"]);
        let config = |words: &[&str]| {
            git::run(&scene.server().path, &[&["config", "--file", "config"], words].concat());
        };
        config(&[key, value]);
        if key.starts_with("extensions") {
            config(&["core.repositoryFormatVersion", "1"]);
        }
        scene.commit("new");
        let started = node.children_started();
        assert!(!scene.push(&["origin", "main"]), "{key}\n{}", scene.transcript());
        let said = scene.transcript();
        assert!(said.contains("not supported by this server"), "{key}\n{said}");
        assert_eq!(node.children_started(), started, "{key}");
        config(&["--unset", key]);
        assert_eq!(scene.server().git(&["for-each-ref"]), before);
    }
}
