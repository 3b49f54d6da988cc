//! A report as JSON: sections and figures by their keys, tables as lists of objects.
//!
//! Always true: keys carry the unit, values are plain numbers in it; what is not known is `null`.

use super::{Content, Figure, Report, Table, Value};
use crate::log::timestamp;
use serde_json::{Map, Value as Json, json};

/// One object.
pub fn document(report: &Report) -> String {
    let section = |(heading, content): &(super::Heading, Content)| {
        (heading.key.to_owned(), content_json(content))
    };
    let sections: Map<String, Json> = report.sections.iter().map(section).collect();
    let mut text = json!({
        "service": report.about.service,
        "version": report.about.version,
        "time": timestamp(report.at).to_string(),
        "uptime_seconds": report.uptime.as_secs(),
        "sections": sections,
    })
    .to_string();
    text.push('\n');
    text
}

fn content_json(content: &Content) -> Json {
    match content {
        Content::Headline(figures) | Content::Figures(figures) => {
            let figure = |figure: &Figure| (figure.key.to_owned(), value_json(&figure.value));
            Json::Object(figures.iter().map(figure).collect())
        }
        Content::Table(Table { columns, rows, .. }) => {
            let row = |row: &Vec<Value>| {
                let cells = columns.iter().zip(row);
                let cells = cells.map(|((key, _), value)| ((*key).to_owned(), value_json(value)));
                Json::Object(cells.collect())
            };
            Json::Array(rows.iter().map(row).collect())
        }
    }
}

fn value_json(value: &Value) -> Json {
    match value {
        Value::Unknown => Json::Null,
        Value::Text(text) | Value::State(text, _) => json!(text),
        Value::Count(number) | Value::Bytes(number) => json!(number),
        Value::Seconds(number) | Value::Ratio(number) => json!(number),
        Value::Fill { used, max, .. } => json!({ "used": used, "max": max }),
    }
}
