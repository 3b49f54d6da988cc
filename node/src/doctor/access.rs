//! Who gets in, and who may read the secrets that decide about it.

use super::finding::Finding;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What the token is judged by.
pub(super) struct Doors {
    pub(super) has_token: bool,
    pub(super) is_transitioning: bool,
    pub(super) listen_addrs: Vec<SocketAddr>,
    /// The file says that everybody may call.
    pub(super) is_meant: bool,
}

// === impl Doors ===

impl Doors {
    pub(super) fn judge(&self) -> Finding {
        let check = "token";
        let set = "set auth.token here and in GitLab's git_data_dirs (gitaly_token)";
        let is_open = self.listen_addrs.iter().any(|address| !address.ip().is_loopback());
        if self.is_meant {
            return Finding::note(check, "none, and auth.insecure says that this is meant", set);
        }
        match (self.has_token, self.is_transitioning, is_open) {
            (false, _, true) => {
                let what = "none: whoever reaches the port may change and remove repositories";
                Finding::error(check, what, set)
            }
            (false, _, false) => {
                let what = "none: every user of this machine may change repositories";
                Finding::warning(check, what, set)
            }
            (true, true, _) => {
                let what = "auth.transitioning: wrong tokens are counted, and let in";
                let remedy = "set it to false once gitaly_authentications_total{enforced=\"false\"} \
                              no longer grows";
                Finding::warning(check, what, remedy)
            }
            (true, false, _) => Finding::ok(check, "required"),
        }
    }
}

/// A file that holds a secret; `whose` names it.
#[expect(clippy::disallowed_methods, reason = "no reactor runs in this process")]
pub(super) fn secret_file(whose: &str, path: &Path) -> Finding {
    let check = "secrets";
    let at = format!("{whose}: {}", path.display());
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => {
            let remedy = "create it, or correct the key that names it";
            return Finding::error(check, format!("{at}: {error}"), remedy);
        }
    };
    let mode = metadata.mode() & 0o7777;
    if mode & 0o006 != 0 {
        let what = format!("{at} has mode {mode:04o}: every user of this machine may read it");
        return Finding::error(check, what, format!("chmod o-rwx {}", path.display()));
    }
    match std::fs::File::open(path) {
        Ok(_) => Finding::ok(check, format!("{at}: mode {mode:04o}")),
        Err(error) => {
            let remedy = "let the user that the node runs as read it";
            Finding::error(check, format!("{at}: {error}"), remedy)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Severity;
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_missing_token_is_as_bad_as_the_door_is_wide() {
        let check = |has_token, is_transitioning, address: &str, severity| {
            let within = "127.0.0.1:1".parse().unwrap();
            let listen_addrs = address.parse().into_iter().chain([within]).collect();
            let doors = Doors { has_token, is_transitioning, listen_addrs, is_meant: false };
            assert_eq!(doors.judge().severity, severity, "{address} {has_token}");
            let meant = Doors { is_meant: true, ..doors };
            assert_eq!(meant.judge().severity, Severity::Note);
        };
        check(false, false, "0.0.0.0:8075", Severity::Error);
        check(false, false, "127.0.0.1:8075", Severity::Warning);
        check(false, false, "", Severity::Warning);
        check(true, true, "0.0.0.0:8075", Severity::Warning);
        check(true, false, "0.0.0.0:8075", Severity::Ok);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test prepares files")]
    fn secrets_are_for_the_node_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        assert_eq!(secret_file("a", &path).severity, Severity::Error);
        std::fs::write(&path, "s").unwrap();
        let check = |mode, severity| {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            assert_eq!(secret_file("a", &path).severity, severity, "{mode:o}");
        };
        check(0o600, Severity::Ok);
        check(0o640, Severity::Ok);
        check(0o644, Severity::Error);
        check(0o602, Severity::Error);
    }
}
