//! A TOML file whose values know their lines, and what a program said on top of it.
//!
//! Always true: an error names file, line and full key, or the program, says what is wrong and what
//! is allowed.
//! Never here: which keys a service knows, running a program.

mod overlay;
mod removal;
#[cfg(test)]
mod tests;

pub use self::overlay::Overlay;

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A wrong setting, or a file that is no TOML. Displayed as `file:line: key: what`.
#[derive(Debug)]
pub struct SettingsError {
    /// The file, or what an overlay is called.
    pub origin: String,
    /// Counted from 1; `None` in an overlay.
    pub line: Option<usize>,
    /// Dotted; empty where the text is no TOML.
    pub key: String,
    /// What is wrong, and what is allowed.
    pub what: String,
    /// Of the key, or of the section that lacks it.
    place: Option<Place>,
    /// Where the section begins.
    table: Option<usize>,
}

/// Something of a document that can be taken out of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Where a key begins.
    Key(usize),
    /// Where a table begins.
    Table(usize),
}

/// A parsed file. Borrows its text.
#[derive(Debug)]
pub struct Document<'t> {
    file: &'t Path,
    text: &'t str,
    root: DeTable<'t>,
    /// From the lowest to the highest.
    overlays: Vec<&'t Overlay>,
}

/// One table of a document, with the dotted path that leads to it.
#[derive(Debug, Clone)]
pub struct Section<'d> {
    document: &'d Document<'d>,
    table: &'d DeTable<'d>,
    path: String,
    /// `None`: the root, which is no value of anything.
    start: Option<usize>,
}

/// A key that holds a value, or an empty table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Dotted, array elements not counted: `storage.name`.
    pub path: String,
    /// Where the key begins.
    start: usize,
    /// Whether the value is an empty string, which Go cannot tell from an absent key.
    pub empty: bool,
}

// === impl SettingsError ===

impl SettingsError {
    /// Whether two are about one and the same table, of several in an array perhaps.
    pub fn is_in_table_of(&self, other: &Self) -> bool {
        self.table == other.table
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(out, "{}:{line}: ", self.origin)?,
            None => write!(out, "{}: ", self.origin)?,
        }
        if !self.key.is_empty() {
            write!(out, "{}: ", self.key)?;
        }
        out.write_str(&self.what)
    }
}

impl std::error::Error for SettingsError {}

// === impl Document ===

impl<'t> Document<'t> {
    /// Parses `text`, which was read from `file`; the name is used in errors only.
    pub fn parse(file: &'t Path, text: &'t str) -> Result<Self, SettingsError> {
        match DeTable::parse(text) {
            Ok(root) => Ok(Self { file, text, root: root.into_inner(), overlays: Vec::new() }),
            Err(error) => Err(SettingsError {
                origin: file.display().to_string(),
                line: Some(line_of(text, error.span().map_or(0, |span| span.start))),
                key: String::new(),
                what: error.message().trim_end().replace('\n', ", "),
                place: None,
                table: None,
            }),
        }
    }

    /// The table outside of any `[section]`.
    pub fn root(&self) -> Section<'_> {
        Section { document: self, table: &self.root, path: String::new(), start: None }
    }

    /// Every key that holds a value, in the order of the file.
    pub fn leaves(&self) -> Vec<Leaf> {
        let mut leaves = Vec::new();
        self.collect("", &self.root, &mut leaves);
        leaves.sort_by_key(|leaf| leaf.start);
        leaves
    }

    /// The file that it was parsed for.
    pub fn file(&self) -> &'t Path {
        self.file
    }

    /// A digest of what each key holds, the tables of an array taken together: whether two files
    /// say the same, without keeping what they say.
    pub fn digests(&self) -> BTreeMap<String, u64> {
        let mut hashers = BTreeMap::new();
        digest_table("", &self.root, &mut hashers);
        hashers.into_iter().map(|(key, hasher)| (key, hasher.finish())).collect()
    }

    /// An error about one of [`Document::leaves`].
    pub fn error(&self, leaf: &Leaf, what: impl Into<String>) -> SettingsError {
        self.fault(leaf.path.clone(), Some(Place::Key(leaf.start)), what.into())
    }

    fn fault(&self, key: String, place: Option<Place>, what: String) -> SettingsError {
        let offset = match place {
            None => 0,
            Some(Place::Key(offset) | Place::Table(offset)) => offset,
        };
        let overlay = self.overlays.iter().find(|overlay| overlay.reaches(offset));
        let (origin, line) = match overlay {
            Some(overlay) if offset > self.text.len() => (overlay.name().to_owned(), None),
            _ => (self.file.display().to_string(), Some(line_of(self.text, offset))),
        };
        SettingsError { origin, line, key, what, place, table: None }
    }

    fn collect(&self, path: &str, table: &DeTable<'_>, leaves: &mut Vec<Leaf>) {
        for (key, value) in table {
            let path = join(path, key.get_ref());
            let start = key.span().start;
            match value.get_ref() {
                DeValue::Table(inner) if !inner.is_empty() => self.collect(&path, inner, leaves),
                DeValue::Array(items) if items.iter().any(|item| item.get_ref().is_table()) => {
                    for item in items.iter().filter_map(|item| item.get_ref().as_table()) {
                        self.collect(&path, item, leaves);
                    }
                }
                DeValue::String(_)
                | DeValue::Integer(_)
                | DeValue::Float(_)
                | DeValue::Boolean(_)
                | DeValue::Datetime(_)
                | DeValue::Array(_)
                | DeValue::Table(_) => {
                    let empty = value.get_ref().as_str() == Some("");
                    leaves.push(Leaf { path, start, empty });
                }
            }
        }
    }
}

// === impl Section ===

impl<'d> Section<'d> {
    /// Whether the key is present, whatever it holds.
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// An error about a key of this section, or about the section itself if it lacks the key.
    pub fn error(&self, key: &str, what: impl Into<String>) -> SettingsError {
        let place = match self.table.get_key_value(key) {
            Some((key, _)) => Some(Place::Key(key.span().start)),
            None => self.start.map(Place::Table),
        };
        let fault = self.document.fault(join(&self.path, key), place, what.into());
        SettingsError { table: self.start, ..fault }
    }

    /// A string.
    pub fn string(&self, key: &str) -> Result<Option<&'d str>, SettingsError> {
        self.typed(key, "a string", DeValue::as_str)
    }

    /// `true` or `false`.
    pub fn boolean(&self, key: &str) -> Result<Option<bool>, SettingsError> {
        self.typed(key, "true or false", DeValue::as_bool)
    }

    /// A whole number of at least `min` and at most `max`.
    pub fn integer(
        &self,
        key: &str,
        min: usize,
        max: usize,
    ) -> Result<Option<usize>, SettingsError> {
        let allowed = format!("a whole number from {min} to {max}");
        let number = self.typed(key, &allowed, |value| {
            let number = value.as_integer()?;
            Some(usize::from_str_radix(number.as_str(), number.radix()))
        })?;
        match number {
            None => Ok(None),
            Some(Ok(number)) if (min..=max).contains(&number) => Ok(Some(number)),
            Some(_) => Err(self.error(key, format!("out of range, allowed: {allowed}"))),
        }
    }

    /// As [`Self::integer`] from 0 on; a number below zero is 0, as Gitaly takes limits.
    pub fn amount(&self, key: &str, max: usize) -> Result<Option<usize>, SettingsError> {
        let is_negative = |value: &DeValue<'_>| {
            value.as_integer().is_some_and(|number| number.as_str().starts_with('-'))
        };
        match self.table.get(key) {
            Some(value) if is_negative(value.get_ref()) => Ok(Some(0)),
            _ => self.integer(key, 0, max),
        }
    }

    /// A number of at least 0, with or without a fraction.
    pub fn number(&self, key: &str, max: f64) -> Result<Option<f64>, SettingsError> {
        let allowed = format!("a number from 0 to {max}");
        let number = self.typed(key, &allowed, |value| {
            let text = value.as_float().map(|float| float.as_str().to_owned());
            text.or_else(|| value.as_integer().map(|integer| integer.as_str().to_owned()))
        })?;
        let Some(text) = number else { return Ok(None) };
        match text.parse::<f64>() {
            Ok(number) if (0.0..=max).contains(&number) => Ok(Some(number)),
            _ => Err(self.error(key, format!("out of range, allowed: {allowed}"))),
        }
    }

    /// An array of numbers, whole or not.
    pub fn numbers(&self, key: &str) -> Result<Option<Vec<f64>>, SettingsError> {
        let number = |value: &Spanned<DeValue<'_>>| match value.get_ref() {
            DeValue::Float(float) => float.as_str().parse().ok(),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .ok()
                .map(|number| number as f64),
            DeValue::String(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => None,
        };
        self.typed(key, "an array of numbers", |value| {
            value.as_array()?.iter().map(number).collect::<Option<Vec<f64>>>()
        })
    }

    /// A string in the notation of Go's durations: `1m30s`.
    pub fn duration(&self, key: &str) -> Result<Option<Duration>, SettingsError> {
        self.parsed(key, |text| crate::duration::parse(text).map_err(|error| error.to_string()))
    }

    /// A string and what `parse` makes of it.
    pub fn parsed<T>(
        &self,
        key: &str,
        parse: impl FnOnce(&'d str) -> Result<T, String>,
    ) -> Result<Option<T>, SettingsError> {
        let Some(text) = self.string(key)? else { return Ok(None) };
        parse(text).map(Some).map_err(|what| self.error(key, what))
    }

    /// A `[table]` below this one.
    pub fn section(&self, key: &str) -> Result<Option<Section<'d>>, SettingsError> {
        let table = self.typed(key, "a table", |value| value.as_table())?;
        Ok(table.map(|table| self.below(key, table, self.table.get(key))))
    }

    /// The elements of an `[[array of tables]]`; none if it is absent.
    pub fn sections(&self, key: &str) -> Result<Vec<Section<'d>>, SettingsError> {
        let allowed = "an array of tables";
        let Some(items) = self.typed(key, allowed, |value| value.as_array())? else {
            return Ok(Vec::new());
        };
        items
            .iter()
            .map(|item| match item.get_ref().as_table() {
                Some(table) => Ok(self.below(key, table, Some(item))),
                None => Err(self.error(key, format!("not {allowed}"))),
            })
            .collect()
    }

    fn below(
        &self,
        key: &str,
        table: &'d DeTable<'d>,
        value: Option<&Spanned<DeValue<'d>>>,
    ) -> Section<'d> {
        let start = value.map(|value| value.span().start);
        Section { document: self.document, table, path: join(&self.path, key), start }
    }

    fn typed<T>(
        &self,
        key: &str,
        allowed: &str,
        get: impl FnOnce(&'d DeValue<'d>) -> Option<T>,
    ) -> Result<Option<T>, SettingsError> {
        let Some(value) = self.table.get(key) else { return Ok(None) };
        let value = value.get_ref();
        match get(value) {
            Some(typed) => Ok(Some(typed)),
            None => {
                let found = value.type_str();
                Err(self.error(key, format!("is of type {found}, allowed: {allowed}")))
            }
        }
    }
}

fn digest_table(path: &str, table: &DeTable<'_>, into: &mut BTreeMap<String, DefaultHasher>) {
    for (key, value) in table {
        digest(&join(path, key.get_ref()), value.get_ref(), into);
    }
}

fn digest(path: &str, value: &DeValue<'_>, into: &mut BTreeMap<String, DefaultHasher>) {
    let mut feed = |text: &str| {
        let hasher = into.entry(path.to_owned()).or_default();
        (value.type_str(), text).hash(hasher);
    };
    match value {
        DeValue::String(text) => feed(text),
        DeValue::Integer(number) => feed(&format!("{}:{}", number.radix(), number.as_str())),
        DeValue::Float(number) => feed(number.as_str()),
        DeValue::Boolean(is_so) => feed(&is_so.to_string()),
        DeValue::Datetime(time) => feed(&time.to_string()),
        DeValue::Array(items) => {
            feed(&items.len().to_string());
            items.iter().for_each(|item| digest(path, item.get_ref(), into));
        }
        DeValue::Table(table) => digest_table(path, table, into),
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}
