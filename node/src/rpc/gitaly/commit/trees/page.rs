//! Which part of a listed tree a client wants, and how it asks for the next one.
//!
//! Always true: tokens of every Gitaly are understood; ours are those of the newest.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use gitring_proto::gitaly::{PaginationParameter, TreeEntry};
use serde_json::{Value, json};
use tonic::Status;

/// Where a page begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// With the first entry.
    Top,
    /// Behind the entry with this id, as old tokens say.
    Id(String),
    /// Behind the entry at this path.
    Path(String),
}

/// A page that is asked for.
#[derive(Debug)]
pub(super) struct Page {
    token: Token,
    /// The tree that was listed, so that all pages are of the same one.
    pub(super) tree: Option<String>,
    /// Entries; all if negative.
    limit: i32,
}

// === impl Page ===

impl Page {
    pub(super) fn new(asked: &PaginationParameter) -> Self {
        let (token, tree) = read(&asked.page_token);
        Self { token, tree, limit: asked.limit }
    }

    /// Leaves the entries of the page, and tells how the next one is asked for; an empty text
    /// where there is none.
    pub(super) fn cut(&self, entries: &mut Vec<TreeEntry>, tree: &str) -> Result<String, Status> {
        let start = match &self.token {
            Token::Top => Some(0),
            Token::Id(id) => behind(entries, |entry| entry.oid == *id),
            Token::Path(path) => behind(entries, |entry| entry.path == path.as_bytes()),
        };
        let Some(start) = start else {
            let (Token::Id(start) | Token::Path(start)) = &self.token else {
                return Err(Status::internal("could not find starting OID"));
            };
            return Err(Status::internal(format!("could not find starting OID: {start}")));
        };
        entries.drain(..start);
        let Ok(limit) = usize::try_from(self.limit) else { return Ok(String::new()) };
        if limit >= entries.len() {
            return Ok(String::new());
        }
        entries.truncate(limit);
        Ok(entries.last().map(|last| write(last, tree)).unwrap_or_default())
    }
}

fn behind(entries: &[TreeEntry], is_it: impl Fn(&TreeEntry) -> bool) -> Option<usize> {
    entries.iter().position(is_it).map(|at| at + 1)
}

fn write(last: &TreeEntry, tree: &str) -> String {
    let name = String::from_utf8_lossy(&last.path);
    BASE64_STANDARD.encode(json!({ "file_name": name, "tree_oid": tree }).to_string())
}

fn read(token: &str) -> (Token, Option<String>) {
    if token.is_empty() {
        return (Token::Top, None);
    }
    let decoded = BASE64_STANDARD.decode(token).ok();
    let value = decoded.and_then(|text| serde_json::from_slice::<Value>(&text).ok());
    let text = |value: &Value, key: &str| match value.get(key) {
        None | Some(Value::Null) => Some(String::new()),
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => None,
    };
    let parts = value.filter(|value| value.is_object() || value.is_null());
    let parts =
        parts.and_then(|value| Some((text(&value, "file_name")?, text(&value, "tree_oid")?)));
    let Some((path, tree)) = parts else { return (Token::Id(token.to_owned()), None) };
    let token = if path.is_empty() { Token::Top } else { Token::Path(path) };
    (token, Some(tree).filter(|tree| !tree.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_every_gitaly() {
        let check = |token: &str, start: Token, tree: Option<&str>| {
            assert_eq!(read(token), (start, tree.map(str::to_owned)), "{token:?}");
        };
        let encoded = |text: &str| BASE64_STANDARD.encode(text);
        let path = || Token::Path("a b".to_owned());
        check("", Token::Top, None);
        check(&encoded(r#"{"file_name":"a b"}"#), path(), None);
        check(&encoded(r#"{"file_name":"a b","tree_oid":"12"}"#), path(), Some("12"));
        check(&encoded(r#"{"tree_oid":"12"}"#), Token::Top, Some("12"));
        let old = "0123456789".repeat(4);
        check(&old, Token::Id(old.clone()), None);
        check("not base64", Token::Id("not base64".to_owned()), None);
        for other in ["3", r#"{"file_name":3}"#, "[]", "{"] {
            check(&encoded(other), Token::Id(encoded(other)), None);
        }
    }

    /// Entries called `0` to `4`, whose ids are their names twice.
    fn check(token: &str, limit: i32, expected: Result<(&str, &str), &str>) {
        let entry = |n: i32| TreeEntry {
            path: n.to_string().into(),
            oid: n.to_string().repeat(2),
            ..TreeEntry::default()
        };
        let mut entries: Vec<_> = (0..5).map(entry).collect();
        let asked = PaginationParameter { page_token: token.to_owned(), limit };
        let cursor = Page::new(&asked).cut(&mut entries, "the tree");
        let found = cursor.map(|cursor| {
            let names: String = entries.iter().map(|one| one.oid[..1].to_owned()).collect();
            match read(&cursor) {
                (Token::Path(next), Some(tree)) if tree == "the tree" => (names, next),
                (Token::Top, None) => (names, String::new()),
                other => panic!("{other:?}"),
            }
        });
        let found = found.map_err(|status| status.message().to_owned());
        let expected = expected.map(|(names, next)| (names.to_owned(), next.to_owned()));
        assert_eq!(found, expected.map_err(str::to_owned), "{limit} after {token:?}");
    }

    #[test]
    fn pages_begin_and_end_where_clients_say() {
        check("", -1, Ok(("01234", "")));
        check("", 5, Ok(("01234", "")));
        check("", 4, Ok(("0123", "3")));
        check("", 0, Ok(("", "")));
        check("11", 2, Ok(("23", "3")));
        check("11", 3, Ok(("234", "")));
        check("44", 3, Ok(("", "")));
        check("44", -1, Ok(("", "")));
        check("77", 3, Err("could not find starting OID: 77"));
        let path = BASE64_STANDARD.encode(r#"{"file_name":"1"}"#);
        check(&path, 1, Ok(("2", "2")));
    }
}
