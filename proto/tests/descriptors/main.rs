//! Compares the compiled descriptors with the tables of `wire/`, row by row and in both directions.
//!
//! - `row`: one row, and how the text of a table is read;
//! - `union`: what two versions make together;
//! - `compiled`: the rows of descriptors.
//!
//! Always true: what the comparison cannot see is not in the rows: comments and source positions.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod compiled;
mod row;
mod union;

use std::collections::BTreeSet;

use row::{Kind, Row};

const OLDER: &str = include_str!("../../wire/gitaly-v16.7.tsv");
const NEWER: &str = include_str!("../../wire/gitaly-v18.9.tsv");

/// Everything in which the rows of descriptors differ from what the tables ask for.
fn differences(older: &[Row], newer: &[Row], compiled: &BTreeSet<Row>) -> Vec<String> {
    let union = union::of(older, newer);
    let missing = union.rows.difference(compiled).map(|row| format!("missing: {row:?}"));
    let extra = compiled.difference(&union.rows).map(|row| format!("in no table: {row:?}"));
    union.faults.into_iter().chain(missing).chain(extra).collect()
}

fn check(older: &[Row], newer: &[Row], compiled: &BTreeSet<Row>) {
    let differences = differences(older, newer, compiled);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn descriptors_are_the_union_of_both_tables() {
    let compiled = compiled::rows(gitring_proto::DESCRIPTORS);
    let count = |kind| compiled.iter().filter(|row| row.kind == kind).count();
    assert_eq!(count(Kind::Rpc), 163);
    check(&row::table(OLDER), &row::table(NEWER), &compiled);
}

/// The tables know reserved numbers only, so a reserved name would be an invention.
#[test]
fn no_names_are_reserved() {
    assert_eq!(compiled::reserved_names(gitring_proto::DESCRIPTORS), Vec::<String>::new());
}

/// A comparison that overlooks a column would let a fault pass: every column of some rows is
/// changed, in each table where the row occurs.
#[test]
fn a_changed_row_is_reported() {
    let compiled = compiled::rows(gitring_proto::DESCRIPTORS);
    let (older, newer) = (row::table(OLDER), row::table(NEWER));
    for row in sample(&compiled) {
        for changed in row.changes() {
            let (mut older, mut newer) = (older.clone(), newer.clone());
            for place in older.iter_mut().chain(&mut newer).filter(|place| *place == row) {
                *place = changed.clone();
            }
            let reports = differences(&older, &newer, &compiled);
            assert!(!reports.is_empty(), "{row:?} may be {changed:?}");
        }
    }
}

/// Rows of every kind, from the whole breadth of the tables.
fn sample(rows: &BTreeSet<Row>) -> Vec<&Row> {
    let mut sample = Vec::new();
    for kind in [Kind::Rpc, Kind::Message, Kind::Field, Kind::Reserved, Kind::Enum] {
        let of_kind: Vec<&Row> = rows.iter().filter(|row| row.kind == kind).collect();
        assert!(of_kind.len() > 4, "{kind:?}");
        sample.extend(of_kind.iter().step_by(of_kind.len() / 4));
    }
    sample
}

#[test]
fn a_row_too_few_or_too_many_is_reported() {
    let (older, newer) = (row::table(OLDER), row::table(NEWER));
    let compiled = compiled::rows(gitring_proto::DESCRIPTORS);
    for row in sample(&compiled) {
        let mut fewer = compiled.clone();
        fewer.remove(row);
        assert_eq!(differences(&older, &newer, &fewer), [format!("missing: {row:?}")]);
        for (number, changed) in row.changes().into_iter().enumerate() {
            let mut more = compiled.clone();
            more.insert(changed.clone());
            let reports = differences(&older, &newer, &more);
            assert_eq!(reports, [format!("in no table: {changed:?}")], "change {number}");
        }
    }
}

/// One row that the versions know differently, and one number that only one of them reserves.
#[test]
fn versions_are_united_by_rule() {
    let check = |older: &str, newer: &str, rows: &str, faults: usize| {
        let union = union::of(&row::table(older), &row::table(newer));
        assert_eq!(union.rows, row::table(rows).into_iter().collect());
        assert_eq!(union.faults.len(), faults, "{:?}", union.faults);
    };
    let message = "message\tgitaly.A\t\t\t\t\ta.proto";
    let one = "field\tgitaly.A\tx\t1\tstring\t\ta.proto";
    let other = "field\tgitaly.A\tx\t1\tbytes\t\ta.proto";
    let reserved = "reserved\tgitaly.A\t\t1\t\t\ta.proto";
    let lines = |rows: &[&str]| rows.join("\n");
    check(one, "", one, 0);
    check(one, one, one, 0);
    check(one, other, one, 1);
    // Both reserve it, one knows the message, one reserves what the other uses, or has not.
    let kept = lines(&[message, reserved]);
    check(&kept, &kept, &kept, 0);
    check(&kept, "", &kept, 0);
    check("", &kept, &kept, 0);
    check(&lines(&[message, one]), &kept, &lines(&[message, one]), 0);
    check(message, &kept, message, 0);
    // An exception is no exception where the versions agree: it would go unnoticed for ever.
    let rpc = "rpc\tgitaly.CommitService\tCommitLanguages\taccessor/repository\ta -> b\t\ta.proto";
    check(rpc, rpc, rpc, 1);
    check(rpc, &rpc.replace("accessor", "mutator"), rpc, 0);
    check(&rpc.replace("accessor", "mutator"), rpc, rpc, 0);
    check(rpc, &rpc.replace("accessor", "maintenance"), rpc, 1);
}
