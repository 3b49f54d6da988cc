//! Every way to a GitLab, and how it can fail.

use super::gitlab::{self, Gitlab, Listens, Reply};
use super::{asking, client};
use gitring_daemon::tls::{Identity, PrivateKey};
use gitring_node::gitlab::{AllowedRequest, Endpoint, GitlabConfig};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

fn request() -> AllowedRequest<'static> {
    AllowedRequest {
        gl_repository: "project-1",
        gl_id: "user-1",
        protocol: "http",
        project: "/a.git",
        relative_path: "a.git",
        changes: "a b c\n",
        object_directory: "",
        alternates: &[],
    }
}

#[tokio::test]
async fn sockets_serve_below_a_root() {
    let folder = tempfile::tempdir().unwrap();
    let gitlab = Gitlab::friendly(&Listens::Unix(folder.path().join("git lab.socket")));
    for (root, path) in
        [("", "/api/v4/internal/check"), ("/one/two/", "/one/two/api/v4/internal/check")]
    {
        let mut config = asking(&gitlab);
        config.endpoint = Endpoint::parse(&gitlab.url().replace(' ', "%20"), root).unwrap();
        let answered = client(&config).check().await;
        assert!(answered.is_ok(), "{answered:?}");
        let seen = gitlab.seen().pop().unwrap();
        assert_eq!((&*seen.path, seen.header("host")), (path, Some("unix")));
    }
}

/// Whom the node trusts: files, directories, and certificates that are their own authority.
#[tokio::test]
async fn servers_must_be_who_they_say() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("many");
    fs::create_dir_all(directory.join("below")).unwrap();
    let write = |name: &str, text: &str| {
        fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name)
    };
    write("many/note.txt", "no certificate");
    write("many/one.crt", gitlab::AUTHORITY);
    let authority = write("authority.pem", gitlab::AUTHORITY);
    let own = write("own.pem", gitlab::SELF_SIGNED);
    let check =
        async |listens: Listens, host: &str, change: &dyn Fn(&mut GitlabConfig), works: bool| {
            let gitlab = Gitlab::friendly(&listens);
            let mut config = asking(&gitlab);
            let url = gitlab.url().replace("localhost", host);
            config.endpoint = Endpoint::parse(&url, "").unwrap();
            change(&mut config);
            let answered = client(&config).check().await;
            assert_eq!(answered.is_ok(), works, "{listens:?} {host}: {answered:?}");
            if let Err(error) = answered {
                let expected =
                    "HTTP GET to GitLab endpoint /check failed: Internal API unreachable";
                assert_eq!(error.to_string(), expected);
                assert_eq!(gitlab.seen(), []);
            }
        };
    let none = |_: &mut GitlabConfig| {};
    let file = |config: &mut GitlabConfig| config.ca_file = Some(authority.clone());
    let path = |config: &mut GitlabConfig| config.ca_path = Some(directory.clone());
    let own = |config: &mut GitlabConfig| config.ca_file = Some(own.clone());
    check(Listens::Tls, "localhost", &none, false).await;
    check(Listens::Tls, "localhost", &file, true).await;
    check(Listens::Tls, "127.0.0.1", &path, true).await;
    check(Listens::Tls, "[::ffff:127.0.0.1]", &file, false).await;
    check(Listens::SelfSigned, "localhost", &own, true).await;
    check(Listens::SelfSigned, "localhost", &file, false).await;
    check(Listens::SelfSigned, "[::ffff:127.0.0.1]", &own, false).await;
    check(Listens::Mutual, "localhost", &file, false).await;
    let shown = Identity {
        certificate_path: write("client.pem", gitlab::CLIENT),
        key: PrivateKey::File(write("client.key", gitlab::CLIENT_KEY)),
    };
    let inline = PrivateKey::Inline(gitlab::CLIENT_KEY.to_owned());
    for key in [shown.key.clone(), inline] {
        let shown = Identity { key, ..shown.clone() };
        let mutual = |config: &mut GitlabConfig| {
            config.ca_file = Some(authority.clone());
            config.client_certificate = Some(shown.clone());
        };
        check(Listens::Mutual, "localhost", &mutual, true).await;
    }
}

#[tokio::test]
async fn wrong_files_stop_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let junk = folder.path().join("junk");
    fs::write(&junk, "junk").unwrap();
    let gitlab = Gitlab::friendly(&Listens::Tls);
    let check = |change: &dyn Fn(&mut GitlabConfig), expected: &str| {
        let mut config = asking(&gitlab);
        change(&mut config);
        let error = gitring_node::gitlab::Client::new(&config, &prometheus::Registry::new(), &[]);
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    };
    check(&|config| config.ca_file = Some(junk.clone()), "read certificates of ");
    check(&|config| config.ca_path = Some(junk.clone()), "read ");
    let missing = folder.path().join("missing");
    let secret = gitring_node::gitlab::Secret::File(missing);
    check(&|config| config.secret = secret.clone(), "reading secret file: open ");
    let shown = Identity { certificate_path: junk.clone(), key: PrivateKey::Inline("junk".into()) };
    check(&|config| config.client_certificate = Some(shown.clone()), "read certificates of ");
}

#[tokio::test]
async fn slow_answers_are_given_up() {
    let gitlab = Gitlab::start(&Listens::Tcp, |_| Reply::Silence);
    let mut config = asking(&gitlab);
    config.read_timeout = Duration::from_millis(300);
    let began = Instant::now();
    let error = client(&config).allowed(request(), "").await.unwrap_err();
    assert_eq!(error.to_string(), "Internal API unreachable");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(gitlab.endpoints(), ["allowed"]);
}

/// A request that may have arrived is sent once; one that changes nothing is sent again.
#[tokio::test]
async fn only_what_cannot_have_happened_is_repeated() {
    let gitlab = Gitlab::start(&Listens::Tcp, |_| Reply::Hangup);
    let asking = client(&asking(&gitlab));
    asking.allowed(request(), "").await.unwrap_err();
    assert_eq!(gitlab.endpoints(), ["allowed"]);
    asking.pre_receive("project-1", "").await.unwrap_err();
    assert_eq!(gitlab.endpoints(), ["allowed", "pre_receive"]);
    asking.check().await.unwrap_err();
    assert_eq!(gitlab.endpoints()[2..], ["check", "check", "check"]);
}

/// Where a server hangs up at once, nobody knows what it has read.
#[tokio::test]
async fn connections_that_break_at_once_may_have_carried_something() {
    static ACCEPTED: AtomicUsize = AtomicUsize::new(0);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let dummy = Gitlab::friendly(&Listens::Tcp);
    let mut config = asking(&dummy);
    let url = format!("http://{}", listener.local_addr().unwrap());
    config.endpoint = Endpoint::parse(&url, "").unwrap();
    std::thread::spawn(move || {
        while let Ok(stream) = listener.accept() {
            ACCEPTED.fetch_add(1, Ordering::SeqCst);
            drop(stream);
        }
    });
    let client = client(&config);
    let refused = client.allowed(request(), "").await.unwrap_err();
    assert_eq!(refused.to_string(), "Internal API unreachable");
    assert_eq!(ACCEPTED.load(Ordering::SeqCst), 1);
    client.check().await.unwrap_err();
    assert_eq!(ACCEPTED.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn a_gitlab_that_begins_to_listen_meanwhile_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let url = format!("http+unix://{}", path.display());
    let dummy = Gitlab::friendly(&Listens::Tcp);
    let mut config = asking(&dummy);
    config.endpoint = Endpoint::parse(&url, "").unwrap();
    let nobody = client(&config).allowed(request(), "").await.unwrap_err();
    assert_eq!(nobody.to_string(), "Internal API unreachable");
    let client = client(&config);
    let starting = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Gitlab::friendly(&Listens::Unix(path.clone()))
    };
    let (answer, gitlab) = tokio::join!(client.allowed(request(), ""), starting);
    assert!(answer.unwrap().status);
    assert_eq!(gitlab.endpoints(), ["allowed"]);
}

/// A call that nobody waits for leaves no connection behind.
#[tokio::test]
async fn dropped_calls_hang_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let dummy = Gitlab::friendly(&Listens::Tcp);
    let mut config = asking(&dummy);
    let url = format!("http://{}", listener.local_addr().unwrap());
    config.endpoint = Endpoint::parse(&url, "").unwrap();
    let client = client(&config);
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut read = [0; 65_536];
        while stream.read(&mut read).unwrap_or(0) > 0 {}
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").and_then(|()| stream.flush()).is_ok()
    });
    let call = client.allowed(request(), "");
    assert!(tokio::time::timeout(Duration::from_millis(200), call).await.is_err());
    // It ends only because the client has hung up.
    serving.join().unwrap();
}

/// One answer takes as long as it takes, and holds up nobody else.
#[tokio::test]
async fn calls_are_independent() {
    static BUSY: AtomicUsize = AtomicUsize::new(0);
    let gitlab = Gitlab::start(&Listens::Tcp, |seen| {
        BUSY.fetch_add(1, Ordering::SeqCst);
        let began = Instant::now();
        while BUSY.load(Ordering::SeqCst) < 8 && began.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(5));
        }
        seen.friendly()
    });
    let client = client(&asking(&gitlab));
    let calls = (0..8).map(|_| client.allowed(request(), ""));
    let mut calls: Vec<_> = calls.map(Box::pin).collect();
    let all = async {
        for _ in 0..calls.len() {
            let polled = std::future::poll_fn(|context| {
                let mut calls = calls.iter_mut().enumerate();
                let done = calls.find_map(|(at, call)| match call.as_mut().poll(context) {
                    std::task::Poll::Ready(answer) => Some((at, answer)),
                    std::task::Poll::Pending => None,
                });
                done.map_or(std::task::Poll::Pending, std::task::Poll::Ready)
            });
            let (at, answer) = polled.await;
            assert!(answer.unwrap().status);
            drop(calls.remove(at));
        }
    };
    tokio::time::timeout(Duration::from_secs(60), all).await.unwrap();
}
