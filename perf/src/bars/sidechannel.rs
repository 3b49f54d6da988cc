//! Server CPU of an ls-refs over a sidechannel against `git upload-pack --stateless-rpc`.
//!
//! Always true: both sides get the same request and send the same number of bytes.
//!
//! Never here: bytes that differ; tests compare those.

use std::time::Duration;

use gitring_tests::process;
use gitring_tests::stdio::{Call, Server};

use super::Bar;
use super::unary::Stage;
use crate::load::kind::Kind;
use crate::load::script;
use crate::series::Series;

/// Alternating runs.
const ROUNDS: u64 = 5;

/// Ours, as long as it takes to see hundredths of a millisecond in ticks of 10 ms.
const TIME: Duration = Duration::from_secs(2);

/// Requests of one run of stock git.
const STOCK_PER_RUN: u32 = 200;

const IN_FLIGHT: usize = 4;

/// The bar: one of them.
const CPU_MS_MAX: f64 = 0.18;
const RATIO_MAX: f64 = 1.0 / 8.0;

/// Measures a listing of all branches and tags.
pub fn measure() -> Vec<Bar> {
    let stage = Stage::set();
    [Kind::LsRefs, Kind::SshLsRefs].map(|kind| compare(&stage, kind)).into()
}

fn compare(stage: &Stage, kind: Kind) -> Bar {
    let body = script::list_request("sha1");
    let call = Call::stateless("version=2");
    let ask_stock = || Server::Stock.converse(&stage.repository.path, &call, &body).stdout;
    let answer_bytes = ask_stock().len() as u64;
    stage.run(kind, IN_FLIGHT, 0, TIME / 4);

    let (mut ours, mut stock, mut rates) =
        (Series::default(), Series::default(), Series::default());
    let (mut failures, mut sum) = (0, crate::load::figures::Figures::default());
    for round in 1..=ROUNDS {
        let run = stage.run(kind, IN_FLIGHT, round, TIME);
        ours.push(run.cpu_ms);
        rates.push(run.rate);
        failures += run.failures;
        sum.merge(&run.figures);
        let before = process::own_children_cpu_time();
        (0..STOCK_PER_RUN).for_each(|_| drop(ask_stock()));
        let used = process::own_children_cpu_time() - before;
        stock.push(used.as_secs_f64() * 1e3 / f64::from(STOCK_PER_RUN));
    }
    let (ratio, cpu_ms) = (ours.ratios(&stock).median(), ours.median());
    let ((low, high), (least, most)) = (stock.spread(), ours.spread());
    let ms = |histogram: &crate::load::histogram::Histogram, share| {
        histogram.quantile(share).as_secs_f64() * 1e3
    };
    // What is short was cut, and what was cut was cheap.
    let is_whole = failures == 0 && sum.bytes >= sum.count * answer_bytes;
    let refs = stage.targets.wants.len();
    Bar {
        what: format!("{kind} of {refs} refs over a sidechannel, server CPU against stock"),
        figure: format!(
            "{cpu_ms:.3} ms, {ratio:.3} of {:.3} ms; {:.0}/s, first byte p50 {:.2} ms, p99 {:.2} \
             ms{}",
            stock.median(),
            rates.median(),
            ms(&sum.first_bytes, 0.5),
            ms(&sum.first_bytes, 0.99),
            if is_whole { "" } else { ", **answers were cut**" },
        ),
        limit: format!("{CPU_MS_MAX} ms, or {RATIO_MAX:.3}"),
        noise: format!("stock {low:.3}–{high:.3} ms, ours {least:.3}–{most:.3} ms"),
        met: is_whole && (cpu_ms <= CPU_MS_MAX || ratio <= RATIO_MAX),
    }
}
