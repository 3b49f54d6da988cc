//! Taking out of a document what an error is about, so that those behind it are found.
//!
//! Never here: which errors there are.

use super::{Document, Place, SettingsError};
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

// === impl Document ===

impl Document<'_> {
    /// Takes out what an error is about, so that the rest can be looked at; whether there was
    /// anything to take out.
    pub fn remove(&mut self, error: &SettingsError) -> bool {
        error.place.is_some_and(|place| remove(&mut self.root, place))
    }
}

fn remove(table: &mut DeTable<'_>, place: Place) -> bool {
    let found = table.iter().find_map(|(key, value)| {
        let is_it = Place::Key(key.span().start) == place || is_table_at(value, place);
        is_it.then(|| key.get_ref().to_string())
    });
    if let Some(key) = found {
        return table.remove(key.as_str()).is_some();
    }
    table.iter_mut().any(|(_, value)| match value.get_mut() {
        DeValue::Table(inner) => remove(inner, place),
        DeValue::Array(items) => remove_item(items, place),
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => false,
    })
}

fn remove_item(items: &mut DeArray<'_>, place: Place) -> bool {
    if items.iter().any(|item| is_table_at(item, place)) {
        let mut kept = DeArray::new();
        for item in std::mem::replace(items, DeArray::new()) {
            if !is_table_at(&item, place) {
                kept.push(item);
            }
        }
        *items = kept;
        return true;
    }
    items.iter_mut().any(|item| {
        let DeValue::Table(inner) = item.get_mut() else { return false };
        remove(inner, place)
    })
}

fn is_table_at(value: &Spanned<DeValue<'_>>, place: Place) -> bool {
    value.get_ref().is_table() && Place::Table(value.span().start) == place
}
