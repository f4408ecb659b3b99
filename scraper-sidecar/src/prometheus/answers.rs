//! The shapes of Prometheus' answers, as far as we read them. Unknown fields are skipped.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use model::Labels;
use promconf::target::{META_PREFIX, PARAM_PREFIX, TARGET_ID};
use serde::Deserialize;

#[derive(Deserialize)]
pub(super) struct Envelope<T> {
    pub(super) data: T,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TargetsPage {
    active_targets: Vec<RawTarget>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawTarget {
    discovered_labels: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
    #[serde(default)]
    last_error: String,
    #[serde(default)]
    last_scrape: String,
    #[serde(default)]
    last_scrape_duration: f64,
    #[serde(default)]
    health: String,
}

/// What Prometheus thinks of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    Unknown,
    Up,
    Down,
}

/// A target that Prometheus scrapes because of our files.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ActiveTarget {
    pub(crate) id: u64,
    /// What its series carry.
    pub(crate) public: Labels,
    /// How it is scraped, as it stands in our files: hidden labels, but for `__meta_*`, the id, and parameters under
    /// the names that the job may overwrite.
    pub(crate) hidden: Labels,
    pub(crate) health: Health,
    pub(crate) last_error: String,
    /// When the last scrape started; `None` when there was none yet.
    pub(crate) last_scrape: Option<Timestamp>,
    pub(crate) last_scrape_duration_seconds: f64,
}

impl TargetsPage {
    pub(super) fn into_ours(self) -> Vec<ActiveTarget> {
        self.active_targets.into_iter().filter_map(RawTarget::into_ours).collect()
    }
}

impl RawTarget {
    fn into_ours(self) -> Option<ActiveTarget> {
        let mut hidden = self.discovered_labels;
        let id = hidden.remove(TARGET_ID)?.parse().ok()?;
        let is_ours = |name: &str| {
            name.starts_with("__")
                && !name.starts_with(META_PREFIX)
                && !name.starts_with(PARAM_PREFIX)
        };
        hidden.retain(|name, _| is_ours(name));
        // Go's zero time, the year 1, means never.
        let last_scrape = self.last_scrape.parse::<Timestamp>().ok();
        Some(ActiveTarget {
            id,
            public: Labels::from_pairs(self.labels),
            hidden: Labels::from_pairs(hidden),
            health: match self.health.as_str() {
                "up" => Health::Up,
                "down" => Health::Down,
                _ => Health::Unknown,
            },
            last_error: self.last_error,
            last_scrape: last_scrape.filter(|time| time.as_second() > 0),
            last_scrape_duration_seconds: self.last_scrape_duration,
        })
    }
}

/// Targets with all that file discovery has told of them: longer than what is asked for all the time.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DiscoveredPage {
    pub(super) active_targets: Vec<Discovered>,
}

/// A target as Prometheus was given it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Discovered {
    /// The job's name.
    pub(crate) scrape_pool: String,
    /// Before relabelling, with what Prometheus itself adds.
    #[serde(rename = "discoveredLabels")]
    pub(crate) labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
pub(super) struct Vector {
    result: Vec<RawSample>,
}

#[derive(Deserialize)]
struct RawSample {
    metric: BTreeMap<String, String>,
    /// Seconds, and the number as text.
    value: (f64, String),
}

/// Sizes of scrapes by public labels. Only successful scrapes are in.
pub(crate) type Samples = HashMap<Labels, Size>;

/// What one scrape brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Size {
    pub(crate) scraped: u64,
    pub(crate) post_relabel: u64,
}

impl Vector {
    /// Values by labels; what is no number is left out.
    pub(super) fn into_values(self) -> Vec<(Labels, f64)> {
        let value = |sample: RawSample| {
            let value = sample.value.1.parse::<f64>().ok().filter(|value| value.is_finite());
            Some((Labels::from_pairs(sample.metric), value?))
        };
        self.result.into_iter().filter_map(value).collect()
    }

    pub(super) fn into_samples(self) -> Samples {
        let mut sizes: HashMap<Labels, (bool, Size)> = HashMap::new();
        for mut sample in self.result {
            let Some(name) = sample.metric.remove(model::METRIC_NAME) else { continue };
            let Ok(value) = sample.value.1.parse::<f64>() else { continue };
            let (up, size) = sizes.entry(Labels::from_pairs(sample.metric)).or_default();
            match name.as_str() {
                "up" => *up = value == 1.0,
                "scrape_samples_scraped" => size.scraped = count(value),
                _ => size.post_relabel = count(value),
            }
        }
        sizes.into_iter().filter_map(|(labels, (up, size))| up.then_some((labels, size))).collect()
    }
}

/// A count that came as a float.
fn count(value: f64) -> u64 {
    // Saturates; NaN is 0.
    value as u64
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TsdbStatus {
    pub(super) head_stats: HeadStats,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HeadStats {
    pub(super) num_series: u64,
}

/// Segments: the first, the last, the one being replayed.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(crate) struct WalReplay {
    min: i64,
    max: i64,
    current: i64,
}

impl WalReplay {
    /// Segments replayed so far and in all; 0 and 0 before the replay starts.
    pub(crate) fn progress(self) -> (u64, u64) {
        if self.max <= 0 || self.max < self.min {
            return (0, 0);
        }
        let count = |from: i64, to: i64| u64::try_from(to.saturating_sub(from)).unwrap_or(0);
        (count(self.min, self.current.min(self.max)), count(self.min, self.max.saturating_add(1)))
    }
}

#[derive(Deserialize)]
pub(super) struct BuildInfo {
    pub(super) version: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_targets_with_our_id_count_and_the_zero_time_is_never() {
        let page: Envelope<TargetsPage> = serde_json::from_str(
            r#"{"status":"success","data":{"activeTargets":[
              {"discoveredLabels":{"__address__":"a"},"labels":{"job":"x"},"health":"up"},
              {"discoveredLabels":{"__shoal_target_id__":"18446744073709551615","__address__":"b",
                 "__meta_filepath":"f","__param_x":"1","__shoal_param_x":"2","job":"x"},
               "labels":{"job":"x","instance":"b"},"scrapePool":"x","lastError":"boom","health":"down",
               "lastScrape":"2026-11-21T11:09:56.833123456+02:00","lastScrapeDuration":0.25},
              {"discoveredLabels":{"__shoal_target_id__":"2"},"labels":{},"lastError":"",
               "lastScrape":"0001-01-01T00:00:00Z","lastScrapeDuration":0,"health":"unknown"}
            ],"droppedTargets":[]}}"#,
        )
        .unwrap();
        let ours = page.data.into_ours();
        assert_eq!(ours.len(), 2);
        assert_eq!(ours[0].id, u64::MAX);
        let hidden = [("__address__", "b"), ("__shoal_param_x", "2")];
        assert_eq!(ours[0].hidden, Labels::from_pairs(hidden));
        assert_eq!(ours[0].health, Health::Down);
        assert_eq!(ours[0].last_scrape.unwrap().as_millisecond(), 1_795_252_196_833);
        assert_eq!(ours[1].last_scrape, None);
    }

    #[test]
    fn sizes_are_those_of_successful_scrapes() {
        let vector: Vector = serde_json::from_str(
            r#"{"resultType":"vector","result":[
              {"metric":{"__name__":"up","i":"a"},"value":[1.5,"1"]},
              {"metric":{"__name__":"scrape_samples_scraped","i":"a"},"value":[1.5,"10045"]},
              {"metric":{"__name__":"scrape_samples_post_metric_relabeling","i":"a"},"value":[1.5,"10000"]},
              {"metric":{"__name__":"up","i":"b"},"value":[1.5,"0"]},
              {"metric":{"__name__":"scrape_samples_scraped","i":"b"},"value":[1.5,"0"]}]}"#,
        )
        .unwrap();
        let samples = vector.into_samples();
        let expected = Size { scraped: 10_045, post_relabel: 10_000 };
        assert_eq!(samples, HashMap::from([(Labels::from_pairs([("i", "a")]), expected)]));
    }

    #[test]
    fn a_replay_is_counted_in_segments() {
        for (min, max, current, progress) in [
            (0, 0, 0, (0, 0)),
            (3, 7, 3, (0, 5)),
            (3, 7, 7, (4, 5)),
            (3, 7, 99, (4, 5)),
            (5, 3, 4, (0, 0)),
        ] {
            let seen = WalReplay { min, max, current }.progress();
            assert_eq!(seen, progress, "{min} {max} {current}");
        }
    }
}
