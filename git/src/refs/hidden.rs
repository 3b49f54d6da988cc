//! Hidden refs: `transfer.hideRefs` and `<section>.hideRefs` (git-config(1)).
//!
//! Always true: the last rule that matches decides.
//! Never here: what hiding means for a command.

use bstr::{BStr, BString, ByteSlice};

use crate::config::{BadValue, Config};

/// The rules of one configuration for one section, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HideRules(Vec<Rule>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    shows: bool,
    /// Compared with the name that has the namespace in it.
    is_full: bool,
    prefix: BString,
}

// === impl HideRules ===

impl HideRules {
    /// The rules of `transfer.hideRefs` and `<section>.hideRefs`, for a section such as
    /// `uploadpack`.
    ///
    /// # Errors
    /// A rule without a value, of which git dies.
    pub fn from_config(config: &Config, section: &str) -> Result<Self, BadValue> {
        let own_key = format!("{section}.hiderefs");
        let mut rules = Vec::new();
        for (key, value) in config.entries() {
            if key != "transfer.hiderefs" && key != own_key.as_str() {
                continue;
            }
            let value =
                value.ok_or_else(|| BadValue { key: key.to_string(), value: String::new() })?;
            rules.push(Rule::parse(value));
        }
        Ok(Self(rules))
    }

    /// Whether a ref is hidden. The two names differ only under a namespace.
    pub fn hides(&self, name_without_namespace: &BStr, full_name: &BStr) -> bool {
        let rule = self.0.iter().rfind(|rule| {
            let name = if rule.is_full { full_name } else { name_without_namespace };
            rule.covers(name)
        });
        rule.is_some_and(|rule| !rule.shows)
    }

    /// Whether a ref outside the namespace is hidden: it has a full name only.
    pub fn hides_outside(&self, full_name: &BStr) -> bool {
        let rule = self.0.iter().rfind(|rule| rule.is_full && rule.covers(full_name));
        rule.is_some_and(|rule| !rule.shows)
    }

    /// Bytes that are the same for the same rules only.
    pub fn push_key(&self, key: &mut Vec<u8>) {
        for rule in &self.0 {
            key.extend([u8::from(rule.shows), u8::from(rule.is_full)]);
            key.extend_from_slice(&rule.prefix);
            key.push(b'\n');
        }
        key.push(0);
    }

    /// Whether nothing can be hidden.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|rule| rule.shows)
    }
}

// === impl Rule ===

impl Rule {
    fn parse(value: &BStr) -> Self {
        let text = value.trim_end_with(|byte| byte == '/');
        let (shows, text) = match text.strip_prefix(b"!") {
            Some(text) => (true, text),
            None => (false, text),
        };
        let (is_full, text) = match text.strip_prefix(b"^") {
            Some(text) => (true, text),
            None => (false, text),
        };
        Self { shows, is_full, prefix: text.into() }
    }

    fn covers(&self, name: &BStr) -> bool {
        name.strip_prefix(self.prefix.as_slice())
            .is_some_and(|rest| rest.first().is_none_or(|byte| *byte == b'/'))
    }
}
