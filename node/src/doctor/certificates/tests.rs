//! Certificates and keys that fit, that do not, and that are none.

use super::super::finding::Severity;
use super::*;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A certificate of an elliptic curve that holds until 2126, its key, and the key of another one.
const CERTIFICATE: &str = include_str!("tests/good.pem");
const KEY: &str = include_str!("tests/good.key");
const OTHER_KEY: &str = include_str!("tests/other.key");

#[expect(clippy::disallowed_methods, reason = "a test writes files")]
fn written(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    path
}

#[test]
fn certificates_and_keys_are_judged() {
    let dir = tempfile::tempdir().unwrap();
    let check = |certificate: &str, key: &str, says: &str| {
        let path = written(dir.path(), "certificate", certificate);
        let in_file = PrivateKey::File(written(dir.path(), "key", key));
        for key in [in_file, PrivateKey::Inline(key.to_owned())] {
            let found = examine(&Identity { certificate_path: path.clone(), key });
            let bad = found.iter().find(|finding| finding.severity > Severity::Ok);
            match bad {
                None => assert_eq!(says, "", "{found:?}"),
                Some(bad) => {
                    assert!(!says.is_empty() && bad.what.contains(says), "{bad:?}");
                    assert!(!bad.remedy.is_empty() && !bad.what.contains("BEGIN"), "{bad:?}");
                }
            }
        }
    };
    check(CERTIFICATE, KEY, "");
    check(CERTIFICATE, OTHER_KEY, "cannot be used");
    check(CERTIFICATE, "", "cannot be used");
    check("", KEY, "no certificate");
    check(&CERTIFICATE.replace("MII", "!!!"), KEY, "certificate");
    let (certificate_path, key) = (dir.path().join("none"), PrivateKey::Inline(KEY.to_owned()));
    let none = examine(&Identity { certificate_path, key });
    assert_eq!(none[0].severity, Severity::Error);
}

#[test]
fn dates_are_judged_by_what_is_left() {
    let check = |from: i64, until: i64, severity, says: &str| {
        let now = Duration::from_secs(1_000_000_000);
        let day = |day: i64| 1_000_000_000 + day * 86_400 + 60;
        let found = holds("c", Some((day(from), day(until))), now);
        assert_eq!(found.severity, severity, "{found:?}");
        assert!(found.what.contains(says), "{found:?}");
    };
    check(-1, 90, Severity::Ok, "holds for 90 days");
    check(-1, 10, Severity::Warning, "ends in 10 days");
    check(-90, -2, Severity::Error, "ended 1 days ago");
    check(2, 90, Severity::Error, "holds from 3 days on");
    assert_eq!(holds("c", None, Duration::ZERO).severity, Severity::Warning);
}
