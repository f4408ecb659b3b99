//! Asks both engines.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use model::Labels;
use model::histogram::FloatHistogram;
use promql::parse::ParseOptions;
use promql::{Engine, EngineOptions, MatrixSeries, QueryOptions, Value};
use query::blocks::{Blocks, BlocksStorage};
use serde::Deserialize;
use testkit::prometheus::{Prometheus, PrometheusConfig, PrometheusOptions};

use crate::answer::{Answer, Point};
use crate::generate::{Query, When};

/// Our engine over the blocks of a folder.
pub struct Ours {
    engine: Engine,
    blocks: BlocksStorage,
}

impl Ours {
    pub fn open(folder: &Path) -> Self {
        // `holt_winters` of 2.42 is an experimental function of 3.x.
        let parser = ParseOptions { experimental_functions: true, ..ParseOptions::default() };
        let blocks = BlocksStorage::new(Blocks::open(folder).unwrap(), Arc::default());
        let options = EngineOptions { parser, ..EngineOptions::default() };
        Self { engine: Engine::new(options), blocks }
    }

    pub fn ask(&self, query: &Query) -> Answer {
        let options = QueryOptions::default();
        let (engine, blocks) = (&self.engine, &self.blocks);
        let result = match query.when {
            When::Instant(time) => engine.instant(blocks, &query.text, time, &options),
            When::Range { start, end, step } => {
                engine.range(blocks, &query.text, start, end, step, &options)
            }
        };
        match result {
            Err(error) => Answer::Error(error.to_string()),
            Ok(result) => match result.value {
                Value::Scalar { value, .. } => Answer::Scalar(value),
                Value::String { value, .. } => Answer::Text(value),
                Value::Vector(samples) => {
                    let mut all = Vec::new();
                    for sample in samples {
                        match &sample.histogram {
                            None => all.push((sample.labels, (sample.time, sample.value))),
                            Some(histogram) => {
                                let numbers = flat(&sample.labels, histogram).into_iter();
                                all.extend(numbers.map(|(labels, x)| (labels, (sample.time, x))));
                            }
                        }
                    }
                    Answer::Vector(all)
                }
                Value::Matrix(series) => {
                    let mut all = BTreeMap::new();
                    for series in series {
                        matrix_series(&mut all, &series);
                    }
                    Answer::Matrix(all)
                }
            },
        }
    }
}

/// The numbers of a histogram, told apart by one label more.
fn flat(labels: &Labels, histogram: &FloatHistogram) -> Vec<(Labels, f64)> {
    let buckets = histogram.all_buckets().into_iter().filter(|bucket| bucket.count != 0.0);
    let buckets = buckets.map(|bucket| {
        let code = match (bucket.lower_inclusive, bucket.upper_inclusive) {
            (false, true) => 0,
            (true, false) => 1,
            (false, false) => 2,
            (true, true) => 3,
        };
        (bucket_name(code, bucket.lower, bucket.upper), bucket.count)
    });
    let numbers = [("count".to_owned(), histogram.count), ("sum".to_owned(), histogram.sum)];
    let numbers = numbers.into_iter().chain(buckets);
    numbers.map(|(part, number)| (part_of(labels, &part), number)).collect()
}

fn bucket_name(code: u8, lower: f64, upper: f64) -> String {
    format!("{code} {lower:.9e} {upper:.9e}")
}

fn part_of(labels: &Labels, part: &str) -> Labels {
    let mut builder = labels.to_builder();
    builder.set("part of a histogram", part);
    builder.build()
}

fn matrix_series(all: &mut BTreeMap<Labels, Vec<Point>>, series: &MatrixSeries) {
    let mut histograms = series.histograms.iter().peekable();
    for (index, point) in series.points().enumerate() {
        match histograms.next_if(|histogram| histogram.index == index) {
            None => all.entry(series.labels.clone()).or_default().push(point),
            Some(sample) => {
                for (labels, number) in flat(&series.labels, &sample.histogram) {
                    all.entry(labels).or_default().push((point.0, number));
                }
            }
        }
    }
}

/// A real Prometheus over the same blocks.
pub struct Theirs {
    prometheus: Prometheus,
    client: reqwest::Client,
}

#[derive(Deserialize)]
struct Envelope {
    status: String,
    error: Option<String>,
    data: Option<Data>,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Scalar((f64, String)),
    String((f64, String)),
    Vector(Vec<Sample>),
    Matrix(Vec<Series>),
}

#[derive(Deserialize)]
struct Sample {
    metric: BTreeMap<String, String>,
    value: Option<(f64, String)>,
    histogram: Option<(f64, Histogram)>,
}

#[derive(Deserialize)]
struct Histogram {
    count: String,
    sum: String,
    #[serde(default)]
    buckets: Vec<(u8, String, String, String)>,
}

impl Histogram {
    /// As [`flat`].
    fn flat(&self, labels: &Labels) -> Vec<(Labels, f64)> {
        let number = |text: &str| -> f64 { text.parse().unwrap() };
        let buckets = self.buckets.iter().map(|(code, lower, upper, count)| {
            (bucket_name(*code, number(lower), number(upper)), number(count))
        });
        let numbers =
            [("count".to_owned(), number(&self.count)), ("sum".to_owned(), number(&self.sum))];
        let numbers = numbers.into_iter().chain(buckets);
        numbers.map(|(part, number)| (part_of(labels, &part), number)).collect()
    }
}

#[derive(Deserialize)]
struct Series {
    metric: BTreeMap<String, String>,
    #[serde(default)]
    values: Vec<(f64, String)>,
    #[serde(default)]
    histograms: Vec<(f64, Histogram)>,
}

impl Theirs {
    /// Over a folder of blocks that it may change.
    pub async fn start(folder: &Path) -> Self {
        let prometheus = Prometheus::start(PrometheusOptions {
            config: PrometheusConfig::ExternalLabels(Vec::new()),
            data_dir: Some(folder.to_owned()),
            port: None,
            args: vec![
                "--storage.tsdb.retention.time=100y".to_owned(),
                "--enable-feature=native-histograms".to_owned(),
            ],
        })
        .await;
        let client = svc::http::client(Duration::from_secs(30)).unwrap();
        Self { prometheus, client }
    }

    pub async fn ask(&self, query: &Query) -> Answer {
        let seconds = |milliseconds: i64| format!("{:.3}", milliseconds as f64 / 1000.0);
        let mut form = vec![("query", query.theirs())];
        let path = match query.when {
            When::Instant(time) => {
                form.push(("time", seconds(time)));
                "query"
            }
            When::Range { start, end, step } => {
                form.extend([
                    ("start", seconds(start)),
                    ("end", seconds(end)),
                    ("step", seconds(step)),
                ]);
                "query_range"
            }
        };
        let url = format!("{}/api/v1/{path}", self.prometheus.url());
        let response = self.client.post(url).form(&form).send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        let envelope: Envelope = serde_json::from_str(&text)
            .unwrap_or_else(|cause| panic!("{}: {status} {text}: {cause}", query.text));
        if envelope.status == "success" {
            return answer(envelope.data.unwrap());
        }
        assert!(status.is_client_error(), "{}: {status} {text}", query.text);
        Answer::Error(envelope.error.unwrap_or_default())
    }
}

fn answer(data: Data) -> Answer {
    match data {
        Data::Scalar((_, value)) => Answer::Scalar(value.parse().unwrap()),
        Data::String((_, text)) => Answer::Text(text),
        Data::Vector(samples) => {
            let mut all = Vec::new();
            for Sample { metric, value, histogram } in samples {
                let labels = Labels::from_pairs(metric);
                if let Some((time, histogram)) = histogram {
                    let numbers = histogram.flat(&labels).into_iter();
                    all.extend(numbers.map(|(labels, x)| (labels, (milliseconds(time), x))));
                }
                all.extend(value.map(|value| (labels, point(&value))));
            }
            Answer::Vector(all)
        }
        Data::Matrix(series) => {
            let mut all: BTreeMap<Labels, Vec<Point>> = BTreeMap::new();
            for Series { metric, values, histograms } in series {
                let labels = Labels::from_pairs(metric);
                for (time, histogram) in histograms {
                    for (labels, number) in histogram.flat(&labels) {
                        all.entry(labels).or_default().push((milliseconds(time), number));
                    }
                }
                if !values.is_empty() {
                    all.insert(labels, values.iter().map(point).collect());
                }
            }
            Answer::Matrix(all)
        }
    }
}

fn milliseconds(time: f64) -> i64 {
    (time * 1000.0).round() as i64
}

fn point((time, value): &(f64, String)) -> Point {
    (milliseconds(*time), value.parse().unwrap())
}
