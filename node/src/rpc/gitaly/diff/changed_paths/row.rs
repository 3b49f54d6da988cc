//! Rows of diff-tree's raw format with NULs (git-diff-tree(1), RAW OUTPUT FORMAT).
//!
//! ```text
//! :100644 100644 fabadb8 4866510 M            one side
//! ::100644 100644 100644 fabadb8 cc95eb0 4866510 MR    two sides, as -c shows merges
//! ```
//!
//! Never here: paths, which stand behind a row.

use crate::rpc::gitaly::refs::quoted;
use bytes::Bytes;
use gitring_proto::gitaly::ChangedPaths;
use gitring_proto::gitaly::changed_paths::Status as Change;
use tonic::Status;

/// What a row says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    sides: Vec<Side>,
    mode: i32,
    blob_id: String,
    /// Where it was before; set by who reads it.
    pub(super) old_path: Bytes,
}

/// What a row says of one side.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Side {
    mode: i32,
    blob_id: String,
    change: Change,
    /// How alike both are, in percent; only for renames and copies.
    score: i32,
}

// === impl Row ===

impl Row {
    pub(super) fn parse(row: &[u8]) -> Result<Self, Status> {
        let malformed = || {
            let row = quoted(row);
            Status::internal(format!("git diff-tree parsing failed on: {row}"))
        };
        let text = std::str::from_utf8(row).map_err(|_| malformed())?;
        let fields = text.trim_start_matches(':');
        let sides = text.len() - fields.len();
        let fields: Vec<&str> = fields.split(' ').collect();
        // Modes and ids of every side and of the result, and the letters.
        if sides == 0 || fields.len() != 2 * (sides + 1) + 1 {
            return Err(malformed());
        }
        let (modes, rest) = fields.split_at(sides + 1);
        let (ids, changes) = rest.split_at(sides + 1);
        let changes = parse_changes(changes[0]).ok_or_else(malformed)?;
        if changes.len() != sides {
            return Err(malformed());
        }
        let mode = |mode: &str| i32::from_str_radix(mode, 8).map_err(|_| malformed());
        let side = |(at, (change, score)): (usize, (Change, i32))| {
            let blob_id = ids[at].to_owned();
            Ok(Side { mode: mode(modes[at])?, blob_id, change, score })
        };
        Ok(Self {
            sides: changes.into_iter().enumerate().map(side).collect::<Result<_, Status>>()?,
            mode: mode(modes[sides])?,
            blob_id: ids[sides].to_owned(),
            old_path: Bytes::new(),
        })
    }

    /// Whether the path that it had stands before the one that it has. Merges never tell.
    pub(super) fn has_old_path(&self) -> bool {
        matches!(&self.sides[..], [Side { change: Change::Renamed | Change::Copied, .. }])
    }

    /// A message for each side.
    pub(super) fn into_paths(
        self,
        path: Bytes,
        commit_id: &str,
    ) -> impl Iterator<Item = ChangedPaths> {
        let Self { sides, mode, blob_id, old_path } = self;
        sides.into_iter().map(move |side| ChangedPaths {
            path: path.clone(),
            status: side.change.into(),
            old_mode: side.mode,
            new_mode: mode,
            old_blob_id: side.blob_id,
            new_blob_id: blob_id.clone(),
            old_path: old_path.clone(),
            score: side.score,
            commit_id: commit_id.to_owned(),
        })
    }
}

/// A letter for each side, the score behind it where there is one.
fn parse_changes(text: &str) -> Option<Vec<(Change, i32)>> {
    let mut changes: Vec<(Change, i32)> = Vec::new();
    for letter in text.chars() {
        let change = match letter {
            'A' => Change::Added,
            'M' => Change::Modified,
            'D' => Change::Deleted,
            'T' => Change::TypeChange,
            'C' => Change::Copied,
            'R' => Change::Renamed,
            _ => {
                let digit = i32::try_from(letter.to_digit(10)?).ok()?;
                let (_, score) = changes.last_mut()?;
                *score = score.checked_mul(10)?.checked_add(digit)?;
                continue;
            }
        };
        changes.push((change, 0));
    }
    Some(changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(row: &str, expected: Option<&[(i32, &str, Change, i32)]>) {
        let found = Row::parse(row.as_bytes()).ok().map(|row| {
            assert_eq!((row.mode, &*row.blob_id), (0o100_755, "cc"));
            let side = |side: Side| (side.mode, side.blob_id, side.change, side.score);
            row.sides.into_iter().map(side).collect::<Vec<_>>()
        });
        let expected = expected.map(|sides| {
            let side = |(mode, id, change, score): &(i32, &str, Change, i32)| {
                (*mode, (*id).to_owned(), *change, *score)
            };
            sides.iter().map(side).collect()
        });
        assert_eq!(found, expected, "{row}");
    }

    #[test]
    fn rows_of_git() {
        check(":100644 100755 aa cc M", Some(&[(0o100_644, "aa", Change::Modified, 0)]));
        check(":000000 100755 00 cc A", Some(&[(0, "00", Change::Added, 0)]));
        check(":100644 100755 aa cc R086", Some(&[(0o100_644, "aa", Change::Renamed, 86)]));
        let merge = [(0o100_644, "aa", Change::Modified, 0), (0o100_755, "bb", Change::Renamed, 0)];
        check("::100644 100755 100755 aa bb cc MR", Some(&merge));
        check("::100644 100755 100755 aa bb cc M", None);
        check(":100644 100755 100755 aa bb cc MR", None);
        check(":100644 100755 aa cc X", None);
        check(":100644 100755 aa cc 8", None);
        check(":100644 100755 aa cc R99999999999", None);
        check(":10064x 100755 aa cc M", None);
        check("100644 100755 aa cc M", None);
        check(":", None);
    }
}
