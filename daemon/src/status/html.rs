//! A report as one page: no script, nothing from elsewhere.
//!
//! Always true:
//! - every text goes through [`escape`]: names of repositories are chosen by strangers;
//! - the page needs nothing but itself.

use super::words::{shown, uptime, words};
use super::{Content, Figure, Heading, Report, Table, Tone, Value};
use crate::log::timestamp;
use std::fmt::Write as _;

/// Seconds between two looks of a browser that leaves the page open.
const REFRESH_S: u32 = 5;

/// Light and dark, wide and narrow.
const STYLE: &str = include_str!("page.css");

/// The whole page.
pub fn page(report: &Report) -> String {
    let mut out = String::with_capacity(16 * 1024);
    let (service, version) = (escape(report.about.service), escape(report.about.version));
    put(
        &mut out,
        format_args!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <meta http-equiv=\"refresh\" content=\"{REFRESH_S}\">\n\
             <title>{service}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
             <header><h1>{service}</h1><p>version {version} · up {} · {}</p>\
             <nav><a href=\"/metrics\">metrics</a> <a href=\"/status.json\">JSON</a></nav>\
             </header>\n<main>\n",
            uptime(report.uptime.as_secs()),
            escape(&timestamp(report.at)),
        ),
    );
    for (heading, content) in &report.sections {
        section(&mut out, *heading, content);
    }
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

/// Text that stands for itself in a document and in an attribute.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(shown(other)),
        }
    }
    out
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a String takes every write");
}

fn section(out: &mut String, Heading { key, title }: Heading, content: &Content) {
    let (kind, is_wide) = match content {
        Content::Headline(_) => ("headline", true),
        Content::Figures(_) => ("figures", false),
        Content::Table(_) => ("table", true),
    };
    let wide = if is_wide { " wide" } else { "" };
    let title = escape(title);
    put(out, format_args!("<section id=\"{key}\" class=\"{kind}{wide}\"><h2>{title}</h2>\n"));
    match content {
        Content::Headline(figures) | Content::Figures(figures) => figures_html(out, figures),
        Content::Table(table) => table_html(out, table),
    }
    out.push_str("</section>\n");
}

fn figures_html(out: &mut String, figures: &[Figure]) {
    out.push_str("<dl>\n");
    for Figure { label, value, .. } in figures {
        let (label, value) = (escape(label), cell(value));
        put(out, format_args!("<div><dt>{label}</dt><dd>{value}</dd></div>\n"));
    }
    out.push_str("</dl>\n");
}

fn table_html(out: &mut String, table: &Table) {
    if table.rows.is_empty() {
        put(out, format_args!("<p class=\"empty\">{}</p>\n", escape(table.empty)));
        return;
    }
    out.push_str("<div class=\"scroll\"><table><thead><tr>");
    let first = table.rows.first().into_iter().flatten();
    let classes: Vec<&str> =
        first.map(|value| if is_number(value) { " class=\"number\"" } else { "" }).collect();
    for ((_, label), class) in table.columns.iter().zip(&classes) {
        put(out, format_args!("<th{class}>{}</th>", escape(label)));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in &table.rows {
        out.push_str("<tr>");
        for (value, class) in row.iter().zip(&classes) {
            put(out, format_args!("<td{class}>{}</td>", cell(value)));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
}

fn is_number(value: &Value) -> bool {
    match value {
        Value::Count(_) | Value::Bytes(_) | Value::Seconds(_) => true,
        Value::Unknown
        | Value::Text(_)
        | Value::Ratio(_)
        | Value::Fill { .. }
        | Value::State(..) => false,
    }
}

fn cell(value: &Value) -> String {
    let words = escape(&words(value));
    let bar = |share: f64| {
        let percent = (share * 100.0).clamp(0.0, 100.0);
        format!("<i class=\"bar\"><b style=\"width:{percent:.1}%\"></b></i>")
    };
    match value {
        Value::Unknown => "<span class=\"unknown\">–</span>".to_owned(),
        Value::Text(_) => format!("<span class=\"text\" title=\"{words}\">{words}</span>"),
        Value::Count(_) | Value::Bytes(_) | Value::Seconds(_) => words,
        Value::Ratio(share) => format!("{words}{}", bar(*share)),
        Value::Fill { used, max, .. } => {
            let share = if *max > 0 { *used as f64 / *max as f64 } else { 0.0 };
            let (used, max) = words.split_once(" of ").unwrap_or((&words, ""));
            format!("{used}<small> of {max}</small>{}", bar(share))
        }
        Value::State(_, tone) => {
            let class = match tone {
                Tone::Good => "good",
                Tone::Warning => "warning",
                Tone::Bad => "bad",
            };
            format!("<span class=\"state {class}\">{words}</span>")
        }
    }
}

#[cfg(test)]
mod tests;
