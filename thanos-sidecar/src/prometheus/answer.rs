//! The shapes of Prometheus' answers.

use std::collections::BTreeMap;
use std::time::Duration;

use model::Labels;
use serde::Deserialize;

use crate::error::Error;

/// Around every JSON answer.
#[derive(Debug, Deserialize)]
pub struct Envelope<T> {
    /// Some versions write an empty list as `null`.
    pub data: Option<T>,
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// Data, and what Prometheus warned of.
#[derive(Debug)]
pub struct Answer<T> {
    pub data: T,
    pub warnings: Vec<String>,
}

/// `/api/v1/status/config`.
#[derive(Debug, Default, Deserialize)]
pub struct ConfigAnswer {
    pub yaml: String,
}

/// `/api/v1/admin/tsdb/snapshot`.
#[derive(Debug, Default, Deserialize)]
pub struct SnapshotAnswer {
    pub name: String,
}

/// `/api/v1/status/tsdb`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TsdbAnswer {
    pub head_stats: HeadStats,
}

/// The head of the storage.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HeadStats {
    pub num_series: u64,
    pub min_time: i64,
    pub max_time: i64,
}

/// From the first to the last sample of a head, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadSpan {
    pub min_time: i64,
    pub max_time: i64,
}

impl HeadStats {
    /// A head without samples has the largest integer as its first time and the smallest as its last.
    pub fn span(&self) -> Option<HeadSpan> {
        let Self { num_series, min_time, max_time } = *self;
        (num_series > 0 && min_time <= max_time).then_some(HeadSpan { min_time, max_time })
    }
}

/// `/api/v1/targets`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TargetsAnswer {
    pub active_targets: Option<Vec<ActiveTarget>>,
    pub dropped_targets: Option<Vec<DroppedTarget>>,
}

/// A target that is scraped.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ActiveTarget {
    pub discovered_labels: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    pub scrape_pool: String,
    pub scrape_url: String,
    pub global_url: String,
    pub last_error: String,
    /// RFC 3339.
    pub last_scrape: String,
    /// Seconds.
    pub last_scrape_duration: f64,
    pub health: String,
}

/// A target that relabelling dropped.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DroppedTarget {
    pub discovered_labels: BTreeMap<String, String>,
}

/// `/api/v1/metadata`: by metric name.
pub type MetadataAnswer = BTreeMap<String, Vec<MetricMetadata>>;

/// What one target says of one metric.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct MetricMetadata {
    #[serde(rename = "type")]
    pub kind: String,
    pub help: String,
    pub unit: String,
}

#[derive(Debug, Default, Deserialize)]
struct Configuration {
    #[serde(default)]
    global: Global,
    scrape_configs: Option<Vec<Job>>,
}

#[derive(Debug, Default, Deserialize)]
struct Global {
    #[serde(default)]
    external_labels: BTreeMap<String, String>,
    scrape_interval: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Job {
    scrape_interval: Option<String>,
}

/// Prometheus' own default.
const SCRAPE_INTERVAL: Duration = Duration::from_secs(60);

/// The longest time between two scrapes of a job, from the configuration as Prometheus prints it: with the interval of
/// each job. Without jobs the one that they would have.
pub fn longest_interval(yaml: &str) -> Result<Duration, Error> {
    let configuration = read(yaml)?;
    let jobs = configuration.scrape_configs.into_iter().flatten();
    let of_jobs = jobs.filter_map(|job| interval(job.scrape_interval.as_deref())).max();
    let global = || interval(configuration.global.scrape_interval.as_deref());
    Ok(of_jobs.or_else(global).unwrap_or(SCRAPE_INTERVAL))
}

/// The longest interval on Prometheus' own metrics page, which has each that a target was scraped with.
pub fn longest_seen_interval(page: &str) -> Option<Duration> {
    let counts = "prometheus_target_interval_length_seconds_count{interval=\"";
    let intervals = page.lines().filter_map(|line| line.strip_prefix(counts)?.split_once('"'));
    intervals.filter_map(|(text, _)| interval(Some(text))).max()
}

fn interval(text: Option<&str>) -> Option<Duration> {
    model::duration::parse(text?).ok()
}

fn read(yaml: &str) -> Result<Configuration, Error> {
    serde_saphyr::from_str(yaml)
        .map_err(|error| Error::Configuration(first_line(&error.to_string())))
}

/// The external labels in Prometheus' configuration as it prints it.
pub fn external_labels(yaml: &str) -> Result<Labels, Error> {
    Ok(Labels::from_pairs(read(yaml)?.global.external_labels))
}

/// The text of a refusal: the `error` of Prometheus' envelope, or the body's first line.
pub fn error_text(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Refusal {
        error: String,
    }
    match serde_json::from_slice::<Refusal>(body) {
        Ok(refusal) => refusal.error,
        Err(_) => first_line(&String::from_utf8_lossy(body)),
    }
}

/// The value of `prometheus_tsdb_lowest_timestamp`: milliseconds, or the largest integer while there is no sample.
pub fn lowest_timestamp(value: &str) -> Option<i64> {
    let value: f64 = value.trim().parse().ok()?;
    // The conversion saturates; what is that large is no time.
    let milliseconds = value as i64;
    (milliseconds < i64::MAX / 2).then_some(milliseconds)
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// Finds the line with a given start in a text that arrives in parts.
#[derive(Debug)]
pub struct LineFinder {
    start: &'static str,
    rest: Vec<u8>,
}

impl LineFinder {
    pub fn new(start: &'static str) -> Self {
        Self { start, rest: Vec::new() }
    }

    /// Takes the next part; what follows the start on its line, once that is there. A line without its end does not
    /// count.
    pub fn feed(&mut self, part: &[u8]) -> Option<String> {
        self.rest.extend_from_slice(part);
        let end = self.rest.iter().rposition(|byte| *byte == b'\n')?;
        let whole = &self.rest[..end];
        let found = whole
            .split(|byte| *byte == b'\n')
            .find_map(|line| line.strip_prefix(self.start.as_bytes()))
            .map(|value| String::from_utf8_lossy(value).into_owned());
        self.rest.drain(..=end);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn external_labels_are_read_from_the_printed_configuration() {
        let yaml = "global:\n  scrape_interval: 15s\n  external_labels:\n    replica: \"0\"\n    \
                    cluster: eu\nscrape_configs:\n- job_name: x\n";
        let labels = external_labels(yaml).unwrap();
        assert_eq!(labels.to_string(), r#"{cluster="eu", replica="0"}"#);
        assert!(external_labels("scrape_configs: []\n").unwrap().is_empty());
        assert!(external_labels("global: [").is_err());
    }

    #[test]
    fn the_longest_interval_is_of_a_job_or_what_jobs_would_have() {
        let global = "global:\n  scrape_interval: 15s\n";
        assert_eq!(longest_interval(global).unwrap(), Duration::from_secs(15));
        let jobs = "scrape_configs:\n- job_name: a\n  scrape_interval: 5s\n- job_name: b\n  \
                    scrape_interval: 10s\n";
        let both = format!("{global}{jobs}");
        assert_eq!(longest_interval(&both).unwrap(), Duration::from_secs(10));
        for nothing in ["{}", "scrape_configs: []\n", "global: {scrape_interval: x}\n"] {
            assert_eq!(longest_interval(nothing).unwrap(), SCRAPE_INTERVAL);
        }
        assert!(longest_interval("global: [").is_err());
    }

    #[test]
    fn an_interval_that_a_target_had_is_seen() {
        let name = "prometheus_target_interval_length_seconds";
        let page = format!(
            "# TYPE {name} summary\n{name}{{interval=\"3h\",quantile=\"0.5\"}} 9\n\
             {name}_sum{{interval=\"5s\"}} 70\n{name}_count{{interval=\"5s\"}} 14\n\
             {name}_count{{interval=\"1m30s\"}} 1\n{name}_count{{interval=\"?\"}} 1\n"
        );
        assert_eq!(longest_seen_interval(&page), Some(Duration::from_secs(90)));
        assert_eq!(longest_seen_interval("up 1\n"), None);
    }

    #[test]
    fn a_line_is_found_across_parts() {
        let page = "# HELP a b\nxprometheus 1\nprometheus 1.5e+12\nrest 1\n";
        for step in 1..page.len() {
            let mut finder = LineFinder::new("prometheus ");
            let found = page.as_bytes().chunks(step).find_map(|part| finder.feed(part));
            assert_eq!(found.as_deref(), Some("1.5e+12"), "in parts of {step}");
        }
    }

    #[test]
    fn the_lowest_timestamp_of_an_empty_storage_is_no_time() {
        assert_eq!(lowest_timestamp("1.7e+12"), Some(1_700_000_000_000));
        assert_eq!(lowest_timestamp("9.223372036854776e+18"), None);
        assert_eq!(lowest_timestamp("x"), None);
    }

    #[test]
    fn refusals_are_read_from_the_envelope_or_as_text() {
        let json = br#"{"status":"error","errorType":"bad_data","error":"no"}"#;
        assert_eq!(error_text(json), "no");
        assert_eq!(error_text(b"gone\nmore"), "gone");
    }
}
