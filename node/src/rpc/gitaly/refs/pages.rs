//! Refs on their way to a client: where the page begins and ends, 20 to a message.
//!
//! Always true: no message is empty; `HEAD` comes with the first ref or not at all.
//! Never here: which refs are listed.

use gitring_proto::gitaly::list_refs_response::Reference;
use gitring_proto::gitaly::{ListRefsResponse, PaginationCursor, PaginationParameter};
use tonic::Status;

/// Refs in a message, as many as Gitaly puts there.
const REFS_PER_MESSAGE: usize = 20;

/// What is sent of a list.
#[derive(Debug)]
pub(super) struct Pages {
    head: Option<Reference>,
    /// The page begins behind the ref of this name.
    after: Option<Vec<u8>>,
    /// Refs that still fit on the page.
    left: usize,
    waiting: Vec<Reference>,
    has_more: bool,
}

/// What became of a ref.
#[derive(Debug, PartialEq)]
pub(super) enum Put {
    /// It waits for others, or is not on the page.
    Waits,
    /// Those before it fill a message.
    Message(ListRefsResponse),
    /// The page is full, and this ref is not on it.
    Full,
}

// === impl Pages ===

impl Pages {
    /// The page that a client asks for; all refs if it asks for none.
    pub(super) fn new(
        head: Option<Reference>,
        asked: Option<PaginationParameter>,
    ) -> Result<Self, Status> {
        let asked = asked.unwrap_or(PaginationParameter { page_token: String::new(), limit: -1 });
        let after = (!asked.page_token.is_empty()).then(|| asked.page_token.into_bytes());
        // A negative limit is none.
        let left = usize::try_from(asked.limit).unwrap_or(usize::MAX);
        if left == 0 && after.is_some() {
            return Err(no_such_ref());
        }
        Ok(Self { head, after, left, waiting: Vec::new(), has_more: false })
    }

    /// The next ref of the list.
    pub(super) fn put(&mut self, reference: Reference) -> Put {
        if let Some(after) = &self.after {
            if reference.name == after.as_slice() {
                self.after = None;
            }
            return Put::Waits;
        }
        if self.left == 0 {
            self.has_more = true;
            return Put::Full;
        }
        self.left -= 1;
        let is_full = self.waiting.len() == REFS_PER_MESSAGE;
        let message = is_full.then(|| self.message());
        self.waiting.push(reference);
        message.map_or(Put::Waits, Put::Message)
    }

    /// The last message, if anything is left for it.
    pub(super) fn finish(mut self) -> Result<Option<ListRefsResponse>, Status> {
        if self.after.is_some() {
            return Err(no_such_ref());
        }
        let Some(last) = self.waiting.last() else { return Ok(None) };
        let next_cursor = String::from_utf8_lossy(&last.name).into_owned();
        let mut message = self.message();
        message.pagination_cursor = self.has_more.then_some(PaginationCursor { next_cursor });
        Ok(Some(message))
    }

    fn message(&mut self) -> ListRefsResponse {
        let refs = std::mem::take(&mut self.waiting);
        let references = self.head.take().into_iter().chain(refs).collect();
        ListRefsResponse { references, pagination_cursor: None }
    }
}

fn no_such_ref() -> Status {
    Status::invalid_argument("invalid page token: sending lines: could not find page token")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(name: &str) -> Reference {
        Reference { name: name.to_owned().into(), ..Reference::default() }
    }

    /// Refs called `0` to `44`: lengths of the messages, the first name, and the cursor.
    fn check(limit: i32, token: &str, expected: Result<(&[usize], &str, &str), &str>) {
        let asked = PaginationParameter { page_token: token.to_owned(), limit };
        let run = || {
            let mut messages = Vec::new();
            let mut pages = Pages::new(Some(reference("HEAD")), Some(asked.clone()))?;
            for n in 0..45 {
                match pages.put(reference(&n.to_string())) {
                    Put::Waits => {}
                    Put::Message(message) => messages.push(message),
                    Put::Full => break,
                }
            }
            messages.extend(pages.finish()?);
            Ok::<_, Status>(messages)
        };
        let found = run().map_err(|status| status.message().to_owned());
        let found = found.map(|messages| {
            let lengths: Vec<_> = messages.iter().map(|message| message.references.len()).collect();
            let first = messages.first().map(|message| message.references[1].name.clone());
            let cursor = messages.last().and_then(|message| message.pagination_cursor.clone());
            (lengths, first.unwrap_or_default(), cursor.unwrap_or_default().next_cursor)
        });
        let expected = expected.map(|(lengths, first, cursor)| {
            (lengths.to_vec(), first.to_owned().into(), cursor.to_owned())
        });
        assert_eq!(found, expected.map_err(str::to_owned), "{limit} after {token:?}");
    }

    #[test]
    fn pages_begin_and_end_where_clients_say() {
        let missing = Err("invalid page token: sending lines: could not find page token");
        check(-1, "", Ok((&[21, 20, 5], "0", "")));
        check(45, "", Ok((&[21, 20, 5], "0", "")));
        check(44, "", Ok((&[21, 20, 4], "0", "43")));
        check(40, "", Ok((&[21, 20], "0", "39")));
        check(1, "", Ok((&[2], "0", "0")));
        check(0, "", Ok((&[], "", "")));
        check(3, "7", Ok((&[4], "8", "10")));
        check(-1, "40", Ok((&[5], "41", "")));
        check(5, "44", Ok((&[], "", "")));
        check(5, "45", missing);
        check(0, "7", missing);
    }
}
