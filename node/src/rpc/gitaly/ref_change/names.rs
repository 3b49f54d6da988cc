//! Names of refs and ids of objects as Gitaly judges them before it asks git.
//!
//! Always true: the texts are Gitaly's.
//! Never here: what git itself says of a name.

use crate::rpc::gitaly::refs::quoted;

/// Why `name` is not the full name of a ref, if it is not.
pub(super) fn check_reference(name: &[u8]) -> Result<(), &'static str> {
    if name == b"HEAD" {
        return Err("HEAD reference not allowed");
    }
    let Some(rest) = name.strip_prefix(b"refs/") else {
        return Err("reference is not fully qualified");
    };
    let has = |part: &[u8]| rest.windows(part.len()).any(|window| window == part);
    if rest.is_empty() {
        return Err("refs/ is not a valid reference");
    }
    if rest.ends_with(b"/") {
        return Err("reference must not end with slash");
    }
    if rest.ends_with(b".") {
        return Err("reference must not end with dot");
    }
    if has(b"@{") {
        return Err("reference must not contain @{");
    }
    if has(b"..") {
        return Err("reference must not contain double dots");
    }
    for byte in rest {
        match byte {
            b' ' | b'\t' | b'\n' => return Err("reference must not contain space characters"),
            b':' | b'?' | b'[' | b'\\' | b'^' | b'~' | b'*' | 0x7f => {
                return Err("reference must not contain special characters");
            }
            ..b' ' => return Err("reference must not contain control characters"),
            _ => {}
        }
    }
    for component in rest.split(|byte| *byte == b'/') {
        if component.is_empty() {
            return Err("empty component is not allowed");
        }
        if component.starts_with(b".") {
            return Err("component must not start with dot");
        }
        if component.ends_with(b".lock") {
            return Err("component must not end with .lock");
        }
    }
    Ok(())
}

/// Why `hex` is not the id of an object, which has so many digits, if it is not.
pub(super) fn check_id(hex: &[u8], digits: usize) -> Result<(), String> {
    if hex.len() != digits {
        let (id, got) = (quoted(hex), hex.len());
        return Err(format!("invalid object ID: {id}, expected length {digits}, got {got}"));
    }
    let is_digit = |letter: &char| matches!(letter, '0'..='9' | 'a'..='f');
    match String::from_utf8_lossy(hex).chars().find(|letter| !is_digit(letter)) {
        None => Ok(()),
        Some(bad) => Err(format!("invalid object ID: {}, invalid character {bad:?}", quoted(hex))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, expected: Result<(), &str>) {
        assert_eq!(check_reference(name.as_bytes()), expected, "{name:?}");
    }

    #[test]
    fn names_of_refs() {
        check("refs/heads/main", Ok(()));
        check("refs/stash", Ok(()));
        check("refs/heads/ä@b", Ok(()));
        check("HEAD", Err("HEAD reference not allowed"));
        check("heads/main", Err("reference is not fully qualified"));
        check("refs/", Err("refs/ is not a valid reference"));
        check("refs/heads/", Err("reference must not end with slash"));
        check("refs/heads/a.", Err("reference must not end with dot"));
        check("refs/heads/a@{1}", Err("reference must not contain @{"));
        check("refs/heads/a..b", Err("reference must not contain double dots"));
        check("refs/heads/a b", Err("reference must not contain space characters"));
        check("refs/heads/a^b", Err("reference must not contain special characters"));
        check("refs/heads/a\u{1}b", Err("reference must not contain control characters"));
        check("refs//a", Err("empty component is not allowed"));
        check("refs/heads/.a", Err("component must not start with dot"));
        check("refs/a.lock/b", Err("component must not end with .lock"));
    }

    fn check_digits(hex: &str, expected: Result<(), &str>) {
        assert_eq!(check_id(hex.as_bytes(), 4), expected.map_err(str::to_owned), "{hex:?}");
    }

    #[test]
    fn ids_of_objects() {
        check_digits("0a9f", Ok(()));
        check_digits("0a9", Err("invalid object ID: \"0a9\", expected length 4, got 3"));
        check_digits("0a9G", Err("invalid object ID: \"0a9G\", invalid character 'G'"));
        check_digits("0A9f", Err("invalid object ID: \"0A9f\", invalid character 'A'"));
    }
}
