//! What two versions make together.
//!
//! - What one or both have is in the union; where both have it, they must agree.
//! - A number is reserved where every version that knows the message reserves it. So what one
//!   version reserves and the other uses is used.

use std::collections::{BTreeMap, BTreeSet};

use super::row::{Kind, Row, Subject};

/// What the versions describe differently, with what the union takes instead of a fault.
///
/// CommitLanguages was an accessor and became a mutator, because it keeps a file of statistics in
/// the repository's directory. Refs and objects do not change, the file is a cache, and a node that
/// keeps none writes nothing at all: any replica may answer, without a transaction.
const EXCEPTION: Exception = Exception {
    owner: "gitaly.CommitService",
    name: "CommitLanguages",
    taken: "accessor/repository",
    refused: "mutator/repository",
};

struct Exception {
    owner: &'static str,
    name: &'static str,
    taken: &'static str,
    refused: &'static str,
}

/// Both versions as one.
pub(crate) struct Union {
    pub(crate) rows: BTreeSet<Row>,
    /// Where the versions contradict each other, or agree about [`EXCEPTION`].
    pub(crate) faults: Vec<String>,
}

/// Unites two tables.
pub(crate) fn of(older: &[Row], newer: &[Row]) -> Union {
    let mut union = Union { rows: BTreeSet::new(), faults: Vec::new() };
    let (mut subjects_older, mut subjects_newer) = (subjects(older), subjects(newer));
    if subjects_older.len() != older.len() || subjects_newer.len() != newer.len() {
        union.faults.push("a table describes something twice".to_owned());
    }
    for (reserving, by) in [(older, newer), (newer, older)] {
        let (known, described) = (messages(by), subjects(by));
        for row in reserving.iter().filter(|row| row.kind == Kind::Reserved) {
            if known.contains(row.owner.as_str()) && !described.contains_key(&row.subject()) {
                subjects_older.remove(&row.subject());
                subjects_newer.remove(&row.subject());
            }
        }
    }
    for (subject, row) in subjects_older {
        match subjects_newer.remove(&subject) {
            Some(other) => union.agree(row, other),
            None => {
                union.rows.insert(row.clone());
            }
        }
    }
    union.rows.extend(subjects_newer.into_values().cloned());
    union
}

fn subjects(rows: &[Row]) -> BTreeMap<Subject<'_>, &Row> {
    rows.iter().map(|row| (row.subject(), row)).collect()
}

fn messages(rows: &[Row]) -> BTreeSet<&str> {
    let messages = rows.iter().filter(|row| row.kind == Kind::Message);
    messages.map(|row| row.owner.as_str()).collect()
}

// === impl Union ===

impl Union {
    fn agree(&mut self, older: &Row, newer: &Row) {
        let excepted = (older.owner.as_str(), older.name.as_str())
            == (EXCEPTION.owner, EXCEPTION.name)
            && older.kind == Kind::Rpc;
        let as_taken = |row: &Row| {
            let known = [EXCEPTION.taken, EXCEPTION.refused].contains(&row.number.as_str());
            let number = if known { EXCEPTION.taken.to_owned() } else { row.number.clone() };
            Row { number, ..row.clone() }
        };
        let contradict = if excepted {
            older == newer || as_taken(older) != as_taken(newer)
        } else {
            older != newer
        };
        if contradict {
            self.faults.push(format!("versions: {older:?} and {newer:?}"));
        }
        self.rows.insert(if excepted { as_taken(older) } else { older.clone() });
    }
}
