//! From a discovered address to a target (Prometheus 3.14 scrape/target.go, `PopulateLabels`).

#[cfg(test)]
mod tests;
mod url;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::labels::is_legacy_label_name;
use model::{Labels, LabelsBuilder, duration};
use xxhash_rust::xxh64::Xxh64;

use crate::{ScrapeConfig, TargetGroup, relabel};

pub const ADDRESS: &str = "__address__";
pub const SCHEME: &str = "__scheme__";
pub const METRICS_PATH: &str = "__metrics_path__";
pub const SCRAPE_INTERVAL: &str = "__scrape_interval__";
pub const SCRAPE_TIMEOUT: &str = "__scrape_timeout__";
pub const PARAM_PREFIX: &str = "__param_";
pub const META_PREFIX: &str = "__meta_";
pub const JOB: &str = "job";
pub const INSTANCE: &str = "instance";
/// Carries [`Target::id`] through a shard's Prometheus, which shows it among the discovered labels.
pub const TARGET_ID: &str = "__shoal_target_id__";
const UNIX_SOCKET: &str = "__unix_socket__";

/// Labels of Prometheus 3.14 that mirror three booleans of the job. Older versions do not know them.
const HISTOGRAM_LABELS: [&str; 3] = [
    "__convert_classic_histograms_to_nhcb__",
    "__always_scrape_classic_histograms__",
    "__scrape_native_histograms__",
];

/// What has become of a discovered address.
#[derive(Debug, Clone)]
pub enum Populated {
    /// To be scraped.
    Active(Target),
    /// Dropped by a relabelling rule.
    Dropped { discovered: Labels },
}

/// Something to scrape.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Stable over restarts and equal on every machine: its [`identity`]. Targets that differ in labels alone share it;
    /// whoever needs them apart gives them others.
    pub id: u64,
    pub job: Arc<str>,
    /// After relabelling: the public labels, and of the hidden ones those that say how to scrape (`__address__`,
    /// `__scheme__`, `__metrics_path__`, `__scrape_interval__`, `__scrape_timeout__`, `__param_*`).
    pub labels: Labels,
    /// The job's query parameters; a `__param_<name>` label replaces the first value of its name.
    pub params: Arc<BTreeMap<String, Vec<String>>>,
}

/// Why an address is no target: Prometheus drops it for the same reason.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum TargetError {
    #[error("no address")]
    NoAddress,
    #[error("{0:?} is not a valid hostname")]
    Address(String),
    #[error("scrape interval {0:?} is no duration")]
    Interval(String),
    #[error("scrape interval cannot be 0")]
    ZeroInterval,
    #[error("scrape timeout {0:?} is no duration")]
    Timeout(String),
    #[error("scrape timeout cannot be 0")]
    ZeroTimeout,
    #[error("scrape timeout cannot be greater than scrape interval ({timeout:?} > {interval:?})")]
    TimeoutOverInterval { timeout: String, interval: String },
    #[error("label {name} has to be true or false, not {value:?}")]
    Boolean { name: &'static str, value: String },
}

impl Target {
    /// What is requested: scheme, address, path and query.
    #[must_use]
    pub fn url(&self) -> String {
        url::build(&self.labels, &self.params)
    }

    /// The labels that its series carry: without `__*`.
    #[must_use]
    pub fn public_labels(&self) -> Labels {
        self.labels.filter(|name| !name.starts_with("__"))
    }

    /// How often it is scraped.
    #[must_use]
    pub fn scrape_interval(&self) -> Duration {
        // `populate` has parsed both once: the defaults are never needed.
        duration::parse(self.labels.value(SCRAPE_INTERVAL)).unwrap_or(Duration::from_secs(60))
    }

    /// How long a scrape may take.
    #[must_use]
    pub fn scrape_timeout(&self) -> Duration {
        duration::parse(self.labels.value(SCRAPE_TIMEOUT)).unwrap_or(Duration::from_secs(10))
    }
}

/// Every target of a group, in order.
pub fn populate_group(
    job: &ScrapeConfig,
    group: &TargetGroup,
) -> Vec<Result<Populated, TargetError>> {
    let populator = Populator::new(job);
    let addresses = group.targets.iter();
    addresses.map(|address| populator.populate(address, &group.labels)).collect()
}

/// One address with its group's labels.
pub fn populate(
    job: &ScrapeConfig,
    address: &str,
    group: &BTreeMap<String, String>,
) -> Result<Populated, TargetError> {
    Populator::new(job).populate(address, group)
}

/// Makes targets of a job. What all of them have in common is made once.
#[derive(Debug)]
pub struct Populator<'a> {
    job: &'a ScrapeConfig,
    name: Arc<str>,
    params: Arc<BTreeMap<String, Vec<String>>>,
}

impl<'a> Populator<'a> {
    /// For a job.
    #[must_use]
    pub fn new(job: &'a ScrapeConfig) -> Self {
        let name = Arc::from(job.job_name.as_str());
        Self { job, name, params: Arc::new(job.params.clone()) }
    }

    /// The job's name.
    #[must_use]
    pub fn job(&self) -> &Arc<str> {
        &self.name
    }

    /// The labels of an address before relabelling.
    #[must_use]
    pub fn discovered(&self, address: &str, group: &BTreeMap<String, String>) -> Labels {
        discover(self.job, address, group).build()
    }

    /// One address with its group's labels.
    pub fn populate(
        &self,
        address: &str,
        group: &BTreeMap<String, String>,
    ) -> Result<Populated, TargetError> {
        let job = self.job;
        let mut builder = discover(job, address, group);
        if !relabel::process_builder(&mut builder, &job.relabel_configs) {
            return Ok(Populated::Dropped { discovered: self.discovered(address, group) });
        }
        check(&builder)?;
        // What Prometheus would fill in by itself is left to it: its version and feature flags decide the default.
        let defaults = histogram_defaults(job);
        builder.retain(|name, value| {
            let is_default = defaults.contains(&(name, value));
            is_kept(name) && !is_default && !is_plain_param(job, name, value)
        });
        if builder.get(INSTANCE).is_none() {
            let address = builder.get(ADDRESS).unwrap_or_default().to_owned();
            builder.set(INSTANCE, address);
        }
        let labels = builder.build();
        let id = identity(&job.job_name, &labels, &self.params);
        let (job, params) = (Arc::clone(&self.name), Arc::clone(&self.params));
        Ok(Populated::Active(Target { id, job, labels, params }))
    }
}

/// The labels before relabelling.
fn discover(job: &ScrapeConfig, address: &str, group: &BTreeMap<String, String>) -> LabelsBuilder {
    let mut builder = LabelsBuilder::default();
    for (name, value) in group {
        builder.set(name.as_str(), value.as_str());
    }
    // An address that is empty counts as set, and hides one of the group.
    builder.set(ADDRESS, address);
    let interval = duration::format(job.scrape_interval);
    let timeout = duration::format(job.scrape_timeout);
    let defaults = [
        (JOB, job.job_name.as_str()),
        (SCRAPE_INTERVAL, &interval),
        (SCRAPE_TIMEOUT, &timeout),
        (METRICS_PATH, &job.metrics_path),
        (SCHEME, &job.scheme),
    ];
    for (name, value) in defaults.into_iter().chain(histogram_defaults(job)) {
        if builder.get(name).is_none() {
            builder.set(name, value);
        }
    }
    for (name, values) in &job.params {
        let label = format!("{PARAM_PREFIX}{name}");
        if let Some(first) = values.first().filter(|_| builder.get(&label).is_none()) {
            builder.set(label, first.as_str());
        }
    }
    builder
}

fn histogram_defaults(job: &ScrapeConfig) -> [(&'static str, &'static str); 3] {
    let [convert, always, native] = HISTOGRAM_LABELS;
    let text = |flag: bool| if flag { "true" } else { "false" };
    [
        (convert, text(job.convert_classic_histograms_to_nhcb)),
        (always, text(job.always_scrape_classic_histograms)),
        (native, text(job.scrape_native_histograms)),
    ]
}

/// Hidden labels that say how to scrape stay, `__meta_*` and rules' temporaries go.
fn is_kept(name: &str) -> bool {
    !name.starts_with("__")
        || name.starts_with(PARAM_PREFIX)
        || [ADDRESS, SCHEME, METRICS_PATH, SCRAPE_INTERVAL, SCRAPE_TIMEOUT, UNIX_SOCKET]
            .contains(&name)
        || HISTOGRAM_LABELS.contains(&name)
}

/// A parameter as the job has it, under a name such as `match[]`: Prometheus 2 refuses it as a label of a target, and
/// every version takes it from the job in any case.
fn is_plain_param(job: &ScrapeConfig, name: &str, value: &str) -> bool {
    let Some(param) = name.strip_prefix(PARAM_PREFIX) else { return false };
    let first = job.params.get(param).and_then(|values| values.first());
    !is_legacy_label_name(name) && first.is_some_and(|first| first == value)
}

fn check(labels: &LabelsBuilder) -> Result<(), TargetError> {
    let value = |name: &str| labels.get(name).unwrap_or_default().to_owned();
    let address = value(ADDRESS);
    if address.is_empty() {
        return Err(TargetError::NoAddress);
    }
    if address.contains('/') {
        return Err(TargetError::Address(address));
    }
    let (interval, timeout) = (value(SCRAPE_INTERVAL), value(SCRAPE_TIMEOUT));
    let interval_parsed =
        duration::parse(&interval).map_err(|_| TargetError::Interval(interval.clone()))?;
    if interval_parsed.is_zero() {
        return Err(TargetError::ZeroInterval);
    }
    let timeout_parsed =
        duration::parse(&timeout).map_err(|_| TargetError::Timeout(timeout.clone()))?;
    if timeout_parsed.is_zero() {
        return Err(TargetError::ZeroTimeout);
    }
    if timeout_parsed > interval_parsed {
        return Err(TargetError::TimeoutOverInterval { timeout, interval });
    }
    for name in HISTOGRAM_LABELS {
        let value = value(name);
        // Go's strconv.ParseBool.
        let known =
            ["", "1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"];
        if !known.contains(&value.as_str()) {
            return Err(TargetError::Boolean { name, value });
        }
    }
    Ok(())
}

/// What makes a scrape another one: its job, and what is requested of whom (scheme, address, path and query). Neither
/// public labels nor interval and timeout count: they are changed in place. xxhash64 over the job's name, the URL and
/// the Unix socket, if there is one.
#[must_use]
pub fn identity(job: &str, labels: &Labels, params: &BTreeMap<String, Vec<String>>) -> u64 {
    let mut hasher = Xxh64::new(0);
    for part in [job, &url::build(labels, params), labels.value(UNIX_SOCKET)] {
        hasher.update(part.as_bytes());
        // Never part of UTF-8, so that no two lists of parts look alike.
        hasher.update(&[0xFF]);
    }
    hasher.digest()
}
