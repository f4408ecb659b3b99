//! An answer of Prometheus' query API as a table: series in rows, times in columns.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

/// The envelope.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    pub data: Option<Value>,
    #[serde(default)]
    pub error: String,
    #[serde(default)]
    pub error_type: String,
    #[serde(default)]
    pub warnings: Vec<String>,
    #[serde(default)]
    pub infos: Vec<String>,
}

/// Of which type the result is, and the result.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Data {
    result: Value,
}

/// `[1700000000.5, "1"]`; a histogram shows as its JSON.
fn point(point: &Value) -> Option<(String, String)> {
    let [time, value] = point.as_array()?.as_slice() else { return None };
    // Two series are an array of two, too.
    time.as_f64()?;
    let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Some((time.to_string(), value))
}

fn name(series: &Value) -> String {
    let labels: BTreeMap<&str, &str> = series
        .get("metric")
        .and_then(Value::as_object)
        .map(|labels| {
            labels.iter().filter_map(|(name, v)| Some((name.as_str(), v.as_str()?))).collect()
        })
        .unwrap_or_default();
    let metric = labels.get("__name__").copied().unwrap_or_default();
    let pairs: Vec<String> = labels
        .iter()
        .filter(|(name, _)| **name != "__name__")
        .map(|(name, value)| format!("{name}={value:?}"))
        .collect();
    if pairs.is_empty() && !metric.is_empty() {
        return metric.to_owned();
    }
    format!("{metric}{{{}}}", pairs.join(","))
}

/// The table.
pub fn of(data: &Data) -> String {
    if let Some((time, value)) = point(&data.result) {
        return render(&[vec![String::new(), time], vec!["scalar".to_owned(), value]]);
    }
    let mut rows: Vec<(String, BTreeMap<String, String>)> = Vec::new();
    for series in data.result.as_array().into_iter().flatten() {
        let single = ["value", "histogram"].iter().filter_map(|key| point(series.get(key)?));
        let several = ["values", "histograms"]
            .iter()
            .filter_map(|key| series.get(key)?.as_array())
            .flatten()
            .filter_map(point);
        rows.push((name(series), single.chain(several).collect()));
    }
    if rows.is_empty() {
        return "(empty)".to_owned();
    }
    let times: BTreeSet<&String> = rows.iter().flat_map(|(_, points)| points.keys()).collect();
    let mut times: Vec<&String> = times.into_iter().collect();
    let seconds = |text: &str| text.parse::<f64>().unwrap_or_default();
    times.sort_by(|a, b| seconds(a).total_cmp(&seconds(b)));
    let mut lines = vec![vec![String::new()]];
    lines[0].extend(times.iter().map(|time| (*time).clone()));
    for (name, points) in &rows {
        let mut line = vec![name.clone()];
        line.extend(times.iter().map(|time| points.get(*time).cloned().unwrap_or_default()));
        lines.push(line);
    }
    render(&lines)
}

/// The first column to the left, the others to the right.
fn render(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let rendered = lines.iter().map(|line| {
        let cells = line.iter().zip(&widths).enumerate().map(|(at, (cell, width))| match at {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    });
    rendered.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_rows_and_times_are_columns() {
        let json = r#"{"resultType":"matrix","result":[
            {"metric":{"__name__":"up","job":"a"},"values":[[9,"1"],[10.5,"0"]]},
            {"metric":{"__name__":"up"},"values":[[10.5,"12"]]}]}"#;
        let data: Data = serde_json::from_str(json).unwrap();
        assert_eq!(of(&data), "             9  10.5\nup{job=\"a\"}  1     0\nup                12");
        let scalar: Data = serde_json::from_str(r#"{"result":[1,"2.5"]}"#).unwrap();
        assert_eq!(of(&scalar), "          1\nscalar  2.5");
        let empty: Data = serde_json::from_str(r#"{"result":[]}"#).unwrap();
        assert_eq!(of(&empty), "(empty)");
    }
}
