//! What a service shows of itself to people: sections that their owners fill, as a page and as JSON.
//!
//! ```text
//!   owner ── add(section) ──► Status ── read() ──► Report ──► html::page
//!                                                         └─► json::document
//! ```
//!
//! Always true:
//! - a section is read when somebody looks, on the thread of the one who looks;
//! - page and JSON are made from the same values.
//!
//! Never here: what a service has to show; HTTP.

pub mod html;
pub mod json;
pub mod words;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Text of one value; what is longer is cut. Names of repositories may have 4,096 bytes.
const TEXT_BYTES_MAX: usize = 300;

/// Gives a section's content. It runs on the thread that answers, and must not wait for anything.
type Source = Box<dyn Fn() -> Content + Send + Sync>;

/// The sections of one service; clones share them.
#[derive(Clone)]
pub struct Status {
    shared: Arc<Shared>,
}

struct Shared {
    about: About,
    began: Instant,
    entries: Mutex<Vec<Entry>>,
}

struct Entry {
    place: u8,
    heading: Heading,
    source: Source,
}

/// Which service it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About {
    /// `gitring-node`
    pub service: &'static str,
    /// Of the service.
    pub version: &'static str,
}

/// How a section is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heading {
    /// In JSON: lower case, with underscores.
    pub key: &'static str,
    /// For people.
    pub title: &'static str,
}

/// Everything that there was to show at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Which service it is of.
    pub about: About,
    /// Since its start.
    pub uptime: Duration,
    /// The moment.
    pub at: SystemTime,
    /// In the order in which they are shown.
    pub sections: Vec<(Heading, Content)>,
}

/// What a section shows.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// The few figures that matter most, shown large.
    Headline(Vec<Figure>),
    /// Single figures.
    Figures(Vec<Figure>),
    /// Many things of one kind.
    Table(Table),
}

/// One value and what it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// In JSON: lower case, with underscores and the unit.
    pub key: &'static str,
    /// For people.
    pub label: &'static str,
    /// The value.
    pub value: Value,
}

/// Rows with as many values as there are columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Key and label of each column, as in [`Figure`].
    pub columns: &'static [(&'static str, &'static str)],
    /// From the most to the least important.
    pub rows: Vec<Vec<Value>>,
    /// What people read where there is no row.
    pub empty: &'static str,
}

/// A value with its unit.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// It is not known.
    Unknown,
    /// Anything, also what clients have chosen.
    Text(String),
    /// How many.
    Count(u64),
    /// How much data.
    Bytes(u64),
    /// How long.
    Seconds(f64),
    /// A share of a whole, from 0 to 1.
    Ratio(f64),
    /// So many of so many at most.
    Fill {
        /// In use.
        used: u64,
        /// There are.
        max: u64,
        /// Both are bytes.
        is_bytes: bool,
    },
    /// A state, and whether it is a good one.
    State(String, Tone),
}

/// How a state is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// Works, with a loss.
    Warning,
    /// Does not work.
    Bad,
}

// === impl Status ===

impl Status {
    /// Without any section.
    pub fn new(about: About) -> Self {
        let (began, entries) = (Instant::now(), Mutex::default());
        Self { shared: Arc::new(Shared { about, began, entries }) }
    }

    /// Adds a section. Those with a lower `place` are shown first.
    pub fn add(
        &self,
        place: u8,
        heading: Heading,
        source: impl Fn() -> Content + Send + Sync + 'static,
    ) {
        let mut entries = self.shared.lock();
        entries.push(Entry { place, heading, source: Box::new(source) });
        entries.sort_by_key(|entry| entry.place);
    }

    /// What there is to show now.
    pub fn read(&self) -> Report {
        let shared = &self.shared;
        let entries = shared.lock();
        let read = |entry: &Entry| (entry.heading, (entry.source)());
        Report {
            about: shared.about,
            uptime: shared.began.elapsed(),
            at: SystemTime::now(),
            sections: entries.iter().map(read).collect(),
        }
    }
}

// === impl Shared ===

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Figure ===

impl Figure {
    /// A value under its name.
    pub fn new(key: &'static str, label: &'static str, value: Value) -> Self {
        Self { key, label, value }
    }
}

// === impl Value ===

impl Value {
    /// Text, cut where it is very long.
    pub fn text(text: impl AsRef<str>) -> Self {
        let text = text.as_ref();
        if text.len() <= TEXT_BYTES_MAX {
            return Self::Text(text.to_owned());
        }
        let cut = text.floor_char_boundary(TEXT_BYTES_MAX);
        Self::Text(format!("{}…", &text[..cut]))
    }

    /// A share, unknown where there is no whole.
    pub fn ratio(part: f64, whole: f64) -> Self {
        if whole > 0.0 { Self::Ratio((part / whole).clamp(0.0, 1.0)) } else { Self::Unknown }
    }
}

impl From<Duration> for Value {
    fn from(duration: Duration) -> Self {
        Self::Seconds(duration.as_secs_f64())
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Status").field("about", &self.shared.about).finish_non_exhaustive()
    }
}
