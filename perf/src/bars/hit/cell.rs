//! The figures of one kind of socket with so many clients.
//!
//! Always true: what was not answered whole stands in the bar.
//!
//! Never here: the repository, and stock git.

use std::time::Instant;

use gitring_tests::gitaly::Door;
use gitring_tests::node::Node;

use super::{CLONES, clones};
use crate::bars::Bar;
use crate::bars::plain_send::{Method, Socket, Source};
use crate::load::herd::Fetch;
use crate::series::Series;

/// At most this part of stock git's CPU.
const STOCK_RATIO_MAX: f64 = 1.0 / 8.0;

/// At most so many times the cheapest plain send.
const PLAIN_RATIO_MAX: f64 = 1.5;

/// One kind of socket with so many clients.
pub(super) struct Cell {
    door: Door,
    socket: Socket,
    limit: f64,
    at_once: usize,
    cpu: Series,
    rates: Series,
    sendfile: Series,
    mapped: Series,
    windowed: Series,
    cheapest: Series,
    failures: (usize, String),
}

// === impl Cell ===

impl Cell {
    pub(super) fn new(&(door, socket, limit): &(Door, Socket, f64), at_once: usize) -> Self {
        let [cpu, rates, sendfile, mapped, windowed, cheapest] = [const { Series::new() }; 6];
        let failures = (0, String::new());
        Self {
            door,
            socket,
            limit,
            at_once,
            cpu,
            rates,
            sendfile,
            mapped,
            windowed,
            cheapest,
            failures,
        }
    }

    pub(super) fn measure(&mut self, node: &Node, fetch: &Fetch, source: &Source, counts: bool) {
        let began = Instant::now();
        let (used, sum) = clones(node, fetch, self.door, (self.at_once, CLONES / self.at_once));
        let elapsed = began.elapsed().as_secs_f64();
        let plain = |method| {
            let sent = source.cpu_s_per_gib(self.socket, method, self.at_once);
            sent.expect("a file can be sent to a thread")
        };
        let (sendfile, mapped) = (plain(Method::Sendfile), plain(Method::Mapped));
        let windowed = plain(Method::Windowed);
        if sum.failures.0 > 0 {
            self.failures = sum.failures.clone();
        }
        if counts {
            self.cpu.push(sum.per_gib(used));
            self.rates.push(sum.bytes as f64 / (1u64 << 30) as f64 / elapsed);
            self.sendfile.push(sendfile);
            self.mapped.push(mapped);
            self.windowed.push(windowed);
            self.cheapest.push(sendfile.min(mapped));
        }
    }

    fn clients(&self) -> String {
        format!("{:?}, {} at once", self.socket, self.at_once)
    }

    pub(super) fn cpu_bar(&self, stock: &Series, answer_bytes: u64) -> Bar {
        let each = self.cpu.median() * answer_bytes as f64 / (1u64 << 30) as f64;
        let ratio = each / stock.median();
        let ((least, most), (low, high)) = (self.cpu.spread(), stock.spread());
        let (failed, why) = &self.failures;
        let failed =
            if *failed > 0 { format!(", **{failed} failed: {why}**") } else { String::new() };
        Bar {
            what: format!(
                "hit, full clone of {} MB, {}, server CPU per GiB",
                answer_bytes / 1_000_000,
                self.clients()
            ),
            figure: format!(
                "{:.3} s; {:.0} ms each, {ratio:.3} of upload-pack's {:.2} s; {:.2} GiB/s{failed}",
                self.cpu.median(),
                each * 1e3,
                stock.median(),
                self.rates.median(),
            ),
            limit: format!("≤ {:.2} s, ≤ {STOCK_RATIO_MAX} of upload-pack", self.limit),
            noise: format!("{least:.3}–{most:.3} s, upload-pack {low:.2}–{high:.2} s"),
            met: self.cpu.median() <= self.limit
                && ratio <= STOCK_RATIO_MAX
                && self.failures.0 == 0,
        }
    }

    pub(super) fn plain_bar(&self) -> Bar {
        let ratio = self.cpu.ratios(&self.cheapest).median();
        let within = self.cpu.ratios(&self.windowed).median();
        let ((least, most), (low, high)) = (self.sendfile.spread(), self.mapped.spread());
        Bar {
            what: format!("hit, {}, against the cheapest plain send", self.clients()),
            figure: format!(
                "{ratio:.2} × (sendfile {:.3} s, mapped write {:.3} s per GiB); {within:.2} × a mapped \
                 write within the client's window ({:.3} s)",
                self.sendfile.median(),
                self.mapped.median(),
                self.windowed.median(),
            ),
            limit: format!("≤ {PLAIN_RATIO_MAX} ×, 1.3 × wanted"),
            noise: format!("sendfile {least:.3}–{most:.3} s, mapped {low:.3}–{high:.3} s"),
            met: ratio <= PLAIN_RATIO_MAX,
        }
    }
}
