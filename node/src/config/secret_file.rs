//! Files that hold secrets: who may read them.
//!
//! The rule is PostgreSQL's for its private key: a file of our own user's is for it alone (0600); one
//! of root's may be read by its group (0640), since it is how a machine shares a secret with a
//! service. GitLab's own guides and packages leave the key of TLS and GitLab's secret readable for
//! everybody (0644): such a file is used, and remarked upon.
//!
//! Always true: what somebody else may write is refused, whoever left it so; no error shows what is
//! in a file.

use gitring_daemon::settings::{Document, Section, SettingsError};
use rustix::process::geteuid;
use std::fs::Metadata;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What becomes of a file that others may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// An error.
    Refuse,
    /// A remark: stock installations have it so.
    Remark,
}

/// A token takes some dozen bytes.
const SECRET_BYTES_MAX: u64 = 4_096;
/// The kernel's bits for reading and writing.
const PERMISSIONS: u32 = 0o7777;
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// Keys that hold a secret in the configuration file itself.
const INLINE: &[&str] = &[
    "auth.token",
    "auth.tokens.token",
    "tls.key",
    "gitlab.secret",
    "gitlab.http-settings.password",
    "upstream.token",
];

/// Judges a file that a key names. One that cannot be looked at is left to whoever reads it.
pub(super) fn check(
    (section, key): (&Section<'_>, &str),
    path: &Path,
    rule: Rule,
    remarks: &mut Vec<String>,
) -> Result<(), SettingsError> {
    let Some(found) = look(path) else { return Ok(()) };
    let Some(fault) = fault(&found, geteuid().as_raw(), path) else { return Ok(()) };
    let error = section.error(key, fault);
    if rule == Rule::Refuse || found.mode() & WRITABLE_BY_OTHERS != 0 {
        return Err(error);
    }
    let remark = error.to_string();
    if !remarks.contains(&remark) {
        remarks.push(remark);
    }
    Ok(())
}

/// The content of a file, without white space around it.
#[expect(clippy::disallowed_methods, reason = "start-up and reload: on no reactor")]
pub(super) fn read(
    (section, key): (&Section<'_>, &str),
    path: &Path,
) -> Result<Vec<u8>, SettingsError> {
    let mut secret = Vec::new();
    let wrong = |what: &str| section.error(key, format!("{} {what}", path.display()));
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(SECRET_BYTES_MAX + 1).read_to_end(&mut secret));
    read.map_err(|error| wrong(&format!("cannot be read: {error}")))?;
    if secret.len() as u64 > SECRET_BYTES_MAX {
        return Err(wrong(&format!("is too long, at most {SECRET_BYTES_MAX} bytes")));
    }
    let secret = secret.trim_ascii();
    if secret.is_empty() { Err(wrong("is empty")) } else { Ok(secret.to_vec()) }
}

/// Remarks upon a configuration that everybody may read, if it holds a secret.
pub(super) fn remark_on(document: &Document<'_>, remarks: &mut Vec<String>) {
    let (leaves, path) = (document.leaves(), document.file());
    let holds = leaves.iter().find(|leaf| !leaf.empty && INLINE.contains(&&*leaf.path));
    if let (Some(leaf), Some(found)) = (holds, look(path))
        && found.mode() & 0o007 != 0
    {
        let what = format!(
            "is a secret in a file that everybody may read (mode {:04o}): run chmod o= {}",
            found.mode() & PERMISSIONS,
            path.display()
        );
        remarks.push(document.error(leaf, what).to_string());
    }
}

#[expect(clippy::disallowed_methods, reason = "start-up and reload: on no reactor")]
fn look(path: &Path) -> Option<Metadata> {
    std::fs::metadata(path).ok()
}

/// What is wrong with a file, and what to do.
fn fault(found: &Metadata, our_uid: u32, path: &Path) -> Option<String> {
    let (owner, mode, path) = (found.uid(), found.mode() & PERMISSIONS, path.display());
    let (allowed, word) = match owner {
        0 => (0o640, "chmod 640"),
        uid if uid == our_uid => (0o600, "chmod 600"),
        _ => {
            return Some(format!(
                "{path} belongs to user {owner}, who may change it, allowed: root or user \
                 {our_uid}: run chown {our_uid} {path}"
            ));
        }
    };
    // Whether its owner may execute it does not matter.
    let excess = mode & !(allowed | 0o100);
    (excess != 0).then(|| {
        format!(
            "{path} is open to others (mode {mode:04o}), at most {allowed:04o}: run {word} {path}"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    /// Goal: PostgreSQL's table, with a file of our own (which may be root's, if root tests).
    #[test]
    fn who_may_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let us = geteuid().as_raw();
        let check = |mode: u32, uid: u32, expected: Option<&str>| {
            file.as_file().set_permissions(Permissions::from_mode(mode)).unwrap();
            let found = look(file.path()).unwrap();
            let fault = fault(&found, uid, Path::new("/secret"));
            match (&fault, expected) {
                (None, None) => {}
                (Some(fault), Some(expected)) => assert!(fault.contains(expected), "{fault}"),
                _ => panic!("{mode:o}: {fault:?}, expected {expected:?}"),
            }
        };
        check(0o600, us, None);
        check(0o400, us, None);
        check(0o644, us, Some(": run chmod 6"));
        check(0o604, us, Some("(mode 0604)"));
        check(0o660, us, Some("(mode 0660)"));
        if us == 0 {
            // A service that root gives a secret to.
            check(0o640, 998, None);
            check(0o644, 998, Some("at most 0640: run chmod 640 /secret"));
        } else {
            check(0o640, us, Some("at most 0600: run chmod 600 /secret"));
            check(0o600, us + 1, Some("run chown"));
        }
    }
}
