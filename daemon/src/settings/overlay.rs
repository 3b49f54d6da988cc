//! Settings from elsewhere that win over those of a file, value by value.
//!
//! Tables are merged; anything else, arrays of tables included, takes the place of the file's.
//!
//! Always true: offsets of an overlay's keys are larger than those of the file and of overlays below
//! it, which is how they are told apart.
//! Never here: where an overlay comes from.

use super::{Document, SettingsError};
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// TOML from elsewhere than a file.
#[derive(Debug)]
pub struct Overlay {
    name: String,
    text: String,
}

// === impl Overlay ===

impl Overlay {
    /// `toml` goes over `document`, as it is now; errors call it `name`.
    pub fn new(name: impl Into<String>, document: &Document<'_>, toml: &str) -> Self {
        let below = document.overlays.last().map_or(document.text.len(), |last| last.text.len());
        Self { name: name.into(), text: format!("{}\n{toml}", " ".repeat(below)) }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether something that begins at `offset` belongs to this one, or to what lies under it.
    pub(super) fn reaches(&self, offset: usize) -> bool {
        offset <= self.text.len()
    }
}

// === impl Document ===

impl<'t> Document<'t> {
    /// Puts `overlay`, which was made for this document, over all that it has so far.
    ///
    /// # Errors
    /// Where it is no TOML.
    pub fn put_over(&mut self, overlay: &'t Overlay) -> Result<(), SettingsError> {
        let parsed = Document::parse(Path::new(&overlay.name), &overlay.text)
            .map_err(|error| SettingsError { line: None, ..error })?;
        merge(&mut self.root, parsed.root);
        self.overlays.push(overlay);
        Ok(())
    }
}

fn merge<'t>(below: &mut DeTable<'t>, above: DeTable<'t>) {
    for (key, value) in above {
        let there = below.get_mut(key.get_ref().as_ref()).map(Spanned::get_mut);
        let (span, value) = (value.span(), value.into_inner());
        match (there, value) {
            (Some(DeValue::Table(below)), DeValue::Table(above)) => merge(below, above),
            (_, value) => {
                // An insertion alone would keep the key, and with it the line, of the file.
                below.remove(key.get_ref().as_ref());
                below.insert(key, Spanned::new(span, value));
            }
        }
    }
}
