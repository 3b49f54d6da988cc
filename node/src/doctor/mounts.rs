//! What lies where: the kinds and options of mounted file systems, from `/proc/self/mountinfo`.
//!
//! Never here: judging them.

use std::path::{Path, PathBuf};

/// Every mount that this process sees.
#[derive(Debug, Default)]
pub(super) struct Mounts(Vec<Mount>);

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    point: PathBuf,
    /// As mount(8) names it: `ext4`, `nfs4`.
    pub(super) kind: String,
    /// Of the file system, by commas.
    pub(super) options: String,
}

/// What its bytes lie on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ground {
    Disk,
    Memory,
    Network,
}

// === impl Mounts ===

impl Mounts {
    #[expect(clippy::disallowed_methods, reason = "no reactor runs in this process")]
    pub(super) fn read() -> Self {
        Self::parse(&std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
    }

    /// proc_pid_mountinfo(5): the fifth field is where, behind ` - ` come kind, source, options.
    pub(super) fn parse(text: &str) -> Self {
        let mount = |line: &str| {
            let (place, what) = line.split_once(" - ")?;
            let mut what = what.split(' ');
            Some(Mount {
                point: unescaped(place.split(' ').nth(4)?),
                kind: what.next()?.to_owned(),
                options: what.nth(1).unwrap_or_default().to_owned(),
            })
        };
        Self(text.lines().filter_map(mount).collect())
    }

    /// The one that `path`, absolute and without symbolic links, lies on: of the deepest the one
    /// that was mounted last.
    pub(super) fn of(&self, path: &Path) -> Option<&Mount> {
        let there = self.0.iter().filter(|mount| path.starts_with(&mount.point));
        there.max_by_key(|mount| mount.point.components().count())
    }
}

/// Blanks and backslashes are octal.
fn unescaped(text: &str) -> PathBuf {
    let codes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    codes.iter().fold(text.to_owned(), |text, (code, char)| text.replace(code, char)).into()
}

// === impl Mount ===

impl Mount {
    pub(super) fn ground(&self) -> Ground {
        const NETWORK: &[&str] = &[
            "nfs",
            "nfs4",
            "cifs",
            "smb3",
            "ceph",
            "9p",
            "afs",
            "lustre",
            "glusterfs",
            "virtiofs",
        ];
        match self.kind.as_str() {
            "tmpfs" | "ramfs" => Ground::Memory,
            kind if NETWORK.contains(&kind) || kind.starts_with("fuse") => Ground::Network,
            _ => Ground::Disk,
        }
    }

    /// Whether an option is set that makes fsync return before the disk has the bytes.
    pub(super) fn ignores_fsync(&self) -> Option<&str> {
        let lies = ["nobarrier", "barrier=0", "barrier=none", "volatile"];
        self.options.split(',').find(|option| lies.contains(option))
    }
}
