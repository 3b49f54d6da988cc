//! The rows of compiled descriptors, in the words of the tables.

use std::collections::BTreeSet;

use prost_reflect::{
    DescriptorPool, DynamicMessage, EnumDescriptor, FieldDescriptor, MessageDescriptor,
    ReflectMessage, ServiceDescriptor,
};

use super::row::{Kind, Row};

/// Rows of all files of the package but `lint.proto`, which defines the options.
pub(crate) fn rows(descriptors: &[u8]) -> BTreeSet<Row> {
    let pool = DescriptorPool::decode(descriptors).unwrap();
    let mut rows = Rows { rows: BTreeSet::new() };
    for service in pool.services() {
        rows.service(&service);
    }
    for message in pool.all_messages().filter(|message| ours(message.parent_file().name())) {
        rows.message(&message);
    }
    for enumeration in pool.all_enums().filter(|one| ours(one.parent_file().name())) {
        rows.enumeration(&enumeration);
    }
    rows.rows
}

/// Names that a message or an enum reserves.
pub(crate) fn reserved_names(descriptors: &[u8]) -> Vec<String> {
    let pool = DescriptorPool::decode(descriptors).unwrap();
    let mut names = Vec::new();
    for message in pool.all_messages().filter(|message| ours(message.parent_file().name())) {
        names.extend(message.reserved_names().map(str::to_owned));
    }
    for enumeration in pool.all_enums().filter(|one| ours(one.parent_file().name())) {
        names.extend(enumeration.reserved_names().map(str::to_owned));
    }
    names
}

fn ours(file: &str) -> bool {
    file != "lint.proto" && !file.starts_with("google/protobuf/")
}

struct Rows {
    rows: BTreeSet<Row>,
}

// === impl Rows ===

impl Rows {
    fn service(&mut self, service: &ServiceDescriptor) {
        let pool = service.parent_pool();
        let intercepted = is_set(pool, &service.options(), "intercepted");
        assert!(service.methods().len() > 0, "{service:?} is empty");
        for method in service.methods() {
            let options = method.options();
            let operation = operation(pool, &options);
            let mut number = match (intercepted, operation) {
                (true, None) => "intercepted".to_owned(),
                (false, Some(operation)) => operation,
                (intercepted, operation) => format!("intercepted: {intercepted}, {operation:?}"),
            };
            if is_deprecated(&options) {
                number.push_str(",deprecated");
            }
            let stream = |streams: bool| if streams { "stream " } else { "" };
            let shape = format!(
                "{}{} -> {}{}",
                stream(method.is_client_streaming()),
                method.input().full_name(),
                stream(method.is_server_streaming()),
                method.output().full_name()
            );
            let file = method.parent_file();
            self.push(Kind::Rpc, service.full_name(), file.name(), |row| {
                row.name = method.name().to_owned();
                row.number = number;
                row.shape = shape;
            });
        }
    }

    fn message(&mut self, message: &MessageDescriptor) {
        if message.is_map_entry() {
            return;
        }
        let (owner, file) = (message.full_name(), message.parent_file());
        self.push(Kind::Message, owner, file.name(), |_| {});
        for field in message.fields() {
            self.push(Kind::Field, owner, file.name(), |row| {
                row.name = field.name().to_owned();
                row.number = field.number().to_string();
                row.shape = shape(&field);
                row.annotations = annotations(&field);
            });
        }
        for number in message.reserved_ranges().flatten() {
            self.push(Kind::Reserved, owner, file.name(), |row| row.number = number.to_string());
        }
    }

    fn enumeration(&mut self, enumeration: &EnumDescriptor) {
        let (owner, file) = (enumeration.full_name(), enumeration.parent_file());
        for value in enumeration.values() {
            self.push(Kind::Enum, owner, file.name(), |row| {
                row.name = value.name().to_owned();
                row.number = value.number().to_string();
            });
        }
        for number in enumeration.reserved_ranges().flatten() {
            self.push(Kind::Reserved, owner, file.name(), |row| row.number = number.to_string());
        }
    }

    fn push(&mut self, kind: Kind, owner: &str, file: &str, fill: impl FnOnce(&mut Row)) {
        let mut row = Row {
            kind,
            owner: owner.to_owned(),
            name: String::new(),
            number: String::new(),
            shape: String::new(),
            annotations: String::new(),
            file: file.to_owned(),
        };
        fill(&mut row);
        assert!(self.rows.insert(row.clone()), "twice: {row:?}");
    }
}

/// `mutator/repository`; nothing where the method has no such option.
fn operation(pool: &DescriptorPool, options: &DynamicMessage) -> Option<String> {
    let op_type = pool.get_extension_by_name("gitaly.op_type").unwrap();
    if !options.has_extension(&op_type) {
        return None;
    }
    let value = options.get_extension(&op_type);
    let word = |name: &str| {
        let message = value.as_message().unwrap();
        let field = message.descriptor().get_field_by_name(name).unwrap();
        let number = message.get_field(&field).as_enum_number().unwrap();
        let values = field.kind().as_enum().unwrap().clone();
        values.get_value(number).unwrap().name().to_ascii_lowercase()
    };
    Some(format!("{}/{}", word("op"), word("scope_level")))
}

fn shape(field: &FieldDescriptor) -> String {
    if field.is_map() {
        let entry = field.kind().as_message().unwrap().clone();
        let (key, value) = (entry.map_entry_key_field(), entry.map_entry_value_field());
        return format!("map<{},{}>", type_name(&key), type_name(&value));
    }
    let label = if field.is_list() { "repeated " } else { "" };
    format!("{label}{}", type_name(field))
}

/// Scalars print as in a `.proto` file, messages and enums as their full names.
fn type_name(field: &FieldDescriptor) -> String {
    format!("{:?}", field.kind())
}

fn annotations(field: &FieldDescriptor) -> String {
    let (pool, options) = (field.parent_message().parent_pool(), field.options());
    let names =
        ["target_repository", "additional_repository", "storage", "repository", "partition_id"];
    let set = names.into_iter().filter(|name| is_set(pool, &options, name));
    let mut words: Vec<String> = set.map(str::to_owned).collect();
    words.extend(field.containing_oneof().map(|oneof| format!("oneof={}", oneof.name())));
    words.extend(is_deprecated(&options).then(|| "deprecated".to_owned()));
    words.join(",")
}

fn is_set(pool: &DescriptorPool, options: &DynamicMessage, name: &str) -> bool {
    let option = pool.get_extension_by_name(&format!("gitaly.{name}")).unwrap();
    options.get_extension(&option).as_bool().unwrap()
}

fn is_deprecated(options: &DynamicMessage) -> bool {
    options.get_field_by_name("deprecated").unwrap().as_bool().unwrap()
}
