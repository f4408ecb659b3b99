//! Whether two servers say the same.

use std::collections::BTreeMap;

use serde_json::Value;

use super::data;
use super::queries::Query;
use super::server::Server;

/// Points by labels.
type Matrix = BTreeMap<String, Vec<(f64, f64)>>;

/// Panics unless both give the same points, but for rounding.
pub async fn same(query: &Query, ours: &Server, theirs: &Server) {
    let text = query.text;
    let [ours, theirs] = [ours, theirs].map(|server| server.range(text, data::TIMES));
    let (ours, theirs) = (matrix(&ours.await), matrix(&theirs.await));
    assert!(!theirs.is_empty(), "{text}: no answer");
    let names = |matrix: &Matrix| matrix.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&ours), names(&theirs), "{text}: series differ");
    for ((labels, ours), theirs) in ours.iter().zip(theirs.values()) {
        assert_eq!(ours.len(), theirs.len(), "{text} {labels}: number of points");
        for ((time, value), (their_time, their_value)) in ours.iter().zip(theirs) {
            let close = (value - their_value).abs() <= 1e-9 * their_value.abs().max(1e-9);
            let equal = value == their_value || value.is_nan() && their_value.is_nan();
            assert!(
                time.to_bits() == their_time.to_bits() && (close || equal),
                "{text} {labels}: {value} at {time}, not {their_value} at {their_time}"
            );
        }
    }
}

fn matrix(body: &[u8]) -> Matrix {
    let answer: Value = serde_json::from_slice(body).unwrap();
    let point = |point: &Value| {
        (point[0].as_f64().unwrap(), point[1].as_str().unwrap().parse::<f64>().unwrap())
    };
    let series = |series: &Value| {
        let points = series["values"].as_array().unwrap().iter().map(point).collect();
        // Keys of a map are sorted.
        (series["metric"].to_string(), points)
    };
    answer["data"]["result"].as_array().unwrap().iter().map(series).collect()
}
