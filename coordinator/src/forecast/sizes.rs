//! Sizes that are known from elsewhere: a file of a running coordinator, or of a Prometheus.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;

use super::{Candidate, Taken};
use crate::found::FoundTarget;
use crate::plan::Tag;

/// A longer file is no snapshot: some 10 million targets.
const MAX_FILE: u64 = 4 << 30;

/// Known sizes.
#[derive(Debug, Default)]
pub(super) struct Sizes {
    by_id: HashMap<u64, Known>,
    by_url: HashMap<(String, String), Known>,
    /// By the labels of a target's series, sorted.
    by_labels: HashMap<Vec<(String, String)>, Known>,
    all: Vec<Candidate>,
    shards: Option<usize>,
}

/// What is known of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) series: u64,
    /// Series that end an hour.
    pub(super) churn: u32,
}

/// The answer of a Prometheus to an instant query.
#[derive(Debug, Deserialize)]
struct Answer {
    data: Data,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    result: Vec<Element>,
}

#[derive(Debug, Deserialize)]
struct Element {
    metric: HashMap<String, String>,
    value: (f64, String),
}

impl Sizes {
    /// Reads a file of either kind.
    pub(super) async fn read(path: &Path) -> anyhow::Result<Self> {
        let owned = path.to_owned();
        let read = move || -> anyhow::Result<Self> {
            let length = std::fs::metadata(&owned)?.len();
            ensure!(length <= MAX_FILE, "it is longer than {MAX_FILE} bytes");
            Self::parse(&std::fs::read(&owned)?)
        };
        let read = tokio::task::spawn_blocking(read).await?;
        read.with_context(|| format!("read --snapshot {}", path.display()))
    }

    fn parse(content: &[u8]) -> anyhow::Result<Self> {
        match serde_json::from_slice::<Taken>(content) {
            Ok(taken) => Ok(Self::of_coordinator(taken)),
            Err(ours) => match serde_json::from_slice::<Answer>(content) {
                Ok(answer) => Self::of_prometheus(answer.data),
                Err(theirs) => bail!(
                    "neither a coordinator's /api/v1/snapshot ({ours}) nor a Prometheus' answer to an instant query \
                     ({theirs})"
                ),
            },
        }
    }

    fn of_coordinator(taken: Taken) -> Self {
        let mut sizes = Self { shards: Some(taken.shards.len()), ..Self::default() };
        for target in taken.targets {
            let id = u64::from_str_radix(&target.id, 16).ok();
            let churn = target.churn_per_hour;
            if let Some(series) = target.series {
                let known = Known { series, churn };
                sizes.by_id.extend(id.map(|id| (id, known)));
                sizes.by_url.insert((target.job.clone(), target.url.clone()), known);
            }
            let labels = [("job", target.job.as_str()), ("url", target.url.as_str())];
            sizes.all.push(Candidate {
                id: id.unwrap_or_else(|| hash(&labels)),
                job: Arc::from(target.job.as_str()),
                url: target.url,
                series: target.series,
                churn,
                tag: Tag::default(),
                interval: Duration::ZERO,
            });
        }
        sizes
    }

    fn of_prometheus(data: Data) -> anyhow::Result<Self> {
        ensure!(data.result_type == "vector", "its result is a {}, no vector", data.result_type);
        let mut sizes = Self::default();
        for element in data.result {
            let mut labels: Vec<(String, String)> =
                element.metric.into_iter().filter(|(name, _)| name != "__name__").collect();
            labels.sort();
            let series: f64 = element.value.1.parse().context("read a value")?;
            ensure!(series >= 0.0 && series.is_finite(), "{series} is no number of series");
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked")]
            let series = series as u64;
            let label = |name: &str| {
                let found = labels.iter().find(|(candidate, _)| candidate == name);
                found.map_or("", |(_, value)| value.as_str())
            };
            sizes.all.push(Candidate {
                id: hash(&labels),
                job: Arc::from(label("job")),
                url: label("instance").to_owned(),
                series: Some(series),
                churn: 0,
                tag: Tag::default(),
                interval: Duration::ZERO,
            });
            sizes.by_labels.insert(labels, Known { series, churn: 0 });
        }
        Ok(sizes)
    }

    /// The size of a target that was found.
    pub(super) fn of(&self, found: &FoundTarget) -> Option<Known> {
        if let Some(known) = self.by_id.get(&found.target.id) {
            return Some(*known);
        }
        if !self.by_labels.is_empty() {
            let labels = found.target.public_labels();
            let labels: Vec<(String, String)> =
                labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            return self.by_labels.get(&labels).copied();
        }
        let url = (found.job.to_string(), found.target.url());
        self.by_url.get(&url).copied()
    }

    /// All targets of the file, for where there is no configuration.
    pub(super) fn candidates(self) -> Vec<Candidate> {
        self.all
    }

    /// Shards of the coordinator that the file is of.
    pub(super) fn shards_now(&self) -> Option<usize> {
        self.shards
    }
}

/// An id for what has none; only has to be distinct.
fn hash(of: &(impl std::hash::Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_files_are_told_apart() {
        let ours = br#"{"groups":1,"maxSeries":9,"targets":[{"id":"00000000000000ff","job":"a","url":"u","series":7,"churnPerHour":60},
            {"id":"2","job":"a","url":"v"}],"shards":[{"id":"0-0","maxSeries":9,"series":12}]}"#;
        let sizes = Sizes::parse(ours).unwrap();
        assert_eq!(sizes.by_id, HashMap::from([(255, Known { series: 7, churn: 60 })]));
        assert_eq!((sizes.shards_now(), sizes.all.len()), (Some(1), 2));
        let theirs = br#"{"status":"success","data":{"resultType":"vector","result":[
            {"metric":{"__name__":"scrape_samples_post_metric_relabeling","job":"a","instance":"h:1"},
             "value":[1700000000.1,"42"]}]}}"#;
        let sizes = Sizes::parse(theirs).unwrap();
        let labels = [("instance", "h:1"), ("job", "a")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        assert_eq!(
            sizes.by_labels,
            HashMap::from([(labels.to_vec(), Known { series: 42, churn: 0 })])
        );
        let candidates = sizes.candidates();
        assert_eq!((&*candidates[0].job, candidates[0].series), ("a", Some(42)));
    }

    #[test]
    fn other_files_are_refused_with_the_reason() {
        for (content, reason) in [
            ("", "neither"),
            ("{}", "missing field"),
            (r#"{"data":{"resultType":"matrix","result":[]}}"#, "no vector"),
            (
                r#"{"data":{"resultType":"vector","result":[{"metric":{},"value":[1,"NaN"]}]}}"#,
                "no number",
            ),
        ] {
            let error = format!("{:#}", Sizes::parse(content.as_bytes()).unwrap_err());
            assert!(error.contains(reason), "{content}: {error}");
        }
    }
}
