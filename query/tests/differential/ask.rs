//! Asks both engines.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use model::Labels;
use promql::parse::ParseOptions;
use promql::{Engine, EngineOptions, QueryOptions, Value};
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
                    let samples = samples.into_iter();
                    Answer::Vector(samples.map(|s| (s.labels, (s.time, s.value))).collect())
                }
                Value::Matrix(series) => Answer::Matrix(
                    series.into_iter().map(|s| (s.labels.clone(), s.points().collect())).collect(),
                ),
            },
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
    value: (f64, String),
}

#[derive(Deserialize)]
struct Series {
    metric: BTreeMap<String, String>,
    values: Vec<(f64, String)>,
}

impl Theirs {
    /// Over a folder of blocks that it may change.
    pub async fn start(folder: &Path) -> Self {
        let prometheus = Prometheus::start(PrometheusOptions {
            config: PrometheusConfig::ExternalLabels(Vec::new()),
            data_dir: Some(folder.to_owned()),
            port: None,
            args: vec!["--storage.tsdb.retention.time=100y".to_owned()],
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
            let samples = samples.into_iter();
            Answer::Vector(samples.map(|s| (labels(s.metric), point(&s.value))).collect())
        }
        Data::Matrix(series) => {
            let points = |values: &[(f64, String)]| values.iter().map(point).collect();
            Answer::Matrix(
                series.into_iter().map(|s| (labels(s.metric), points(&s.values))).collect(),
            )
        }
    }
}

fn labels(metric: BTreeMap<String, String>) -> Labels {
    Labels::from_pairs(metric)
}

fn point((time, value): &(f64, String)) -> Point {
    ((time * 1000.0).round() as i64, value.parse().unwrap())
}
