//! Children of a real shell.

use super::*;
use rustix::process::{Pid, test_kill_process};
use tokio::io::AsyncReadExt;

fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(future)
}

fn shell(script: &str) -> ChildCommand {
    ChildCommand {
        name: CommandName { cmd: "sh", subcmd: "" },
        account: Arc::new(Account::new("Service", "Method", "id-1".to_owned())),
        need: Need::hook(),
        program: PathBuf::from("/bin/sh"),
        args: vec!["-c".into(), script.into()],
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
        current_dir: PathBuf::from("/"),
    }
}

fn start(children_max: usize, registry: &Registry) -> Children {
    let budget = Budget { children_max, memory_bytes_max: 1 << 30 };
    Children::start(budget, Standing::below(None), "2.39.5", registry).unwrap()
}

async fn line(child: &mut Child) -> String {
    let mut line = String::new();
    while let Ok(byte) = child.stdout.as_mut().unwrap().read_u8().await {
        if byte == b'\n' {
            break;
        }
        line.push(char::from(byte));
    }
    line
}

/// Waits until no process has the number any more; fails after 5 s.
#[expect(clippy::disallowed_methods, reason = "no reactor runs in this test")]
async fn gone(pid: &str) {
    let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    for _ in 0..500 {
        let zombie = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()))
            .is_ok_and(|stat| stat.contains(") Z "));
        if test_kill_process(pid).is_err() || zombie {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("process {pid:?} lives on");
}

/// The value of a series, whose labels stand in the order of the alphabet.
fn series(registry: &Registry, name: &str) -> f64 {
    let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let value = line.unwrap_or_else(|| panic!("{name} in {text}"));
    value.trim().parse().unwrap()
}

#[test]
fn exit_status_usage_and_environment_come_back() {
    block_on(async {
        let registry = Registry::new();
        let children = start(2, &registry);
        let script = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; sleep 0.01; \
                      env | grep -v '^_=' | grep -v PWD | sort; exit 7";
        let command = shell(script);
        let account = Arc::clone(&command.account);
        let mut child = children.spawn(command).await.unwrap();
        let mut out = String::new();
        child.stdout.as_mut().unwrap().read_to_string(&mut out).await.unwrap();
        let exit = child.wait().await.unwrap();
        assert_eq!(out, "CORRELATION_ID=id-1\nPATH=/usr/bin:/bin\n");
        assert_eq!(exit.status.code(), Some(7));
        let cost = account.cost();
        let usage = cost.usage;
        assert_eq!((cost.started, cost.asked, cost.refused, usage), (1, 1, None, exit.usage));
        assert!(cost.forking > Duration::ZERO, "{cost:?}");
        assert!(usage.user + usage.system > Duration::from_millis(1), "{usage:?}");
        assert!(usage.real > Duration::from_millis(10), "{usage:?}");
        assert!(usage.max_rss_kib > 100 && usage.minor_faults > 10, "{usage:?}");
        let command = "cmd=\"sh\"";
        let rest = "git_version=\"2.39.5\",grpc_method=\"Method\",grpc_service=\"Service\"";
        let found = |name: &str, more: &str, last: &str| {
            let name = format!("gitaly_command_{name}_total");
            series(&registry, &format!("{name}{{{command}{more},{rest}{last},subcmd=\"\"}}"))
        };
        assert_eq!(found("real_seconds", "", ""), usage.real.as_secs_f64());
        assert_eq!(found("cpu_seconds", "", ",mode=\"user\""), usage.user.as_secs_f64());
        assert_eq!(found("cpu_seconds", "", ",mode=\"system\""), usage.system.as_secs_f64());
        assert_eq!(found("minor_page_faults", "", ""), usage.minor_faults as f64);
        assert_eq!(found("major_page_faults", "", ""), usage.major_faults as f64);
        assert_eq!(found("signals_received", "", ""), 0.0);
        for (kind, expected) in
            [("voluntary", usage.voluntary_switches), ("nonvoluntary", usage.involuntary_switches)]
        {
            let kind = format!(",ctxswitchtype=\"{kind}\"");
            assert_eq!(found("context_switches", &kind, ""), expected as f64, "{kind}");
        }
        assert!(usage.voluntary_switches > 0, "{usage:?}");
        assert_eq!(series(&registry, "gitaly_spawn_waiting_time_seconds_count"), 1.0);
        assert_eq!(series(&registry, "gitaly_spawn_forking_time_seconds_count"), 1.0);
    });
}

/// Goal: what a client costs that does not wait is not forgotten.
#[test]
fn a_child_that_nobody_waits_for_is_paid_for() {
    block_on(async {
        let children = start(1, &Registry::new());
        let mut command = shell("echo; sleep 1000");
        command.account = Arc::new(Account::new("Service", "Method", String::new()));
        let account = Arc::clone(&command.account);
        let mut child = children.spawn(command).await.unwrap();
        line(&mut child).await;
        drop(child);
        children.ended().await;
        let cost = account.cost();
        assert!(cost.started == 1 && cost.usage.minor_faults > 0, "{cost:?}");
    });
}

/// Goal: neither zombie nor orphan is left, grandchildren included, whoever ends first.
#[test]
fn a_dropped_child_takes_its_group_with_it() {
    block_on(async {
        let children = start(1, &Registry::new());
        let mut dropped =
            children.spawn(shell("sleep 1000 & echo $!; echo $$; wait")).await.unwrap();
        let (grandchild, leader) = (line(&mut dropped).await, line(&mut dropped).await);
        drop(dropped);
        children.ended().await;
        let leader = Pid::from_raw(leader.parse().unwrap()).unwrap();
        assert!(test_kill_process(leader).is_err(), "the leader is a zombie or lives");
        gone(&grandchild).await;
    });
}

#[test]
fn a_group_ends_with_its_leader() {
    block_on(async {
        let children = start(1, &Registry::new());
        let script = "sleep 1000 >/dev/null 2>&1 </dev/null & echo $!";
        let mut child = children.spawn(shell(script)).await.unwrap();
        let grandchild = line(&mut child).await;
        assert!(child.wait().await.unwrap().status.success());
        gone(&grandchild).await;
    });
}

#[test]
fn the_next_child_waits_until_the_last_was_reaped() {
    block_on(async {
        let children = start(1, &Registry::new());
        let first = children.spawn(shell("sleep 1000")).await.unwrap();
        let mut second = Box::pin(children.spawn(shell("exit 0")));
        let early = tokio::time::timeout(Duration::from_millis(50), &mut second).await;
        assert!(early.is_err(), "two children run under a limit of one");
        drop(first);
        assert!(second.await.unwrap().wait().await.unwrap().status.success());
    });
}

#[test]
fn a_missing_program_is_an_error_and_gives_its_permit_back() {
    block_on(async {
        let children = start(1, &Registry::new());
        let missing = ChildCommand { program: "/nowhere/git".into(), ..shell("") };
        let error = children.spawn(missing).await.unwrap_err();
        assert!(matches!(error, SpawnError::Io { .. }), "{error}");
        children.ended().await;
    });
}

/// Goal: a child stands behind the node and before it when memory runs out; what it starts, too.
#[test]
fn children_stand_below_the_node() {
    block_on(async {
        let children = start(2, &Registry::new());
        let own = rustix::process::getpriority_process(None).unwrap();
        // A moment, so that what stands afterwards is read.
        let script = "sleep 0.1; cat /proc/self/oom_score_adj; cut -d' ' -f19 /proc/self/stat";
        for (need, more) in [(Need::hook(), 5), (Need::question(), 1)] {
            let mut child = children.spawn(ChildCommand { need, ..shell(script) }).await.unwrap();
            let score: i32 = line(&mut child).await.parse().unwrap();
            let niceness: i32 = line(&mut child).await.parse().unwrap();
            assert!(score >= 500, "{score}");
            assert_eq!(niceness, (own + more).min(19), "{need:?}");
            child.wait().await.unwrap();
        }
    });
}

/// Goal: packs that take all of their places leave questions alone, and a call that needs two
/// children gets the second one whatever waits.
#[test]
fn questions_are_answered_beside_transfers() {
    block_on(async {
        let registry = Registry::new();
        let children = start(4, &registry);
        let mut transfers = Vec::new();
        for _ in 0..2 {
            transfers.push(children.spawn(shell("sleep 1000")).await.unwrap());
        }
        let mut third = Box::pin(children.spawn(shell("exit 0")));
        let early = tokio::time::timeout(Duration::from_millis(50), &mut third).await;
        assert!(early.is_err(), "transfers took the last place");
        let question = |account: &Arc<Account>| ChildCommand {
            need: Need::question(),
            account: Arc::clone(account),
            ..shell("sleep 1000")
        };
        assert_eq!(series(&registry, "gitring_children{share=\"transfers\"}"), 2.0);
        let account = Arc::new(Account::new("Service", "Method", String::new()));
        let first = children.spawn(question(&account)).await.unwrap();
        let second = children.spawn(question(&account));
        let second = tokio::time::timeout(Duration::from_secs(5), second).await;
        drop((first, second.unwrap().unwrap(), transfers, third));
        children.ended().await;
        assert_eq!(
            series(&registry, "gitring_children_memory_expected_bytes{share=\"transfers\"}"),
            0.0
        );
        assert_eq!(account.questions(), 0);
    });
}
