//! Commands for symbolic refs.
//!
//! Always true: of two commands for one ref, one by its name and one by a symbolic ref, one is done,
//! and only if both say the same.
//! Never here: where symbolic refs lead.

use std::collections::HashMap;

use bstr::{BString, ByteSlice};

use super::super::{Command, Commands, PushRequest};
use super::{Judge, Message};

impl Judge {
    /// Commands for symbolic refs: one whose target has a command of its own is done by that, if
    /// both say the same.
    pub fn aliases(&self, request: &mut PushRequest) -> Vec<Message> {
        let mut messages = Vec::new();
        let commands = &mut request.commands;
        let mut places: Option<HashMap<BString, usize>> = None;
        for place in 0..commands.len() {
            if commands.state(place).refused.is_some() {
                continue;
            }
            let full = self.server.namespace.full_name(commands.name(place));
            let Some(target) = self.snapshot.symbolic_target(full.as_bstr()) else { continue };
            let Some(target) = target else {
                let name = commands.name(place);
                let text = format!("refusing update to broken symref '{name}'");
                messages.push(Message::Error(text));
                let state = commands.state_mut(place);
                state.is_implied = true;
                state.refuse("broken symref");
                continue;
            };
            // Few pushes name a symbolic ref.
            let places = places.get_or_insert_with(|| first_places(commands));
            let stripped = self.server.namespace.strip(target.as_bstr());
            let Some(&other) = stripped.and_then(|name| places.get(name.as_bytes())) else {
                continue;
            };
            if other == place {
                continue;
            }
            commands.state_mut(place).is_implied = true;
            let [one, two] = [place, other].map(|at| commands.get(at));
            if (one.old, one.new) != (two.old, two.new) {
                messages.push(self.inconsistent(&one, &two));
                commands.state_mut(other).is_implied = true;
                for place in [place, other] {
                    commands.state_mut(place).refused = Some("inconsistent aliased update");
                }
            }
        }
        messages
    }

    fn inconsistent(&self, one: &Command, two: &Command) -> Message {
        let shown = |command: &Command| {
            let [old, new] = [command.old, command.new].map(|id| id.to_hex_with_len(7).to_string());
            format!("'{}' ({old}..{new})", command.name)
        };
        Message::Error(format!(
            "refusing inconsistent update between symref {} and its target {}",
            shown(one),
            shown(two)
        ))
    }
}

/// Which command is the first for a name.
fn first_places(commands: &Commands) -> HashMap<BString, usize> {
    let mut places = HashMap::with_capacity(commands.len());
    for (place, command) in commands.iter().enumerate() {
        places.entry(command.name.to_owned()).or_insert(place);
    }
    places
}
