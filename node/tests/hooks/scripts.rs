//! Custom hooks as processes: which, in which order, with what, and how they end.

use super::{Terminal, World, exit_code};
use gitring_node::hooks::{HookError, Hooks, HooksConfig, ObjectDirectories, WithoutGitlab};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

fn alone(world: &World) -> Hooks {
    world.hooks(HooksConfig { without_gitlab: WithoutGitlab::Allow, ..world.config() }, None)
}

/// Whether a process whose command line holds `mark` runs.
fn runs(mark: &str) -> bool {
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    processes.filter(|entry| entry.path().join("cmdline").exists()).any(|entry| {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(mark)
    })
}

async fn ends(mark: &str) {
    let began = Instant::now();
    while runs(mark) {
        assert!(began.elapsed() < Duration::from_secs(20), "{mark} goes on");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn order_and_what_counts_as_a_hook() {
    let world = World::new();
    for name in ["pre-receive.d/20", "pre-receive", "pre-receive.d/10", "pre-receive.d/b"] {
        world.hook(name, "echo $0");
    }
    world.global_hook("pre-receive.d/05", "echo $0");
    world.global_hook("pre-receive", "echo never");
    world.hook("pre-receive.d/15~", "echo never");
    world.hook("pre-receive.d/dir/x", "echo never");
    world.hook("pre-receive.d/16", "echo never");
    let plain = world.git_dir.join("custom_hooks/pre-receive.d/16");
    fs::set_permissions(plain, Permissions::from_mode(0o644)).unwrap();
    let links = world.git_dir.join("custom_hooks/pre-receive.d");
    std::os::unix::fs::symlink("20", links.join("25")).unwrap();
    std::os::unix::fs::symlink("nowhere", links.join("26")).unwrap();
    let mut terminal = Terminal::default();
    alone(&world).pre_receive(&world.push(), &mut terminal).await.unwrap();
    let (stdout, stderr) = terminal.shown();
    let names: Vec<_> = stdout.lines().map(|line| line.rsplit_once('/').unwrap().1).collect();
    assert_eq!((names, &*stderr), (vec!["pre-receive", "10", "20", "25", "b", "05"], ""));
}

#[tokio::test]
async fn the_first_failure_ends_the_sequence() {
    let world = World::new();
    world.hook("update", "echo one $*");
    world.hook("update.d/2", "echo two; exit 42");
    world.global_hook("update.d/3", "echo three");
    let (hooks, push) = (alone(&world), world.push());
    let mut terminal = Terminal::default();
    let refused = hooks.update(&push, &push.changes[1], &mut terminal).await.unwrap_err();
    assert_eq!(exit_code(&refused), Some(42));
    let expected = format!("one refs/heads/gone {} {}\ntwo\n", "2".repeat(40), "0".repeat(40));
    assert_eq!(terminal.shown(), (expected, String::new()));
    // A signal is a failure, too.
    world.hook("update", "kill -KILL $$");
    let killed = hooks.update(&push, &push.changes[1], &mut terminal).await.unwrap_err();
    assert_eq!(exit_code(&killed), Some(-1));
}

#[tokio::test]
async fn hooks_read_the_changes_and_know_the_push() {
    let mut world = World::new();
    world.push_options = vec![b"ci.skip".to_vec(), b"two words\xff".to_vec()];
    world.quarantine = Some(ObjectDirectories {
        object_directory: world.git_dir.join("objects/q"),
        alternates: vec![world.git_dir.join("objects"), "/other".into()],
    });
    let script = "cat; pwd; env -0 | tr '\\n\\0' ' \\n' | LC_ALL=C sort";
    for name in ["pre-receive", "post-receive"] {
        world.hook(name, script);
    }
    world.hook("update", &format!("{script}; cat"));
    let hooks = alone(&world);
    let dir = world.git_dir.display().to_string();
    let path = std::env::var("PATH").unwrap();
    let lines = format!(
        "{0} {1} refs/heads/new\n{2} {0} refs/heads/gone\n",
        "0".repeat(40),
        "1".repeat(40),
        "2".repeat(40)
    );
    let check = |terminal: &Terminal, stdin: &str, quarantined: bool, options: bool| {
        let mut expected = vec![
            "CORRELATION_ID=the-correlation".to_owned(),
            format!("GIT_DIR={dir}"),
            "GL_ID=user-7".to_owned(),
            "GL_PROJECT_PATH=group/project".to_owned(),
            "GL_PROTOCOL=ssh".to_owned(),
            "GL_REPOSITORY=project-42".to_owned(),
            "GL_USERNAME=alex".to_owned(),
            format!("PATH=/opt/git/bin:{path}"),
            format!("PWD={dir}"),
        ];
        if quarantined {
            expected.push(format!("GIT_ALTERNATE_OBJECT_DIRECTORIES={dir}/objects:/other"));
            expected.push(format!("GIT_OBJECT_DIRECTORY={dir}/objects/q"));
            expected.push(format!("GIT_QUARANTINE_PATH={dir}/objects/q"));
        }
        if options {
            let given = ["COUNT=2", "0=ci.skip", "1=two words\u{fffd}"];
            expected.extend(given.map(|option| format!("GIT_PUSH_OPTION_{option}")));
        }
        expected.sort();
        let (stdout, _) = terminal.shown();
        let rest = stdout.strip_prefix(stdin).unwrap().strip_prefix(&format!("{dir}\n")).unwrap();
        // Of the node's own variables some are handed on, and sh sets some.
        let handed_on = ["HOME=", "TZ=", "LD_LIBRARY_PATH=", "_=", "OLDPWD=", "SHLVL="];
        let proxies = ["http_proxy=", "https_proxy=", "no_proxy=", "all_proxy="];
        let found = rest.lines().filter(|line| {
            !handed_on.iter().any(|name| line.starts_with(name))
                && !proxies.iter().any(|name| line.to_lowercase().starts_with(name))
        });
        assert_eq!(found.collect::<Vec<_>>(), expected);
    };
    let mut terminal = Terminal::default();
    hooks.pre_receive(&world.push(), &mut terminal).await.unwrap();
    check(&terminal, &lines, true, true);
    let mut terminal = Terminal::default();
    hooks.update(&world.push(), &world.changes[0], &mut terminal).await.unwrap();
    check(&terminal, "", true, false);
    world.quarantine = None;
    let mut terminal = Terminal::default();
    hooks.post_receive(&world.push(), &mut terminal).await.unwrap();
    check(&terminal, &lines, false, true);
}

#[tokio::test]
async fn what_hooks_print_arrives_whole() {
    let mut world = World::new();
    world.hook("pre-receive", "head -c 3000000 /dev/zero | tr '\\0' x; head -c 9 /dev/zero >&2");
    let mut terminal = Terminal::default();
    // More than a pipe holds is waiting to be read by a hook that reads nothing.
    let more = world.changes[0].clone();
    world.changes.resize(20_000, more);
    alone(&world).pre_receive(&world.push(), &mut terminal).await.unwrap();
    assert_eq!((terminal.stdout.len(), terminal.stderr.len()), (3_000_000, 9));
}

#[tokio::test]
async fn a_hook_that_reads_late_and_closes_its_outputs_is_waited_for() {
    let world = World::new();
    let done = world.path("done");
    let script = format!("exec >&- 2>&-; sleep 0.2; wc -l >'{}'; exit 5", done.display());
    world.hook("pre-receive", &script);
    let refused = alone(&world).pre_receive(&world.push(), &mut Terminal::default()).await;
    assert_eq!(exit_code(&refused.unwrap_err()), Some(5));
    assert_eq!(fs::read_to_string(done).unwrap().trim(), "2");
}

/// What a hook leaves running in its group is killed; what has left the group is not waited for.
#[tokio::test]
async fn background_processes_hold_nothing_up() {
    let world = World::new();
    world.hook("pre-receive", "sleep 86.401 & echo done");
    world.hook("post-receive", "setsid sleep 4.0173 & sleep 0.3; echo done");
    let hooks = alone(&world);
    let began = Instant::now();
    let mut terminal = Terminal::default();
    hooks.pre_receive(&world.push(), &mut terminal).await.unwrap();
    ends("86.401").await;
    hooks.post_receive(&world.push(), &mut terminal).await.unwrap();
    assert_eq!(terminal.shown().0, "done\ndone\n");
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_hook_that_hangs_is_killed() {
    let world = World::new();
    world.hook("pre-receive", "sleep 86.402; echo never");
    let run_time_max = Duration::from_millis(300);
    let without_gitlab = WithoutGitlab::Allow;
    let config = HooksConfig { run_time_max, without_gitlab, ..world.config() };
    let hooks = world.hooks(config, None);
    let mut terminal = Terminal::default();
    let failed = hooks.pre_receive(&world.push(), &mut terminal).await;
    assert!(matches!(failed, Err(HookError::TimedOut { .. })), "{failed:?}");
    let (stdout, stderr) = terminal.shown();
    assert_eq!(stdout, "");
    assert!(
        stderr.contains("pre-receive") && stderr.contains("ran for more than 0.3 s"),
        "{stderr}"
    );
    ends("86.402").await;
    // One that nobody waits for ends, too, and with it what it has started.
    world.hook("update", "sleep 86.403; echo never");
    let (push, mut terminal) = (world.push(), Terminal::default());
    let hooks = alone(&world);
    let running = hooks.update(&push, &push.changes[0], &mut terminal);
    assert!(tokio::time::timeout(Duration::from_millis(300), running).await.is_err());
    ends("86.403").await;
}

#[tokio::test]
async fn what_cannot_run_is_a_failure() {
    let world = World::new();
    let path = world.git_dir.join("custom_hooks/pre-receive");
    world.script(&path, "");
    fs::write(&path, "no program").unwrap();
    let mut terminal = Terminal::default();
    let failed = alone(&world).pre_receive(&world.push(), &mut terminal).await;
    assert!(matches!(failed, Err(HookError::Spawn(_))), "{failed:?}");
    let (_, stderr) = terminal.shown();
    assert!(stderr.starts_with("executing custom hooks: start "), "{stderr}");
    world.script(&world.git_dir.join("custom_hooks/update"), "");
    fs::write(world.git_dir.join("custom_hooks/update"), "#!/no/such/interpreter\n").unwrap();
    let (push, mut terminal) = (world.push(), Terminal::default());
    let failed = alone(&world).update(&push, &push.changes[0], &mut terminal).await;
    assert!(matches!(failed, Err(HookError::Spawn(_))), "{failed:?}");
    assert_eq!(terminal.shown().1, "error executing git hook\n");
}
