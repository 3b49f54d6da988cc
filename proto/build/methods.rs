//! Turns the options of `gitaly/lint.proto` into the table that `src/methods.rs` includes.
//!
//! Always true: a method whose options contradict each other fails the build.

use std::error::Error;
use std::fmt::Write;

use prost_reflect::{
    DescriptorPool, DynamicMessage, ExtensionDescriptor, FieldDescriptor, MessageDescriptor,
    MethodDescriptor, Value,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Rust source: an array of `Method`, sorted by path.
pub(crate) fn table(pool: &DescriptorPool) -> Result<String> {
    let options = Options::of(pool)?;
    let mut rows = Vec::new();
    for service in pool.services() {
        let intercepted = is_set(&service.options(), &options.intercepted);
        for method in service.methods() {
            let path = format!("/{}/{}", service.full_name(), method.name());
            let row = options
                .row(&method, &path, intercepted)
                .map_err(|error| format!("{path}: {error}"))?;
            rows.push((path, row));
        }
    }
    rows.sort();
    Ok(format!("[{}\n]", rows.into_iter().map(|(_, row)| row).collect::<String>()))
}

/// The extensions that `lint.proto` defines.
struct Options {
    intercepted: ExtensionDescriptor,
    op_type: ExtensionDescriptor,
    storage: ExtensionDescriptor,
    repository: ExtensionDescriptor,
    target_repository: ExtensionDescriptor,
    additional_repository: ExtensionDescriptor,
}

// === impl Options ===

impl Options {
    fn of(pool: &DescriptorPool) -> Result<Self> {
        let find = |name: &str| {
            pool.get_extension_by_name(&format!("gitaly.{name}"))
                .ok_or_else(|| format!("lint.proto does not define {name}"))
        };
        Ok(Self {
            intercepted: find("intercepted")?,
            op_type: find("op_type")?,
            storage: find("storage")?,
            repository: find("repository")?,
            target_repository: find("target_repository")?,
            additional_repository: find("additional_repository")?,
        })
    }

    fn row(&self, method: &MethodDescriptor, path: &str, intercepted: bool) -> Result<String> {
        let options = method.options();
        let (operation, scope) = operation_and_scope(&options, &self.op_type)?;
        let deprecated =
            matches!(options.get_field_by_name("deprecated").as_deref(), Some(Value::Bool(true)));
        let input = method.input();
        let mut row = String::new();
        write!(
            row,
            "\n    Method {{ service: {service:?}, name: {name:?}, path: {path:?}, \
             operation: Operation::{operation}, scope: Scope::{scope}, \
             intercepted: {intercepted}, client_streaming: {client}, \
             server_streaming: {server}, deprecated: {deprecated}, \
             target_repository: {target}, additional_repository: {additional}, \
             storage: {storage} }},",
            service = method.parent_service().full_name(),
            name = method.name(),
            client = method.is_client_streaming(),
            server = method.is_server_streaming(),
            target = source(self.path_to(&input, &self.target_repository)?),
            additional = source(self.path_to(&input, &self.additional_repository)?),
            storage = source(self.path_to(&input, &self.storage)?),
        )?;
        Ok(row)
    }

    /// Field numbers from `message` to the field with the option, with the way into an object pool
    /// added: what has a repository inside stands for that repository.
    fn path_to(
        &self,
        message: &MessageDescriptor,
        option: &ExtensionDescriptor,
    ) -> Result<Option<Vec<u32>>> {
        let mut paths = Vec::new();
        search(message, option, &mut Vec::new(), &mut paths);
        let (mut path, field) = match paths.len() {
            0 => return Ok(None),
            1 => paths.remove(0),
            count => return Err(format!("{count} fields are {}", option.name()).into()),
        };
        if let Some(inner) = message_of(&field) {
            let wrapped = inner.fields().find(|field| is_set(&field.options(), &self.repository));
            path.extend(wrapped.map(|field| field.number()));
        }
        Ok(Some(path))
    }
}

/// Collects every field below `message` that has the option. Fields behind it are not searched,
/// nor is a message that contains itself.
fn search(
    message: &MessageDescriptor,
    option: &ExtensionDescriptor,
    way: &mut Vec<FieldDescriptor>,
    found: &mut Vec<(Vec<u32>, FieldDescriptor)>,
) {
    for field in message.fields() {
        let inner = message_of(&field);
        let recursive = way.iter().any(|above| message_of(above) == inner);
        way.push(field.clone());
        if is_set(&field.options(), option) {
            found.push((way.iter().map(FieldDescriptor::number).collect(), field));
        } else if let Some(inner) = inner
            && !recursive
        {
            search(&inner, option, way, found);
        }
        way.pop();
    }
}

/// The message that a field holds once: lists and maps name no single repository.
fn message_of(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    if field.is_list() || field.is_map() {
        return None;
    }
    field.kind().as_message().cloned()
}

fn is_set(options: &DynamicMessage, option: &ExtensionDescriptor) -> bool {
    matches!(options.get_extension(option).as_ref(), Value::Bool(true))
}

/// Names of the variants of `Operation` and `Scope`.
fn operation_and_scope(
    options: &DynamicMessage,
    op_type: &ExtensionDescriptor,
) -> Result<(&'static str, &'static str)> {
    let value = options.get_extension(op_type);
    let message = value.as_message().ok_or("op_type is not a message")?;
    let number = |name: &str| {
        let value = message.get_field_by_name(name);
        value.and_then(|value| value.as_enum_number()).ok_or(format!("op_type has no {name}"))
    };
    let operation = match number("op")? {
        0 => "Unspecified",
        1 => "Mutator",
        2 => "Accessor",
        3 => "Maintenance",
        unknown => return Err(format!("operation {unknown} is not known").into()),
    };
    let scope = match number("scope_level")? {
        0 => "Repository",
        2 => "Storage",
        3 => "Partition",
        unknown => return Err(format!("scope {unknown} is not known").into()),
    };
    Ok((operation, scope))
}

fn source(path: Option<Vec<u32>>) -> String {
    path.map_or_else(|| "None".to_owned(), |path| format!("Some(&{path:?})"))
}
