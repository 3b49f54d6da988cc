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
        program: PathBuf::from("/bin/sh"),
        args: vec!["-c".into(), script.into()],
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
        current_dir: PathBuf::from("/"),
    }
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

#[test]
fn exit_status_cpu_time_and_environment_come_back() {
    block_on(async {
        let children = Children::start(2, &Registry::new()).unwrap();
        let script = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; env | grep -v '^_=' | \
                      grep -v PWD; exit 7";
        let mut child = children.spawn(shell(script)).await.unwrap();
        let mut out = String::new();
        child.stdout.as_mut().unwrap().read_to_string(&mut out).await.unwrap();
        let exit = child.wait().await.unwrap();
        assert_eq!(out, "PATH=/usr/bin:/bin\n");
        assert_eq!(exit.status.code(), Some(7));
        assert!(exit.user + exit.system > Duration::from_millis(1), "{exit:?}");
    });
}

/// Goal: neither zombie nor orphan is left, grandchildren included, whoever ends first.
#[test]
fn a_dropped_child_takes_its_group_with_it() {
    block_on(async {
        let children = Children::start(1, &Registry::new()).unwrap();
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
        let children = Children::start(1, &Registry::new()).unwrap();
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
        let children = Children::start(1, &Registry::new()).unwrap();
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
        let children = Children::start(1, &Registry::new()).unwrap();
        let missing = ChildCommand { program: "/nowhere/git".into(), ..shell("") };
        let error = children.spawn(missing).await.unwrap_err();
        assert!(matches!(error, SpawnError::Io { .. }), "{error}");
        children.ended().await;
    });
}
