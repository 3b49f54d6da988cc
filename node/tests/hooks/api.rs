//! What GitLab is asked, and what its answers mean.

use super::gitlab::{Gitlab, Listens, Reply, SECRET, Seen};
use super::{Terminal, World, asking, client};
use gitring_node::gitlab::{BasicAuth, CheckInfo, Client, PostReceiveRequest};
use gitring_node::hooks::{HookError, ObjectDirectories, Protocol};
use serde_json::{Value, json};
use std::process::Command;

fn json_of(seen: &Seen) -> Value {
    serde_json::from_str(&seen.body).unwrap()
}

/// Goal: a token is one that GitLab's library would accept.
/// Method: Python takes it apart and signs it again, where there is a Python.
#[tokio::test]
async fn tokens_are_signed_for_a_minute() {
    let gitlab = Gitlab::friendly(&Listens::Tcp);
    client(&asking(&gitlab)).check().await.unwrap();
    let seen = gitlab.seen().remove(0);
    let token = seen.header("gitlab-shell-api-request").unwrap().to_owned();
    let script = "
import base64, hashlib, hmac, json, sys, time
token, secret = sys.argv[1:]
head, claims, tag = token.split('.')
undo = lambda text: base64.urlsafe_b64decode(text + '=' * (-len(text) % 4))
assert '=' not in token
assert json.loads(undo(head)) == {'alg': 'HS256', 'typ': 'JWT'}
claims_read = json.loads(undo(claims))
assert claims_read['iss'] == 'gitlab-shell', claims_read
assert abs(claims_read['iat'] - time.time()) < 30
assert claims_read['exp'] == claims_read['iat'] + 60
assert set(claims_read) == {'iss', 'iat', 'exp'}
expected = hmac.new(secret.encode(), (head + '.' + claims).encode(), hashlib.sha256).digest()
assert undo(tag) == expected
";
    let python = Command::new("python3").args(["-c", script, &token, SECRET]).output();
    match python {
        Ok(output) => assert!(output.status.success(), "{output:?}"),
        Err(_) => {
            use base64::Engine;
            let (signed, tag) = token.rsplit_once('.').unwrap();
            let tag = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(tag).unwrap();
            let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, SECRET.as_bytes());
            aws_lc_rs::hmac::verify(&key, signed.as_bytes(), &tag).unwrap();
        }
    }
}

#[tokio::test]
async fn headers_say_who_asks_and_that_the_connection_ends() {
    let gitlab = Gitlab::friendly(&Listens::Tcp);
    let mut config = asking(&gitlab);
    config.basic = Some(BasicAuth { user: "proxy".into(), password: "pass:word".into() });
    client(&config).pre_receive("project-1", "an-id").await.unwrap();
    client(&config).check().await.unwrap();
    let [posted, checked] = &gitlab.seen()[..] else { panic!("{gitlab:?}") };
    for (seen, method, path) in [
        (posted, "POST", "/api/v4/internal/pre_receive"),
        (checked, "GET", "/api/v4/internal/check"),
    ] {
        assert_eq!((&*seen.method, &*seen.path), (method, path));
        assert_eq!(seen.header("connection"), Some("close"));
        assert_eq!(seen.header("content-type"), Some("application/json"));
        assert_eq!(seen.header("authorization"), Some("Basic cHJveHk6cGFzczp3b3Jk"));
        assert!(seen.header("user-agent").unwrap().starts_with("gitaly/"));
        let host = gitlab.url().strip_prefix("http://").unwrap();
        assert_eq!(seen.header("host"), Some(host));
    }
    assert_eq!(posted.header("x-request-id"), Some("an-id"));
    assert_eq!(checked.header("x-request-id"), None);
    assert_eq!(json_of(posted), json!({ "gl_repository": "project-1" }));
}

#[tokio::test]
async fn a_push_is_described_as_gitaly_does() {
    let gitlab = Gitlab::friendly(&Listens::Tcp);
    let mut world = World::new();
    let hooks = world.asking(&gitlab);
    let check = async |world: &World, expected: Value| {
        hooks.pre_receive(&world.push(), &mut Terminal::default()).await.unwrap();
        let seen = gitlab.seen();
        let [.., allowed, counted] = &seen[..] else { panic!("{seen:?}") };
        let mut found = json_of(allowed);
        let env = found["env"].take();
        found["env"] = serde_json::from_str(env.as_str().unwrap()).unwrap();
        assert_eq!(found, expected);
        assert_eq!(allowed.header("x-request-id"), Some("the-correlation"));
        assert_eq!(json_of(counted), json!({ "gl_repository": "project-42" }));
    };
    let changes = format!(
        "{} {} refs/heads/new\n{} {} refs/heads/gone\n",
        "0".repeat(40),
        "1".repeat(40),
        "2".repeat(40),
        "0".repeat(40),
    );
    let project = world.git_dir.to_str().unwrap().to_owned();
    let mut expected = json!({
        "action": "git-receive-pack",
        "gl_repository": "project-42",
        "project": project,
        "changes": changes,
        "protocol": "ssh",
        "relative_path": "a.git",
        "env": {
            "GIT_OBJECT_DIRECTORY_RELATIVE": "",
            "GIT_ALTERNATE_OBJECT_DIRECTORIES_RELATIVE": null,
        },
        "user_id": "7",
    });
    check(&world, expected.clone()).await;
    // Quotes are taken out of the path, a quarantine is named from the repository.
    world.git_dir = world.path("storage/it's.git");
    std::fs::create_dir_all(&world.git_dir).unwrap();
    world.quarantine = Some(ObjectDirectories {
        object_directory: world.git_dir.join("objects/tmp_objdir-incoming-x"),
        alternates: vec![world.git_dir.join("objects"), world.path("storage/pool.git/objects")],
    });
    world.pusher.gl_id = "key-3".into();
    world.pusher.protocol = Protocol::Http;
    expected["project"] = project.replace("a.git", "its.git").into();
    expected["protocol"] = "http".into();
    expected["env"] = json!({
        "GIT_OBJECT_DIRECTORY_RELATIVE": "objects/tmp_objdir-incoming-x",
        "GIT_ALTERNATE_OBJECT_DIRECTORIES_RELATIVE": ["objects", "../pool.git/objects"],
    });
    expected.as_object_mut().unwrap().remove("user_id");
    expected["key_id"] = "3".into();
    check(&world, expected.clone()).await;
    world.pusher.gl_id = "username-alex".into();
    expected.as_object_mut().unwrap().remove("key_id");
    expected["username"] = "alex".into();
    check(&world, expected).await;
}

#[tokio::test]
async fn pushers_that_gitlab_cannot_know_are_not_asked_about() {
    let gitlab = Gitlab::friendly(&Listens::Tcp);
    let mut world = World::new();
    let hooks = world.asking(&gitlab);
    let check = async |world: &World, expected: &str| {
        let mut terminal = Terminal::default();
        hooks.pre_receive(&world.push(), &mut terminal).await.unwrap_err();
        assert_eq!(terminal.shown(), (String::new(), expected.to_owned()));
        assert_eq!(gitlab.seen(), []);
    };
    for id in ["key-", "key-x", "user-1 ", "1", "USER-1", "user--1"] {
        world.pusher.gl_id = id.into();
        let expected = format!("GitLab: setting gl_id: gl_id={id:?} is invalid");
        check(&world, &expected).await;
    }
    world.pusher.gl_id = String::new();
    check(&world, "user ID not set").await;
    world.pusher.gl_repository = String::new();
    check(&world, "repository not set").await;
    world.changes.clear();
    check(&world, "hook got no reference updates").await;
}

#[tokio::test]
async fn post_receive_tells_what_was_pushed() {
    let gitlab = Gitlab::friendly(&Listens::Tcp);
    let client = client(&asking(&gitlab));
    let options = ["ci.skip".to_owned(), "two words".to_owned()];
    let request = |push_options| PostReceiveRequest {
        gl_repository: "project-1",
        gl_id: "user-1",
        changes: "a b c\n",
        push_options,
    };
    for (given, expected) in [(&options[..], json!(options)), (&[], Value::Null)] {
        let answer = client.post_receive(request(given), "").await.unwrap();
        assert!(answer.reference_counter_decreased && answer.messages.is_empty());
        let expected = json!({
            "gl_repository": "project-1",
            "identifier": "user-1",
            "changes": "a b c\n",
            "push_options": expected,
        });
        assert_eq!(json_of(gitlab.seen().last().unwrap()), expected);
    }
}

/// What `/allowed` answers, and what the pusher reads; nothing where the push may go on.
#[tokio::test]
async fn answers_and_what_pushers_read() {
    let world = World::new();
    let check = async |reply: Reply, expected: &str| {
        let given = reply.clone();
        let gitlab =
            Gitlab::start(&Listens::Tcp, move |seen| match seen.path.ends_with("allowed") {
                true => given.clone(),
                false => seen.friendly(),
            });
        let mut terminal = Terminal::default();
        let outcome = world.asking(&gitlab).pre_receive(&world.push(), &mut terminal).await;
        let (stdout, stderr) = terminal.shown();
        assert_eq!(stdout, "");
        match expected.strip_suffix('…') {
            None => assert_eq!(stderr, expected, "{reply:?}"),
            Some(expected) => assert!(stderr.starts_with(expected), "{reply:?}: {stderr}"),
        }
        match outcome {
            Ok(()) => assert!(expected.is_empty(), "{reply:?}"),
            Err(HookError::NotAllowed { message }) => {
                assert_eq!(format!("GitLab: {message}"), stderr)
            }
            Err(other) => panic!("{other:?}"),
        }
        // Nobody counts a push that may not be made, and a refusal is final.
        let expected =
            if expected.is_empty() { vec!["allowed", "pre_receive"] } else { vec!["allowed"] };
        assert_eq!(gitlab.endpoints(), expected);
    };
    let json = |status, body: &str| Reply::Json(status, body.to_owned());
    let text = |status, kind, body: &str| Reply::Text(status, kind, body.to_owned());
    let yes = r#"{"status":true}"#;
    check(json(200, yes), "").await;
    check(json(300, yes), "").await;
    check(text(200, "application/json; charset=utf-8", yes), "").await;
    check(json(200, r#"{"status":true} and more"#), "").await;
    check(json(200, r#"{"status":false,"message":"No."}"#), "GitLab: No.").await;
    check(json(200, r#"{"message":"No."}"#), "GitLab: No.").await;
    check(
        json(401, r#"{"status":false,"message":"You are not allowed"}"#),
        "GitLab: You are not allowed",
    )
    .await;
    check(
        json(404, r#"{"message":"The project could not be found"}"#),
        "GitLab: The project could not be found",
    )
    .await;
    check(json(500, "oops"), "GitLab: Internal API error (500)").await;
    check(json(503, r#"{"message":""}"#), "GitLab: Internal API error (503)").await;
    check(json(401, r#"{"message":7}"#), "GitLab: Internal API error (401)").await;
    check(json(204, ""), "GitLab: gitlab api is not accessible: 204").await;
    check(json(302, ""), "GitLab: gitlab api is not accessible: 302").await;
    let kind = "GitLab: /allowed endpoint respond with unsupported content type: text/html";
    check(text(200, "text/html", yes), kind).await;
    let garbage = "GitLab: decoding response from /allowed endpoint: …";
    for body in ["", "{", "[]", "true", r#"{"status":"true"}"#, r#"{"status":true,"message":1}"#] {
        check(json(200, body), garbage).await;
    }
    let long = format!(r#"{{"status":true,"message":"{}"}}"#, "x".repeat(1 << 20));
    check(json(200, &long), garbage).await;
    check(Reply::Half, garbage).await;
    check(Reply::Hangup, "GitLab: Internal API unreachable").await;
}

#[tokio::test]
async fn check_says_which_gitlab_answers() {
    let check = async |reply: Reply, expected: Result<CheckInfo, &str>| {
        let given = reply.clone();
        let gitlab = Gitlab::start(&Listens::Tcp, move |_| given.clone());
        let found = client(&asking(&gitlab)).check().await.map_err(|error| error.to_string());
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected),
            (Err(found), Err(expected)) => assert!(found.starts_with(expected), "{found}"),
            (found, expected) => panic!("{found:?}, expected {expected:?}"),
        }
    };
    let text = |status, body: &str| Reply::Text(status, "text/plain", body.to_owned());
    let body =
        r#"{"gitlab_version":"1.2","gitlab_revision":"abc","api_version":"v4","redis":true}"#;
    let info = CheckInfo {
        version: "1.2".into(),
        revision: "abc".into(),
        api_version: "v4".into(),
        redis_reachable: true,
    };
    check(text(200, body), Ok(info)).await;
    let nothing = CheckInfo {
        version: String::new(),
        revision: String::new(),
        api_version: String::new(),
        redis_reachable: false,
    };
    check(text(200, "{}"), Ok(nothing)).await;
    check(text(201, body), Err("Check HTTP request failed with status: 201")).await;
    let refused = "HTTP GET to GitLab endpoint /check failed: Internal API error (401)";
    check(text(401, "no"), Err(refused)).await;
    check(text(200, "no"), Err("decoding response from /check endpoint: ")).await;
}

/// A client and an error never show what is secret.
#[tokio::test]
async fn secrets_are_not_shown() {
    let gitlab = Gitlab::friendly(&Listens::Tcp);
    let mut config = asking(&gitlab);
    config.basic = Some(BasicAuth { user: "proxy".into(), password: "password".into() });
    let shown = format!("{config:?} {:?}", client(&config));
    assert!(!shown.contains(SECRET) && !shown.contains("password"), "{shown}");
    config.secret = gitring_node::gitlab::Secret::Inline(" \n".into());
    let refused = Client::new(&config, &prometheus::Registry::new(), &[]).unwrap_err();
    assert_eq!(refused.to_string(), "the secret shared with GitLab is empty");
}
