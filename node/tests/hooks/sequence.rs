//! What comes after what, what is told to whom, and what a failure ends.

use super::gitlab::{Gitlab, Listens, Reply, Seen};
use super::{Terminal, World, exit_code};
use gitring_node::hooks::{HookError, HookName, HooksConfig, WithoutGitlab};
use std::fs;

/// Answers as a friendly GitLab but for one endpoint.
fn but(endpoint: &'static str, body: &'static str) -> Gitlab {
    Gitlab::start(&Listens::Tcp, move |seen: &Seen| match seen.path.ends_with(endpoint) {
        true => Reply::Json(200, body.to_owned()),
        false => seen.friendly(),
    })
}

#[tokio::test]
async fn gitlab_is_asked_before_hooks_and_counts_after_them() {
    let world = World::new();
    let log = world.path("log");
    let noted = log.clone();
    let gitlab = Gitlab::start(&Listens::Tcp, move |seen: &Seen| {
        let mut text = fs::read_to_string(&noted).unwrap_or_default();
        text.push_str(seen.path.rsplit('/').next().unwrap());
        text.push('\n');
        fs::write(&noted, text).unwrap();
        seen.friendly()
    });
    for name in ["pre-receive", "update", "post-receive"] {
        world.hook(name, &format!("echo {name} >>'{}'", log.display()));
    }
    let (hooks, push) = (world.asking(&gitlab), world.push());
    let mut terminal = Terminal::default();
    hooks.pre_receive(&push, &mut terminal).await.unwrap();
    hooks.update(&push, &push.changes[0], &mut terminal).await.unwrap();
    hooks.post_receive(&push, &mut terminal).await.unwrap();
    let order = fs::read_to_string(log).unwrap();
    let expected = "allowed\npre-receive\npre_receive\nupdate\npost_receive\npost-receive\n";
    assert_eq!(order, expected);
    assert_eq!(terminal.shown(), Default::default());
}

#[tokio::test]
async fn a_refusal_of_a_hook_is_not_counted() {
    let world = World::new();
    let gitlab = Gitlab::friendly(&Listens::Tcp);
    world.hook("pre-receive", "echo out; echo err >&2; exit 3");
    let mut terminal = Terminal::default();
    let refused = world.asking(&gitlab).pre_receive(&world.push(), &mut terminal).await;
    assert_eq!(exit_code(&refused.unwrap_err()), Some(3));
    // A hook's own words are all that is said.
    assert_eq!(terminal.shown(), ("out\n".into(), "err\n".into()));
    assert_eq!(gitlab.endpoints(), ["allowed"]);
}

#[tokio::test]
async fn a_push_that_is_not_counted_is_refused_without_words() {
    let world = World::new();
    let gitlab = but("pre_receive", "{}");
    let mut terminal = Terminal::default();
    let refused = world.asking(&gitlab).pre_receive(&world.push(), &mut terminal).await;
    assert!(matches!(refused, Err(HookError::NotCounted)), "{refused:?}");
    assert_eq!(terminal.shown(), Default::default());
    let gitlab = but("pre_receive", "[]");
    let refused = world.asking(&gitlab).pre_receive(&world.push(), &mut terminal).await;
    assert!(matches!(refused, Err(HookError::PreReceive(_))), "{refused:?}");
    let text = "calling pre_receive endpoint: decoding response from /pre_receive endpoint: not an \
                object";
    assert_eq!(terminal.shown().1, text);
}

#[tokio::test]
async fn messages_come_before_post_receive_hooks() {
    let world = World::new();
    world.hook("post-receive", "echo the hook");
    let rule = "=".repeat(72);
    let check = async |body: &'static str, stdout: &str, stderr: &str, works: bool| {
        let gitlab = but("post_receive", body);
        let mut terminal = Terminal::default();
        let outcome = world.asking(&gitlab).post_receive(&world.push(), &mut terminal).await;
        assert_eq!(outcome.is_ok(), works, "{body}: {outcome:?}");
        assert_eq!(terminal.shown(), (stdout.to_owned(), stderr.to_owned()), "{body}");
    };
    let body = r#"{"reference_counter_decreased":true,"messages":[
        {"type":"basic","message":"To create a merge request"},{"type":"alert","message":"Beware"}]}"#;
    let center = " ".repeat(33);
    let alert = format!("\n{rule}\n\n{center}Beware\n\n{rule}\n\n");
    let shown = format!("\nTo create a merge request\n\n{alert}the hook\n");
    check(body, &shown, "", true).await;
    check(r#"{"reference_counter_decreased":true}"#, "the hook\n", "", true).await;
    check(r#"{"reference_counter_decreased":true,"messages":null}"#, "the hook\n", "", true).await;
    // What fails before hooks keeps them from running.
    check(r#"{"messages":[{"type":"basic","message":"m"}]}"#, "\nm\n\n", "", false).await;
    let kind = "error writing messages to stream: invalid message type: loud";
    let body = r#"{"messages":[{"type":"basic","message":"m"},{"type":"loud","message":"n"}]}"#;
    check(body, "\nm\n\n\n", kind, false).await;
    let wrong =
        "GitLab: decoding response from /post_receive endpoint: messages is of another type";
    check(r#"{"messages":[7]}"#, "", wrong, false).await;
}

#[tokio::test]
async fn post_receive_goes_on_when_the_pusher_has_left() {
    let world = World::new();
    let done = world.path("done");
    world.hook("post-receive", &format!("echo words; echo words >&2; cat >'{}'", done.display()));
    let gitlab = but(
        "post_receive",
        r#"{"reference_counter_decreased":true,"messages":[{"type":"basic","message":"m"}]}"#,
    );
    let mut terminal = Terminal { gone_after: Some(0), ..Terminal::default() };
    world.asking(&gitlab).post_receive(&world.push(), &mut terminal).await.unwrap();
    assert_eq!(fs::read_to_string(done).unwrap().lines().count(), 2);
    // Before a push is made, it ends with its pusher.
    world.hook("pre-receive", "echo words; exec sleep 1000");
    let left = world.asking(&gitlab).pre_receive(&world.push(), &mut terminal).await;
    assert!(matches!(left, Err(HookError::Left(_))), "{left:?}");
}

#[tokio::test]
async fn without_a_gitlab_the_configuration_decides() {
    let mut world = World::new();
    world.hook("pre-receive", "echo asked");
    world.hook("post-receive", "echo told");
    // Nobody needs to know who pushes.
    world.pusher.gl_id = String::new();
    world.pusher.gl_repository = String::new();
    let deny = world.hooks(HooksConfig::default(), None);
    let mut terminal = Terminal::default();
    let refused = deny.pre_receive(&world.push(), &mut terminal).await;
    assert!(matches!(refused, Err(HookError::NoGitlab)), "{refused:?}");
    let (stdout, stderr) = terminal.shown();
    assert_eq!(stdout, "");
    assert!(stderr.contains("gitlab.url") && stderr.contains("without_gitlab"), "{stderr}");
    let allow = HooksConfig { without_gitlab: WithoutGitlab::Allow, ..HooksConfig::default() };
    let allow = world.hooks(allow, None);
    let mut terminal = Terminal::default();
    allow.pre_receive(&world.push(), &mut terminal).await.unwrap();
    allow.post_receive(&world.push(), &mut terminal).await.unwrap();
    assert_eq!(terminal.shown(), ("asked\ntold\n".into(), String::new()));
    for (name, expected) in
        [(HookName::PreReceive, true), (HookName::Update, false), (HookName::PostReceive, true)]
    {
        assert_eq!(allow.has(name, &world.git_dir).await.unwrap(), expected, "{name:?}");
    }
}
