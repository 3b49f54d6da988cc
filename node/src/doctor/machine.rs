//! The machine below the node: kernel, io_uring, git.

use super::finding::Finding;
use gitring_node::reactor::ring::{self, IoUring};
use gitring_node::server;
use std::io;
use std::path::Path;

/// Older ones lack operations of rings that are used.
const KERNEL_OLDEST: (u32, u32) = (5, 15);

/// What the system says of io_uring, beside trying it.
struct Sandbox {
    /// `/proc/sys/kernel/io_uring_disabled`: 0, 1 or 2; `None` on kernels that lack it.
    disabled: Option<u32>,
    /// `Seccomp:` of `/proc/self/status`: 2 is a filter.
    seccomp: u32,
}

pub(super) fn kernel() -> Finding {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    judge_kernel(&release)
}

fn judge_kernel(release: &str) -> Finding {
    let (major, minor) = KERNEL_OLDEST;
    match version(release) {
        Some(found) if found < KERNEL_OLDEST => {
            let what = format!("Linux {release} is older than {major}.{minor}");
            Finding::warning("kernel", what, "upgrade it: nobody tests the node on it")
        }
        Some(_) => Finding::ok("kernel", format!("Linux {release}")),
        None => Finding::note("kernel", format!("its release is '{release}'"), "none known"),
    }
}

/// The first two numbers of a release, `6.1.0-13-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|char: char| !char.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

pub(super) fn io_uring(mode: IoUring) -> Finding {
    match mode {
        IoUring::Off => {
            let what = "runtime.io_uring = \"off\": threads do the file work";
            Finding::note("io_uring", what, "remove the key unless it has a reason")
        }
        IoUring::Auto => judge_io_uring(ring::probe(), &Sandbox::read()),
    }
}

fn judge_io_uring(probe: io::Result<()>, sandbox: &Sandbox) -> Finding {
    let error = match probe {
        Ok(()) => return Finding::ok("io_uring", "works"),
        Err(error) => error,
    };
    let what = format!("refused ({error}): 16 threads do the file work instead, slower");
    let remedy = match (error.raw_os_error(), sandbox) {
        (Some(libc::EPERM), Sandbox { disabled: Some(1 | 2), .. }) => {
            "sysctl kernel.io_uring_disabled=0, or 1 and the node's group in io_uring_group"
        }
        (Some(libc::EPERM | libc::ENOSYS), Sandbox { seccomp: 2, .. }) => {
            "allow io_uring_setup, io_uring_enter and io_uring_register in the seccomp profile of \
             the container or unit (SystemCallFilter=@aio)"
        }
        (Some(libc::ENOSYS), _) => "use a kernel built with CONFIG_IO_URING",
        (Some(libc::ENOMEM), _) => "raise the limit of locked memory (LimitMEMLOCK=)",
        _ => "see whether the kernel or a security module says why (dmesg)",
    };
    Finding::warning("io_uring", what, remedy)
}

// === impl Sandbox ===

impl Sandbox {
    #[expect(clippy::disallowed_methods, reason = "no reactor runs in this process")]
    fn read() -> Self {
        let read = |path| std::fs::read_to_string(path).ok();
        let disabled = read("/proc/sys/kernel/io_uring_disabled");
        let status = read("/proc/self/status").unwrap_or_default();
        let seccomp = status.lines().find_map(|line| line.strip_prefix("Seccomp:"));
        Self {
            disabled: disabled.and_then(|text| text.trim().parse().ok()),
            seccomp: seccomp.and_then(|text| text.trim().parse().ok()).unwrap_or(0),
        }
    }
}

/// The git that the node would run.
pub(super) fn git(configured: Option<&Path>) -> Finding {
    match server::find_git(configured) {
        Ok(found) => {
            let what = format!("{} is git {}", found.program.display(), found.version);
            Finding::ok("git", what)
        }
        Err(error) => {
            let remedy = "install git 2.39 or newer, or set git.bin_path to one";
            Finding::error("git", error.to_string(), remedy)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Severity;
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn kernels_are_judged_by_release() {
        let check = |release, severity| {
            assert_eq!(judge_kernel(release).severity, severity, "{release}");
        };
        check("6.1.0-13-amd64", Severity::Ok);
        check("5.15.0", Severity::Ok);
        check("5.10.0-20-cloud", Severity::Warning);
        check("next", Severity::Note);
    }

    #[test]
    fn a_refused_ring_is_explained() {
        let check = |code, disabled, seccomp, remedy: &str| {
            let probe = Err(io::Error::from_raw_os_error(code));
            let found = judge_io_uring(probe, &Sandbox { disabled, seccomp });
            assert_eq!(found.severity, Severity::Warning);
            assert!(found.remedy.contains(remedy), "{found:?}");
        };
        check(libc::EPERM, Some(2), 2, "sysctl");
        check(libc::EPERM, Some(0), 2, "seccomp");
        check(libc::ENOSYS, None, 2, "seccomp");
        check(libc::ENOSYS, None, 0, "CONFIG_IO_URING");
        check(libc::ENOMEM, Some(0), 0, "LimitMEMLOCK");
        check(libc::EPERM, Some(0), 0, "security module");
        let works = judge_io_uring(Ok(()), &Sandbox::read());
        assert_eq!(works.severity, Severity::Ok);
        assert_eq!(io_uring(IoUring::Off).severity, Severity::Note);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test writes a script")]
    fn an_old_git_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let check = |script: &str, says: &str| {
            let path = dir.path().join("git");
            std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
            let found = git(Some(&path));
            assert_eq!(found.severity, Severity::Error);
            assert!(found.what.contains(says), "{found:?}");
        };
        check("echo git version 2.30.2", "older than 2.39");
        check("echo something", "says 'something'");
        assert_eq!(git(None).severity, Severity::Ok);
    }
}
