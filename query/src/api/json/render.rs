//! The `data` of a query's answer, piece by piece: while one piece is on its way to the client, the next is not written
//! yet, and series that were written are dropped.

use std::sync::Arc;

use model::histogram::{Bucket, FloatHistogram};
use promql::{MatrixSeries, Value, VectorSample};

use super::Json;
use super::points::Prefixes;
use crate::registers;

pub(in crate::api) use super::points::Grid;

/// About how many bytes a piece has. One series more than that is where it ends.
pub(in crate::api) const PIECE: usize = 64 << 10;

/// Most points of a series per piece.
const POINTS: usize = 2_048;

impl Json {
    fn vector_sample(&mut self, sample: &VectorSample) {
        self.raw("{\"metric\":");
        self.labels(&sample.labels);
        match &sample.histogram {
            None => {
                self.raw(",\"value\":");
                self.point(sample.time, sample.value);
            }
            Some(histogram) => {
                self.raw(",\"histogram\":");
                self.histogram_point(sample.time, histogram);
            }
        }
        self.raw("}");
    }

    /// `"value"`
    fn quoted_float(&mut self, value: f64) {
        self.raw("\"");
        self.float(value);
        self.raw("\"");
    }

    /// `[time,{"count":…,"sum":…,"buckets":[…]}]` as Prometheus' util/jsonutil does: without empty buckets, and
    /// without the key when there are no others.
    fn histogram_point(&mut self, time: i64, histogram: &FloatHistogram) {
        self.raw("[");
        self.timestamp(time);
        self.raw(",{\"count\":");
        self.quoted_float(histogram.count);
        self.raw(",\"sum\":");
        self.quoted_float(histogram.sum);
        let all = histogram.all_buckets();
        let mut before = ",\"buckets\":[";
        for bucket in all.iter().filter(|bucket| bucket.count != 0.0) {
            self.raw(before);
            before = ",";
            self.bucket(bucket);
        }
        self.raw(if before == "," { "]}]" } else { "}]" });
    }

    /// `[boundaries,"lower","upper","count"]`
    fn bucket(&mut self, bucket: &Bucket) {
        self.raw(match (bucket.lower_inclusive, bucket.upper_inclusive) {
            (false, true) => "[0",
            (true, false) => "[1",
            (false, false) => "[2",
            (true, true) => "[3",
        });
        for number in [bucket.lower, bucket.upper, bucket.count] {
            self.raw(",");
            self.quoted_float(number);
        }
        self.raw("]");
    }
}

/// A series that is being written: first its floats, then its histograms.
#[derive(Debug)]
struct Open {
    timestamps: Vec<i64>,
    values: Vec<f64>,
    /// The first float that is not written.
    from: usize,
    histograms: std::vec::IntoIter<(i64, Arc<FloatHistogram>)>,
    any_histogram: bool,
}

impl Open {
    fn new(series: MatrixSeries) -> Self {
        let MatrixSeries { labels: _, mut timestamps, mut values, histograms } = series;
        let timed = |h: &promql::storage::HistogramSample| {
            timestamps.get(h.index).map(|time| (*time, h.histogram.clone()))
        };
        let timed: Vec<_> = histograms.iter().filter_map(timed).collect();
        if !histograms.is_empty() {
            let is_float = |at: usize| histograms.binary_search_by_key(&at, |h| h.index).is_err();
            let mut at = 0..;
            timestamps.retain(|_| at.next().is_some_and(is_float));
            let mut at = 0..;
            values.retain(|_| at.next().is_some_and(is_float));
        }
        let histograms = timed.into_iter();
        Self { timestamps, values, from: 0, histograms, any_histogram: false }
    }
}

/// What is left to write.
#[derive(Debug)]
enum Rest {
    Vector(std::vec::IntoIter<VectorSample>),
    Matrix {
        series: std::vec::IntoIter<MatrixSeries>,
        /// The series that is being written.
        open: Option<Open>,
    },
    End,
}

/// Writes a value and what follows it.
#[derive(Debug)]
pub(in crate::api) struct Renderer {
    json: Json,
    rest: Rest,
    first: bool,
    prefixes: Prefixes,
    tail: Vec<u8>,
}

impl Renderer {
    /// `head`, then `"resultType":…,"result":…` (the type first for the sake of readers that stream), then `tail`.
    pub(in crate::api) fn new(head: Json, value: Value, grid: Grid, tail: Json) -> Self {
        let mut json = head;
        let (rest, grid) = match value {
            Value::Scalar { time, value } => {
                json.raw("\"resultType\":\"scalar\",\"result\":[");
                json.plain_float(time as f64 / 1000.0);
                json.raw(",\"");
                json.plain_float(value);
                json.raw("\"]");
                (Rest::End, Grid::default())
            }
            Value::String { time, value } => {
                json.raw("\"resultType\":\"string\",\"result\":[");
                json.plain_float(time as f64 / 1000.0);
                json.raw(",");
                json.string(&value);
                json.raw("]");
                (Rest::End, Grid::default())
            }
            Value::Vector(samples) => {
                json.raw("\"resultType\":\"vector\",\"result\":[");
                (Rest::Vector(samples.into_iter()), Grid::default())
            }
            Value::Matrix(series) => {
                json.raw("\"resultType\":\"matrix\",\"result\":[");
                // For one series, it pays nothing.
                let grid = if series.len() > 1 { grid } else { Grid::default() };
                (Rest::Matrix { series: series.into_iter(), open: None }, grid)
            }
        };
        let prefixes = Prefixes::new(grid);
        Self { json, rest, first: true, prefixes, tail: tail.into_bytes() }
    }

    /// The next piece, never empty, and whether it is the last one; `None` after that.
    pub(in crate::api) fn piece(&mut self) -> Option<(Vec<u8>, bool)> {
        registers::settle();
        while self.json.len() < PIECE && self.step() {}
        let last = matches!(self.rest, Rest::End);
        if last {
            self.json.out.append(&mut self.tail);
        }
        let piece = std::mem::take(&mut self.json).into_bytes();
        if !last {
            self.json.out.reserve(PIECE + PIECE / 4);
        }
        (!piece.is_empty()).then_some((piece, last))
    }

    fn comma(&mut self) {
        if !self.first {
            self.json.raw(",");
        }
        self.first = false;
    }

    /// Writes a bit more; `false` when there is no more.
    fn step(&mut self) -> bool {
        match std::mem::replace(&mut self.rest, Rest::End) {
            Rest::End => return false,
            Rest::Vector(mut samples) => match samples.next() {
                Some(sample) => {
                    self.comma();
                    self.json.vector_sample(&sample);
                    self.rest = Rest::Vector(samples);
                }
                None => self.json.raw("]"),
            },
            Rest::Matrix { series, open: Some(current) } => {
                let open = self.points(current);
                self.rest = Rest::Matrix { series, open };
            }
            Rest::Matrix { mut series, open: None } => match series.next() {
                Some(next) => {
                    self.comma();
                    self.json.raw("{\"metric\":");
                    self.json.labels(&next.labels);
                    let open = self.points(Open::new(next));
                    self.rest = Rest::Matrix { series, open };
                }
                None => self.json.raw("]"),
            },
        }
        true
    }

    /// Some more points of a series; gives the series back when some are left.
    fn points(&mut self, mut open: Open) -> Option<Open> {
        let count = open.timestamps.len();
        if open.from < count {
            let to = (open.from + POINTS).min(count);
            if open.from == 0 {
                self.json.raw(",\"values\":[");
            }
            let (times, values) = (&open.timestamps[open.from..to], &open.values[open.from..to]);
            self.json.points(&self.prefixes, times, values, open.from > 0);
            open.from = to;
            if to == count {
                self.json.raw("\"]]");
            }
        }
        // A single one can be some kilobytes.
        while open.from == count && self.json.len() < PIECE {
            let Some((time, histogram)) = open.histograms.next() else {
                self.json.raw(if open.any_histogram { "]}" } else { "}" });
                return None;
            };
            self.json.raw(if open.any_histogram { "," } else { ",\"histograms\":[" });
            open.any_histogram = true;
            self.json.histogram_point(time, &histogram);
        }
        Some(open)
    }
}

#[cfg(test)]
mod tests {
    use model::Labels;

    use super::*;

    fn written(value: Value, grid: Grid) -> (String, usize) {
        let mut renderer = Renderer::new(Json::default(), value, grid, Json::default());
        let (mut all, mut pieces) = (Vec::new(), 0);
        while let Some((piece, last)) = renderer.piece() {
            assert!(piece.len() < 2 * PIECE, "{} bytes at once", piece.len());
            all.extend(piece);
            pieces += 1;
            if last {
                break;
            }
        }
        assert!(renderer.piece().is_none(), "nothing after the last piece");
        (String::from_utf8(all).unwrap(), pieces)
    }

    #[test]
    fn values_of_every_type() {
        let labels = Labels::from_pairs([("__name__", "up"), ("path", "C:\\\"x\"\n\u{1}é")]);
        let vector =
            VectorSample { labels: labels.clone(), time: 1_500, value: 1.0, histogram: None };
        let matrix = MatrixSeries {
            labels,
            timestamps: vec![0, 15_000],
            values: vec![1.0, 2.5],
            histograms: Vec::new(),
        };
        let cases = [
            (
                Value::Scalar { time: 1_500, value: 1e-7 },
                r#""resultType":"scalar","result":[1.5,"0.0000001"]"#,
            ),
            (
                Value::String { time: 4_000, value: "a\"b".to_owned() },
                r#""resultType":"string","result":[4,"a\"b"]"#,
            ),
            (
                Value::Vector(vec![vector]),
                r#""resultType":"vector","result":[{"metric":{"__name__":"up","path":"C:\\\"x\"\n\u0001é"},"value":[1.500,"1"]}]"#,
            ),
            (
                Value::Matrix(vec![matrix]),
                r#""resultType":"matrix","result":[{"metric":{"__name__":"up","path":"C:\\\"x\"\n\u0001é"},"values":[[0,"1"],[15,"2.5"]]}]"#,
            ),
            (Value::Vector(Vec::new()), r#""resultType":"vector","result":[]"#),
            (Value::Matrix(Vec::new()), r#""resultType":"matrix","result":[]"#),
        ];
        for (value, expected) in cases {
            assert_eq!(written(value, Grid::default()), (expected.to_owned(), 1));
        }
    }

    fn histogram(count: f64) -> Arc<FloatHistogram> {
        let span = |offset, length| vec![model::histogram::Span { offset, length }];
        Arc::new(FloatHistogram {
            zero_threshold: 0.25,
            zero_count: 3.0,
            count,
            sum: f64::INFINITY,
            positive_spans: span(0, 3),
            positive_buckets: vec![12.0, 0.0, 2.5],
            negative_spans: span(1, 1),
            negative_buckets: vec![1.0],
            ..FloatHistogram::default()
        })
    }

    const BUCKETS: &str = r#""sum":"+Inf","buckets":[[1,"-2","-1","1"],[3,"-0.25","0.25","3"],[0,"0.5","1","12"],[0,"2","4","2.5"]]}]"#;

    #[test]
    fn histograms_are_written_as_prometheus_does() {
        let labels = Labels::empty();
        let empty = Some(Arc::new(FloatHistogram::default()));
        let sample = |histogram| VectorSample {
            labels: Labels::empty(),
            time: 1_500,
            value: 0.0,
            histogram,
        };
        let (text, _) = written(
            Value::Vector(vec![sample(Some(histogram(18.5))), sample(empty)]),
            Grid::default(),
        );
        let expected = format!(
            r#""resultType":"vector","result":[{{"metric":{{}},"histogram":[1.500,{{"count":"18.5",{BUCKETS}}},{{"metric":{{}},"histogram":[1.500,{{"count":"0","sum":"0"}}]}}]"#
        );
        assert_eq!(text, expected);
        let at = |index| promql::storage::HistogramSample { index, histogram: histogram(7.0) };
        let mixed = MatrixSeries {
            labels: labels.clone(),
            timestamps: vec![0, 1_000, 2_000],
            values: vec![1.0, 0.0, 3.0],
            histograms: vec![at(1)],
        };
        let only = MatrixSeries {
            labels,
            timestamps: vec![1_000],
            values: vec![0.0],
            histograms: vec![at(0)],
        };
        let (text, _) = written(Value::Matrix(vec![mixed, only]), Grid::default());
        let one = format!(r#""histograms":[[1,{{"count":"7",{BUCKETS}]}}"#);
        let expected = format!(
            r#""resultType":"matrix","result":[{{"metric":{{}},"values":[[0,"1"],[2,"3"]],{one},{{"metric":{{}},{one}]"#
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn pieces_of_a_large_matrix_join_to_the_same_text_on_and_off_the_grid() {
        let series = |i: i64| MatrixSeries {
            labels: Labels::from_pairs([("i", i.to_string())]),
            timestamps: (i..11_000).map(|step| 1_000 + step * 7_500).collect(),
            values: (i..11_000).map(|step| step as f64 / 8.0).collect(),
            histograms: Vec::new(),
        };
        let all: Vec<MatrixSeries> = (0..5).map(series).collect();
        let one_by_one: Vec<String> = all
            .iter()
            .map(|one| {
                let text = written(Value::Matrix(vec![one.clone()]), Grid::default()).0;
                let text = text.strip_prefix(r#""resultType":"matrix","result":["#).unwrap();
                text.strip_suffix(']').unwrap().to_owned()
            })
            .collect();
        let expected = format!(r#""resultType":"matrix","result":[{}]"#, one_by_one.join(","));
        for grid in [
            Grid { start: 1_000, step: 7_500, count: 11_000 },
            Grid { start: 1_000, step: 7_500, count: 3 },
            Grid { start: 999, step: 7, count: 100 },
            Grid::default(),
        ] {
            let (text, pieces) = written(Value::Matrix(all.clone()), grid);
            assert!(text == expected, "{grid:?}");
            assert!(pieces > 10, "{pieces}");
        }
    }
}
