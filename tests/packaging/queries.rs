//! Which metrics and labels a query of Prometheus asks for.
//!
//! Never here: whether they exist, or whether the query makes sense.

/// What one query names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) metrics: Vec<String>,
    pub(crate) labels: Vec<String>,
}

/// Words of the language: none is a metric.
const WORDS: &[&str] = &["by", "without", "on", "ignoring", "and", "or", "unless", "bool"];

/// The queries of a file of rules: what stands behind `expr:`, on its line or folded below it.
pub(crate) fn of_rules(yaml: &str) -> Vec<String> {
    let mut queries = Vec::new();
    let mut lines = yaml.lines().peekable();
    while let Some(line) = lines.next() {
        let key = line.trim_start().trim_start_matches("- ");
        let Some(query) = key.strip_prefix("expr:") else { continue };
        let indent = line.len() - key.len();
        let mut query = query.trim().trim_start_matches(">-").to_owned();
        while let Some(next) = lines.next_if(|next| next.len() - next.trim_start().len() > indent) {
            query = format!("{query} {}", next.trim());
        }
        queries.push(query);
    }
    queries
}

// === impl Asked ===

impl Asked {
    /// Names in braces and behind `by` are labels; others that are not called are metrics.
    pub(crate) fn parse(query: &str) -> Self {
        let mut asked = Self::default();
        let mut rest = query;
        let (mut in_braces, mut in_grouping, mut grouping_follows) = (false, false, false);
        while let Some(char) = rest.chars().next() {
            if char == '"' {
                rest = rest[1..].split_once('"').map_or("", |(_, behind)| behind);
                continue;
            }
            if char == '[' {
                rest = rest.split_once(']').map_or("", |(_, behind)| behind);
                continue;
            }
            let end = rest.find(|char: char| !is_name(char)).unwrap_or(rest.len());
            if end == 0 {
                match char {
                    '{' => in_braces = true,
                    '}' => in_braces = false,
                    '(' => in_grouping = std::mem::take(&mut grouping_follows),
                    ')' => in_grouping = false,
                    _ => {}
                }
                rest = &rest[char.len_utf8()..];
                continue;
            }
            let (name, behind) = rest.split_at(end);
            rest = behind;
            let is_number = name.starts_with(|char: char| char.is_ascii_digit());
            if in_braces || in_grouping {
                asked.labels.push(name.to_owned());
            } else if WORDS.contains(&name) {
                grouping_follows = matches!(name, "by" | "without" | "on" | "ignoring");
            } else if !is_number && !rest.starts_with('(') && !is_grouped_call(rest) {
                asked.metrics.push(name.to_owned());
            }
        }
        asked
    }
}

/// `sum by (…) (…)`
fn is_grouped_call(behind: &str) -> bool {
    behind.starts_with(" by (") || behind.starts_with(" without (")
}

fn is_name(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '_' | ':' | '.')
}

#[test]
fn queries_name_metrics_and_labels() {
    let check = |query: &str, metrics: &[&str], labels: &[&str]| {
        let asked = Asked::parse(query);
        assert_eq!((asked.metrics, asked.labels), (owned(metrics), owned(labels)), "{query}");
    };
    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }
    check("up == 0", &["up"], &[]);
    check("rate(a_total{b=~\"c|d\", e!=\"}\"}[5m]) > 0.1", &["a_total"], &["b", "e"]);
    check("sum by (x, le) (rate(a[5m])) / sum(b)", &["a", "b"], &["x", "le"]);
    check("histogram_quantile(0.9, sum by (le) (a_bucket))", &["a_bucket"], &["le"]);
    let yaml =
        "a:\n  - expr: up == 0\n    for: 1m\n  - expr: >-\n      a\n      / b\n    for: 2m\n";
    assert_eq!(of_rules(yaml), ["up == 0", " a / b"]);
}
