//! Those who use the cache: readers and producers of many tempers.
//!
//! Always true: a client that is left alone ends.
//! Never here: faults.

use crate::executor::{ProcessId, race};
use crate::handles::{Found, WatchedLead, WatchedReader};
use crate::rng::Rng;
use crate::world::World;
use bytes::Bytes;
use gitring_streamcache::{FetchError, Key, WriteError};
use std::time::Duration;

/// Bytes around what is served from a foreign file.
const MARGIN_BYTES: usize = 100;
/// A producer that hangs is stopped after this time.
const HANG_MAX: Duration = Duration::from_secs(900);
/// A client pauses so often for one stream: virtual time costs real time, for houses are kept.
const PAUSES_MAX: u32 = 20;
/// Reads that a client drops before it waits as everybody does.
const DROPPED_READS_MAX: u32 = 100;

/// How one client reads.
#[derive(Debug, Clone)]
pub(crate) struct Temper {
    /// Before it asks for more, at most.
    pub(crate) pause_max: Duration,
    /// In one thousandth of its reads.
    pub(crate) pauses: u32,
    pub(crate) read_bytes_max: u64,
    /// Leaves after so many bytes.
    pub(crate) leaves_after: Option<u64>,
    /// Drops a read that takes longer, and asks again.
    pub(crate) patience: Option<Duration>,
    /// Stays so long after the end.
    pub(crate) lingers: Duration,
}

/// How one producer produces.
#[derive(Debug, Clone)]
pub(crate) struct Effort {
    pub(crate) length: u64,
    pub(crate) chunk_max: u64,
    /// In one thousandth of its chunks.
    pub(crate) pauses: u32,
    pub(crate) pause_max: Duration,
    pub(crate) ending: Ending,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Finish,
    /// Fails with a reason after so many bytes.
    Fail(u64),
    /// Is dropped without a word after so many bytes.
    Vanish(u64),
    /// The stream lies in a file already.
    Adopt,
    /// Waits until everybody has left, or too long.
    Hang(u64),
}

/// A content that no other run has.
pub(crate) fn content(rng: &mut Rng, length: u64) -> Bytes {
    let mut bytes = Vec::with_capacity(length as usize + 8);
    while bytes.len() < length as usize {
        bytes.extend_from_slice(&rng.next().to_le_bytes());
    }
    bytes.truncate(length as usize);
    bytes.into()
}

// === impl World ===

impl World {
    /// Fetches a key once and reads it; whether all of it came.
    pub(crate) async fn get(
        &self,
        process: ProcessId,
        key: Key,
        temper: &Temper,
        effort: Effort,
    ) -> Result<Outcome, FetchError> {
        let mut rng = self.rng();
        let new = {
            let mut rng = rng.fork();
            move || content(&mut rng, effort.length)
        };
        let Found { lookup, mut reader, lead } = self.fetch(process, key, new).await?;
        if let Some(lead) = lead {
            let name = format!("producer {} of {key}", lead.run());
            let (world, rng) = (self.clone(), rng.fork());
            let work = async move { world.produce(process, lead, effort, rng).await };
            self.spawn_mortal(process, name, work);
        }
        let begun = self.executor.now();
        let whole = self.read(&mut reader, temper, &mut rng).await;
        let took = self.executor.now() - begun;
        self.executor.sleep(temper.lingers).await;
        Ok(Outcome { lookup, whole, took })
    }

    async fn read(&self, reader: &mut WatchedReader, temper: &Temper, rng: &mut Rng) -> bool {
        let (mut dropped, mut pauses) = (0, 0);
        loop {
            let length = reader.length_bytes();
            if temper.leaves_after.is_some_and(|end| reader.position() >= end) {
                return false;
            }
            if pauses < PAUSES_MAX && rng.per_mille(temper.pauses) {
                pauses += 1;
                let micros = rng.skewed(temper.pause_max.as_micros() as u64);
                self.executor.sleep(Duration::from_micros(micros)).await;
            }
            let bytes_max = 1 + rng.skewed(temper.read_bytes_max - 1) as usize;
            let answer = match temper.patience.filter(|_| dropped < DROPPED_READS_MAX) {
                None => reader.read(bytes_max).await,
                Some(patience) => {
                    let read = reader.read(bytes_max);
                    match race(read, self.executor.sleep(patience)).await {
                        Ok(answer) => answer,
                        Err(()) => {
                            dropped += 1;
                            continue;
                        }
                    }
                }
            };
            match answer {
                Ok(Some(_)) => {}
                Ok(None) => {
                    let length = reader.length_bytes().or(length);
                    assert_eq!(length, Some(reader.position()), "length of a whole stream");
                    return true;
                }
                Err(_) => return false,
            }
        }
    }

    async fn produce(&self, process: ProcessId, lead: WatchedLead, effort: Effort, mut rng: Rng) {
        match effort.ending {
            Ending::Adopt => self.adopt(process, lead, &mut rng).await,
            Ending::Finish => {
                if let Some(lead) = self.write(lead, &effort, effort.length, &mut rng).await {
                    lead.finish().await;
                }
            }
            Ending::Fail(end) => {
                if let Some(lead) = self.write(lead, &effort, end, &mut rng).await {
                    lead.fail("pack-objects died");
                }
            }
            Ending::Vanish(end) => drop(self.write(lead, &effort, end, &mut rng).await),
            Ending::Hang(end) => {
                if let Some(lead) = self.write(lead, &effort, end, &mut rng).await {
                    let patience = self.executor.sleep(HANG_MAX);
                    if race(lead.abandoned(), patience).await.is_err() {
                        lead.was_not_abandoned();
                        lead.fail("timed out");
                    }
                }
            }
        }
    }

    /// Writes up to `end`; `None` once nobody reads, as a child would be killed.
    async fn write(
        &self,
        mut lead: WatchedLead,
        effort: &Effort,
        end: u64,
        rng: &mut Rng,
    ) -> Option<WatchedLead> {
        let mut left = end.min(effort.length);
        while left > 0 {
            if rng.per_mille(effort.pauses) {
                let micros = rng.skewed(effort.pause_max.as_micros() as u64);
                let pause = self.executor.sleep(Duration::from_micros(micros));
                if race(lead.abandoned(), pause).await.is_ok() {
                    return None;
                }
                lead.was_not_abandoned();
            }
            let length = (1 + rng.skewed(effort.chunk_max - 1)).min(left);
            match lead.write(length as usize).await {
                Ok(()) => left -= length,
                Err(WriteError::Abandoned) => return None,
            }
        }
        Some(lead)
    }

    async fn adopt(&self, process: ProcessId, lead: WatchedLead, rng: &mut Rng) {
        let payload = self.model.state().runs[lead.run()].content.clone();
        let before = rng.below(MARGIN_BYTES as u64) as usize;
        let mut file = vec![0xff; before];
        file.extend_from_slice(&payload);
        file.extend_from_slice(&[0xff; MARGIN_BYTES]);
        match self.foreign_file(process, &file).await {
            Some(file) => {
                let begin = before as u64;
                lead.adopt(file, begin..begin + payload.len() as u64).await;
            }
            None => lead.fail("no such pack"),
        }
    }
}

/// What a client came away with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outcome {
    pub(crate) lookup: gitring_streamcache::Lookup,
    pub(crate) whole: bool,
    pub(crate) took: Duration,
}

// === impl Temper ===

impl Temper {
    /// As fast as it goes, to the end.
    pub(crate) fn fast() -> Self {
        Self {
            pause_max: Duration::ZERO,
            pauses: 0,
            read_bytes_max: 1 << 16,
            leaves_after: None,
            patience: None,
            lingers: Duration::ZERO,
        }
    }

    pub(crate) fn random(rng: &mut Rng) -> Self {
        let pause_max = *rng.pick(&[1, 50, 5_000, 90_000]);
        let leaves = rng.per_mille(200);
        let impatient = rng.per_mille(150);
        let lingers = rng.per_mille(150);
        Self {
            pause_max: Duration::from_millis(pause_max),
            pauses: *rng.pick(&[0, 0, 100, 500]),
            read_bytes_max: *rng.pick(&[64, 1 << 10, 1 << 14, 1 << 18]),
            leaves_after: leaves.then(|| rng.skewed(1 << 16)),
            patience: impatient.then(|| Duration::from_micros(1 + rng.skewed(2_000_000))),
            lingers: Duration::from_millis(if lingers { rng.skewed(200_000) } else { 0 }),
        }
    }
}

// === impl Effort ===

impl Effort {
    /// All of it at once.
    pub(crate) fn finish(length: u64) -> Self {
        Self {
            length,
            chunk_max: 1 << 12,
            pauses: 0,
            pause_max: Duration::ZERO,
            ending: Ending::Finish,
        }
    }

    pub(crate) fn random(rng: &mut Rng) -> Self {
        let length = rng.skewed(1 << 16);
        let end = rng.below(length + 1);
        Self {
            length,
            chunk_max: *rng.pick(&[256, 1 << 10, 1 << 12, 1 << 15]),
            pauses: *rng.pick(&[0, 0, 100, 500]),
            pause_max: Duration::from_millis(*rng.pick(&[1, 100, 5_000])),
            ending: match rng.below(20) {
                0 => Ending::Fail(end),
                1 => Ending::Vanish(end),
                2 => Ending::Hang(end),
                3 | 4 => Ending::Adopt,
                _ => Ending::Finish,
            },
        }
    }
}
