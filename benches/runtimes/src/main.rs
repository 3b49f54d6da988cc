//! Measures each candidate in a process of its own and prints a table.
//!
//! `gitring-runtimes [ROUNDS]`; without a number, five rounds. Candidates take turns, so that what
//! else the machine does meets all of them.
//!
//! Always true: a cell is the median of its rounds, with the least and the greatest behind it.

mod drop_test;
mod work;

use gitring_runtimes::monoio_ring::Monoio;
use gitring_runtimes::node_ring::{NodeRing, NodeThreads};
use gitring_runtimes::tokio_uring_ring::TokioUring;
use std::process::Command;

const CANDIDATES: [&str; 4] = ["ring", "threads", "tokio-uring", "monoio"];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["work", candidate] => child(
            candidate,
            work::print::<NodeRing>,
            [work::print::<NodeThreads>, work::print::<TokioUring>, work::print::<Monoio>],
        ),
        ["drop", candidate] => child(
            candidate,
            drop_test::run::<NodeRing>,
            [drop_test::run::<NodeThreads>, drop_test::run::<TokioUring>, drop_test::run::<Monoio>],
        ),
        [] => table(5),
        [rounds] => table(rounds.parse().expect("a number of rounds")),
        _ => panic!("usage: gitring-runtimes [ROUNDS]"),
    }
}

fn child(candidate: &str, first: fn(), others: [fn(); 3]) {
    let all = [first, others[0], others[1], others[2]];
    let at = CANDIDATES.iter().position(|name| *name == candidate).expect("a candidate");
    all[at]();
}

fn table(rounds: usize) {
    let mut cells = vec![vec![Vec::new(); work::NAMES.len()]; CANDIDATES.len()];
    let mut drops = vec![(0, 0, 0); CANDIDATES.len()];
    for round in 0..rounds {
        for (at, candidate) in CANDIDATES.iter().enumerate() {
            eprintln!("round {round}: {candidate}");
            let output = itself(&["work", candidate]).output().expect("itself");
            let text = String::from_utf8(output.stdout).expect("figures");
            for (cell, figure) in cells[at].iter_mut().zip(text.split_whitespace()) {
                cell.push(figure.parse::<f64>().expect("a figure"));
            }
            match itself(&["drop", candidate]).output().expect("itself").status.code() {
                Some(0) => drops[at].0 += 1,
                Some(drop_test::SPOILED) => drops[at].1 += 1,
                _ => drops[at].2 += 1,
            }
        }
    }
    println!("| | {} |\n|---|{}", CANDIDATES.join(" | "), "---|".repeat(CANDIDATES.len()));
    for (row, name) in work::NAMES.iter().enumerate() {
        let cell = |at: usize| summary(&cells[at][row]);
        println!("| {name} | {} | {} | {} | {} |", cell(0), cell(1), cell(2), cell(3));
    }
    let drop = |at: usize| {
        let (clean, spoiled, died): (i32, i32, i32) = drops[at];
        format!("{clean} clean, {spoiled} spoiled, {died} died")
    };
    println!(
        "| runtime dropped under reads | {} | {} | {} | {} |",
        drop(0),
        drop(1),
        drop(2),
        drop(3)
    );
}

fn itself(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(arguments);
    command
}

fn summary(figures: &[f64]) -> String {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted[..] {
        [] => "failed".to_owned(),
        [least, ..] => {
            let (median, greatest) = (sorted[sorted.len() / 2], sorted[sorted.len() - 1]);
            format!("{median:.3} [{least:.3}–{greatest:.3}]")
        }
    }
}
