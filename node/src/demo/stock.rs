//! Stock git as the other server of the demo.
//!
//! Always true: every request leaves one line in `stock.costs` and one event per process in
//! `stock.trace`; both are read and emptied per request.
//!
//! Never here: a listener. Stock git serves each client over a pipe.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::client::Programs;
use super::{Cost, DemoError};

/// Files that stock servers write their costs to.
pub(crate) struct StockServer {
    costs: PathBuf,
    trace: PathBuf,
    programs: Programs,
}

// === impl StockServer ===

impl StockServer {
    /// Prepares the command that clients start.
    pub(crate) fn new(folder: &Path) -> Result<Self, DemoError> {
        let program = std::env::current_exe()
            .map_err(|source| DemoError::Io { what: "path of this program".to_owned(), source })?;
        let (costs, trace) = (folder.join("stock.costs"), folder.join("stock.trace"));
        // trace2 writes one `start` event for each git process, children included.
        let line = |command: &str| {
            let (trace, program) = (trace.display(), program.display());
            let costs = costs.display();
            format!("GIT_TRACE2_EVENT='{trace}' '{program}' demo measure '{costs}' git {command}")
        };
        let (upload_pack, receive_pack) = (line("upload-pack"), line("receive-pack"));
        Ok(Self { programs: Programs { upload_pack, receive_pack }, costs, trace })
    }

    /// What clients start.
    pub(crate) fn programs(&self) -> Programs {
        self.programs.clone()
    }

    /// Lets a client play, and returns its wall time and what it cost.
    pub(crate) fn measure(
        &self,
        play: impl FnOnce() -> Result<(), DemoError>,
    ) -> Result<(Duration, Cost), DemoError> {
        for file in [&self.costs, &self.trace] {
            fs::write(file, "")
                .map_err(|source| DemoError::Io { what: file.display().to_string(), source })?;
        }
        let start = Instant::now();
        play()?;
        let wall = start.elapsed();
        Ok((wall, self.read()))
    }

    fn read(&self) -> Cost {
        let costs = fs::read_to_string(&self.costs).unwrap_or_default();
        let mut cost = Cost::default();
        for line in costs.lines() {
            let mut numbers = line.split(' ').filter_map(|word| word.parse::<u64>().ok());
            cost.bytes += numbers.next().unwrap_or(0);
            cost.cpu_ms += numbers.next().unwrap_or(0);
        }
        let trace = fs::read_to_string(&self.trace).unwrap_or_default();
        let started = trace.lines().filter(|line| line.contains("\"event\":\"start\""));
        cost.processes = started.count() as u64;
        cost
    }
}
