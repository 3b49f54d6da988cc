//! One row of a table: seven columns, parted by tabs.

/// First column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Rpc,
    Message,
    Field,
    Reserved,
    Enum,
}

/// The columns, empty where a kind does not have one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    pub(crate) kind: Kind,
    /// Service, message or enum, with its package.
    pub(crate) owner: String,
    /// RPC, field or value of an enum.
    pub(crate) name: String,
    /// Of a field, of a value, or reserved. For an RPC: operation and scope, or `intercepted`.
    pub(crate) number: String,
    /// Type of a field, or request and response of an RPC.
    pub(crate) shape: String,
    /// Options and oneof of a field.
    pub(crate) annotations: String,
    /// The `.proto` file.
    pub(crate) file: String,
}

/// Kind, owner, name, reserved number.
pub(crate) type Subject<'a> = (Kind, &'a str, &'a str, &'a str);

// === impl Row ===

impl Row {
    /// What is described, as opposed to how: the versions may differ in the rest.
    pub(crate) fn subject(&self) -> Subject<'_> {
        let number = if self.kind == Kind::Reserved { &self.number } else { "" };
        (self.kind, &self.owner, &self.name, number)
    }

    /// Copies of the row, each with one column changed that this kind has.
    pub(crate) fn changes(&self) -> Vec<Self> {
        let mut changes = Vec::new();
        let mut change = |set: &dyn Fn(&mut Self)| {
            let mut row = self.clone();
            set(&mut row);
            changes.push(row);
        };
        change(&|row| row.owner.push('X'));
        change(&|row| row.file.insert(0, 'x'));
        if self.kind != Kind::Message {
            change(&|row| row.number.insert(0, '9'));
        }
        if matches!(self.kind, Kind::Rpc | Kind::Field | Kind::Enum) {
            change(&|row| row.name.push('x'));
        }
        if matches!(self.kind, Kind::Rpc | Kind::Field) {
            change(&|row| row.shape.insert_str(0, "stream "));
            change(&|row| row.number.push_str(",deprecated"));
        }
        if self.kind == Kind::Field {
            change(&|row| row.annotations.push_str("target_repository"));
        }
        changes
    }
}

/// Reads a table.
pub(crate) fn table(text: &str) -> Vec<Row> {
    text.lines().map(parse).collect()
}

fn parse(line: &str) -> Row {
    let columns: Vec<&str> = line.split('\t').collect();
    let [kind, owner, name, number, shape, annotations, file] = columns[..] else {
        panic!("not seven columns: {line:?}");
    };
    let kind = match kind {
        "rpc" => Kind::Rpc,
        "message" => Kind::Message,
        "field" => Kind::Field,
        "reserved" => Kind::Reserved,
        "enum" => Kind::Enum,
        _ => panic!("unknown kind: {line:?}"),
    };
    Row {
        kind,
        owner: owner.to_owned(),
        name: name.to_owned(),
        number: number.to_owned(),
        shape: shape.to_owned(),
        annotations: annotations.to_owned(),
        file: file.to_owned(),
    }
}
