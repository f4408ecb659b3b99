//! How many shards a configuration would need: discovery, relabelling and trial scrapes as the coordinator does them,
//! then its planner on an empty world. Nothing is started and nothing is assigned.

mod sizes;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::Parser;
use discovery::{JobGroups, JobState};
use promconf::target::JOB;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::config::Config;
use crate::explore::{Explorer, Trial};
use crate::foresee::foresee;
use crate::found::names::Memory;
use crate::found::{self, Found};
use crate::placement::Tagger;
use crate::plan::{
    History, Holding, LifeLimits, Limits, Rules, SERIES_PER_SCRAPE, Size, Snapshot, Tag,
    TargetView, Unassigned, ended,
};
use sizes::Sizes;

/// The size of a target that nothing is known of, where its job has no other.
const SMALL: u64 = 1_000;

/// A plan that is not settled by then never is.
const MOST_TURNS: usize = 500;

/// Turns are taken to be a minute apart, so that no bound on moves a minute matters.
const STEP_MS: i64 = 60_000;

/// What is asked.
#[derive(Debug, Clone)]
pub struct Request {
    /// A prometheus.yml. At least one of this and `snapshot` is needed.
    pub config_file: Option<PathBuf>,
    /// Known sizes: `/api/v1/snapshot` of a coordinator, or the answer of a Prometheus to the instant query
    /// `scrape_samples_post_metric_relabeling`. Alone it is taken for all targets that there are.
    pub snapshot: Option<PathBuf>,
    /// Placement rules; without `config_file` they see no label but the job's name.
    pub placement_file: Option<PathBuf>,
    pub max_series: u64,
    /// Most samples a second of a shard; 0: not limited. Without `config_file` intervals are not known.
    pub max_samples: u64,
    /// Most series of the head of a shard's Prometheus; 0: not limited. Churn is known of a coordinator's snapshot alone.
    pub max_head: u64,
    /// Most shards of a group; `None`: as many as it takes.
    pub max_shards: Option<u32>,
    pub replicas: u32,
    /// Whether targets whose size is not known are scraped once.
    pub scrape: bool,
    pub concurrency: usize,
    /// How long discovery and trial scrapes may take together.
    pub timeout: Duration,
}

/// The answer.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Forecast {
    /// Shards of each replica group.
    pub shards_per_group: Vec<u32>,
    /// No placement can do with fewer a group: series and samples a second over what a shard may have of them.
    pub lower_bound: u64,
    pub max_series: u64,
    pub targets: usize,
    /// Targets whose series were counted, now or in the snapshot.
    pub counted: usize,
    /// The others, taken for the mean of their job.
    pub guessed: usize,
    pub dropped: usize,
    /// Series of one replica group, with the five that Prometheus adds to each target.
    pub load: u64,
    /// Of one replica group, as far as intervals are known.
    pub samples_per_second: f64,
    /// Series of one replica group that end an hour, as far as that is known.
    pub churn_per_hour: u64,
    pub jobs: Vec<JobForecast>,
    pub shards: Vec<ShardForecast>,
    /// Targets that alone exceed a shard.
    pub oversize: Vec<KnownTarget>,
    /// Targets that would not be scraped, with the reason.
    pub unassigned: Vec<Refused>,
    /// What discovery, relabelling and trial scrapes complain of.
    pub problems: Vec<String>,
    /// Shards of the coordinator that the snapshot is of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shards_now: Option<usize>,
}

/// A job in a forecast.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JobForecast {
    pub job: String,
    pub targets: usize,
    pub guessed: usize,
    pub load: u64,
    pub largest: u64,
}

/// A shard in a forecast.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShardForecast {
    pub id: String,
    pub targets: usize,
    pub load: u64,
    pub load_percent: u64,
}

/// A target that would not be scraped.
#[derive(Debug, Clone, Serialize)]
pub struct Refused {
    pub job: String,
    pub url: String,
    pub group: u32,
    pub reason: String,
}

/// A snapshot, as `/api/v1/snapshot` serves it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Taken {
    pub groups: u32,
    pub max_series: u64,
    pub targets: Vec<KnownTarget>,
    #[serde(default)]
    pub shards: Vec<KnownShard>,
}

/// A target of a snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownTarget {
    /// In hexadecimal.
    pub id: String,
    pub job: String,
    pub url: String,
    /// After metric relabelling; `None`: not counted yet.
    #[serde(default)]
    pub series: Option<u64>,
    /// Series that end an hour; 0: none, or not known.
    #[serde(default, rename = "churnPerHour")]
    pub churn_per_hour: u32,
}

/// A shard of a snapshot.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KnownShard {
    pub id: String,
    pub max_series: u64,
    pub series: u64,
}

/// A target whose size is to be known.
#[derive(Debug, Clone)]
struct Candidate {
    id: u64,
    job: Arc<str>,
    url: String,
    series: Option<u64>,
    churn: u32,
    /// What placement rules make of it.
    tag: Tag,
    interval: Duration,
}

/// Makes a forecast. Everything it starts ends with `ctx.shutdown`.
pub async fn run(request: Request, ctx: &svc::Context) -> anyhow::Result<Forecast> {
    ensure!(request.replicas > 0, "--replicas has to be greater than 0");
    let until = Instant::now() + request.timeout;
    let sizes = match &request.snapshot {
        Some(path) => Sizes::read(path).await?,
        None => Sizes::default(),
    };
    let placement = crate::reload::load_placement(request.placement_file.as_deref()).await;
    let placement = Arc::new(placement.context("load --placement.config-file")?);
    let (rules, mut tagger) = (Arc::clone(&placement.rules), Tagger::new(placement));
    let mut forecast = Forecast { shards_now: sizes.shards_now(), ..Forecast::default() };
    let candidates = match &request.config_file {
        Some(path) => {
            let config = crate::reload::load(path).await.context("load --config.file")?;
            let config = Arc::new(config);
            let found = discover(&config, &request, until, ctx, &mut forecast).await?;
            forecast.dropped = found.dropped_counts.values().sum();
            let mut all = count(&config, &found, &sizes, &request, until, ctx, &mut forecast).await;
            for (candidate, found) in all.iter_mut().zip(&found.targets) {
                let labels = &found.target.labels;
                candidate.tag = tagger.tag(&found.job, &|name| labels.value(name));
                candidate.interval = found.target.scrape_interval();
            }
            all
        }
        None => {
            let mut all = sizes.candidates();
            for candidate in &mut all {
                let job = Arc::clone(&candidate.job);
                candidate.tag = tagger.tag(&job, &|name| if name == JOB { &job } else { "" });
            }
            all
        }
    };
    ensure!(
        request.config_file.is_some() || request.snapshot.is_some(),
        "--config.file or --snapshot is needed"
    );
    place(candidates, rules, &request, forecast).await
}

/// The bounds that a coordinator has by default, with these.
pub fn limits(max_series: u64, max_shards: Option<u32>) -> anyhow::Result<Limits> {
    #[derive(Debug, Parser)]
    struct Defaults {
        #[command(flatten)]
        args: crate::Args,
    }
    let mut flags = vec![
        "coordinator".to_owned(),
        "--shard.backend=static".to_owned(),
        format!("--shard.max-series={max_series}"),
    ];
    flags.extend(max_shards.map(|most| format!("--shard.max-shard={most}")));
    let config = Config::try_from(Defaults::try_parse_from(flags)?.args)?;
    let life = LifeLimits { scale_step: u32::MAX, ..config.limits.life };
    Ok(Limits { scalable: true, life, ..config.limits })
}

/// What the configuration finds, once every job has answered or the time is over.
async fn discover(
    config: &Arc<promconf::Config>,
    request: &Request,
    until: Instant,
    ctx: &svc::Context,
    forecast: &mut Forecast,
) -> anyhow::Result<Found> {
    let folder = request.config_file.as_deref().and_then(std::path::Path::parent);
    let folder = folder.unwrap_or(std::path::Path::new(""));
    let options = discovery::Options::default();
    let jobs = &config.scrape_configs;
    let (_manager, mut groups) = discovery::Manager::start_with(jobs, folder, options, ctx);
    let answered = |groups: &Arc<Vec<JobGroups>>| {
        let answered = groups.iter().filter(|job| !matches!(job.state, JobState::Pending)).count();
        answered >= jobs.len()
    };
    wait_for(&mut groups, answered, until).await?;
    let groups = Arc::clone(&groups.borrow());
    for job in groups.iter() {
        match &job.state {
            JobState::Complete => {}
            JobState::Pending => {
                let waited = request.timeout;
                forecast
                    .problems
                    .push(format!("job {}: discovery has not answered within {waited:?}", job.job));
            }
            JobState::Partial { errors } => {
                let errors = errors.iter().map(|error| format!("job {}: {error}", job.job));
                forecast.problems.extend(errors);
            }
        }
    }
    let config = Arc::clone(config);
    let find = move || {
        let (before, memory) = (Found::default(), Memory::default());
        found::find(&config, &groups, &mut HashSet::new(), &before, &memory)
    };
    tokio::task::spawn_blocking(find).await.context("relabel targets")
}

/// Returns when it is so, or the time is over.
async fn wait_for<T>(
    seen: &mut watch::Receiver<T>,
    is_so: impl FnMut(&T) -> bool,
    until: Instant,
) -> anyhow::Result<()> {
    match tokio::time::timeout_at(until, seen.wait_for(is_so)).await {
        Ok(Err(_)) => bail!("discovery has ended"),
        Ok(Ok(_)) | Err(_) => Ok(()),
    }
}

/// Every found target with its size, from what is known or by a trial scrape.
async fn count(
    config: &Arc<promconf::Config>,
    found: &Found,
    sizes: &Sizes,
    request: &Request,
    until: Instant,
    ctx: &svc::Context,
    forecast: &mut Forecast,
) -> Vec<Candidate> {
    let mut candidates: Vec<Candidate> = found
        .targets
        .iter()
        .map(|found| Candidate {
            id: found.id(),
            job: Arc::clone(&found.job),
            url: found.target.url(),
            series: sizes.of(found).map(|size| size.series),
            churn: sizes.of(found).map_or(0, |size| size.churn),
            tag: Tag::default(),
            interval: Duration::ZERO,
        })
        .collect();
    let open: HashSet<u64> = candidates
        .iter()
        .filter(|candidate| candidate.series.is_none())
        .map(|candidate| candidate.id)
        .collect();
    if !request.scrape || open.is_empty() {
        return candidates;
    }
    let wanted = found.targets.iter().filter(|found| open.contains(&found.id()));
    let explorer = Explorer::start(request.concurrency, ctx);
    explorer.want(config, wanted.cloned().collect());
    let counted = scrape(&explorer, open, until).await;
    for candidate in &mut candidates {
        match counted.get(&candidate.id) {
            Some(Ok(series)) => candidate.series = Some(*series),
            Some(Err(error)) => forecast.problems.push(format!("{}: {error}", candidate.url)),
            None => {}
        }
    }
    candidates
}

/// Series or the last error of each target, until all are counted or given up, or the time is over.
async fn scrape(
    explorer: &Explorer,
    mut open: HashSet<u64>,
    until: Instant,
) -> HashMap<u64, Result<u64, String>> {
    let mut results = HashMap::new();
    while !open.is_empty() {
        if tokio::time::timeout_at(until, explorer.news()).await.is_err() {
            break;
        }
        for (id, trial) in explorer.take() {
            match trial {
                Trial::Counted(series) => {
                    open.remove(&id);
                    results.insert(id, Ok(series));
                }
                Trial::Failed { error, given_up, .. } => {
                    if given_up {
                        open.remove(&id);
                    }
                    results.insert(id, Err(error));
                }
            }
        }
    }
    results
}

/// The planner, on an empty world.
async fn place(
    candidates: Vec<Candidate>,
    rules: Arc<Rules>,
    request: &Request,
    mut forecast: Forecast,
) -> anyhow::Result<Forecast> {
    let limits = limits(request.max_series, request.max_shards)?;
    let (max_samples, max_head) = (request.max_samples, request.max_head);
    let limits = Limits { max_samples, max_head, ..limits };
    let means = means(&candidates);
    let mut targets: Vec<TargetView> = candidates
        .iter()
        .map(|candidate| TargetView {
            id: candidate.id,
            job: Arc::clone(&candidate.job),
            tag: candidate.tag,
            interval_ms: u32::try_from(candidate.interval.as_millis()).unwrap_or(u32::MAX),
            churn: candidate.churn,
            size: match candidate.series {
                Some(series) => Size::Counted(series),
                None => Size::Tentative(means.get(&candidate.job).copied().unwrap_or(SMALL)),
            },
        })
        .collect();
    targets.sort_by_key(|target| target.id);
    targets.dedup_by_key(|target| target.id);
    forecast.add_targets(&targets, &limits);
    let seen = Snapshot {
        targets: targets.into(),
        rules,
        groups: request.replicas,
        ..Snapshot::default()
    };
    let bounds = limits.clone();
    let planned = tokio::task::spawn_blocking(move || {
        foresee(seen, &bounds, &History::default(), 0, (STEP_MS, MOST_TURNS))
    });
    let (plans, after) = planned.await.context("plan")?;
    let names: HashMap<u64, &Candidate> =
        candidates.iter().map(|candidate| (candidate.id, candidate)).collect();
    forecast.add_shards(&after, &limits);
    let name = |id: u64| {
        names.get(&id).map(|candidate| (candidate.job.to_string(), candidate.url.clone()))
    };
    if let Some(last) = plans.last() {
        forecast.shards_per_group.clone_from(&last.shard_counts);
        forecast.oversize = last
            .oversize
            .iter()
            .filter(|(_, shard, _)| shard.group == 0)
            .map(|(id, _, load)| known(*id, name(*id), *load))
            .collect();
        forecast.unassigned =
            last.unassigned.iter().map(|refused| refuse(refused, name(refused.target))).collect();
    }
    Ok(forecast)
}

fn known(id: u64, name: Option<(String, String)>, load: u64) -> KnownTarget {
    let (job, url) = name.unwrap_or_default();
    let series = Some(load.saturating_sub(SERIES_PER_SCRAPE));
    KnownTarget { id: format!("{id:016x}"), job, url, series, churn_per_hour: 0 }
}

fn refuse(refused: &Unassigned, name: Option<(String, String)>) -> Refused {
    let (job, url) = name.unwrap_or_default();
    Refused { job, url, group: refused.group, reason: refused.reason.to_string() }
}

/// The mean of the counted targets of each job.
fn means(candidates: &[Candidate]) -> BTreeMap<Arc<str>, u64> {
    let mut sums: BTreeMap<Arc<str>, (u64, u64)> = BTreeMap::new();
    for candidate in candidates {
        let Some(series) = candidate.series else { continue };
        let (sum, count) = sums.entry(Arc::clone(&candidate.job)).or_default();
        (*sum, *count) = (*sum + series, *count + 1);
    }
    sums.into_iter().map(|(job, (sum, count))| (job, sum / count.max(1))).collect()
}

impl Forecast {
    fn add_targets(&mut self, targets: &[TargetView], limits: &Limits) {
        let mut jobs: BTreeMap<&str, JobForecast> = BTreeMap::new();
        for target in targets {
            let (load, guessed) = match target.size {
                Size::Counted(series) => (series + SERIES_PER_SCRAPE, false),
                Size::Tentative(series) => (series + SERIES_PER_SCRAPE, true),
                Size::Unknown => (SERIES_PER_SCRAPE, true),
            };
            let job = jobs.entry(&target.job).or_default();
            job.targets += 1;
            job.guessed += usize::from(guessed);
            job.load += load;
            job.largest = job.largest.max(load);
            self.guessed += usize::from(guessed);
            self.load += load;
        }
        self.jobs = jobs
            .into_iter()
            .map(|(name, job)| JobForecast { job: name.to_owned(), ..job })
            .collect();
        self.targets = targets.len();
        self.counted = self.targets - self.guessed;
        self.max_series = limits.max_series;
        let samples = targets.iter().map(TargetView::samples_per_second).sum::<f64>();
        self.samples_per_second = samples;
        self.lower_bound = self.load.div_ceil(limits.max_series.max(1));
        if limits.max_samples > 0 {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "few")]
            let by_samples = (samples / limits.max_samples as f64).ceil() as u64;
            self.lower_bound = self.lower_bound.max(by_samples);
        }
        self.churn_per_hour = targets.iter().map(|target| u64::from(target.churn)).sum();
        if limits.max_head > 0 {
            let ended = targets.iter().map(|target| ended(target.churn)).sum::<u64>();
            let by_heads = self.load.saturating_add(ended).div_ceil(limits.max_head);
            self.lower_bound = self.lower_bound.max(by_heads);
        }
    }

    fn add_shards(&mut self, after: &Snapshot, limits: &Limits) {
        let shard = |shard: &crate::plan::ShardView| {
            let load = |held: &Holding| {
                let at = after.targets.binary_search_by_key(&held.target, |target| target.id);
                let view = at.ok().and_then(|at| after.targets.get(at));
                let (interval, churn) = view.map_or((0, 0), |view| (view.interval_ms, view.churn));
                limits.load(held.series, interval, churn)
            };
            let load: u64 = shard.holdings.iter().map(load).sum();
            ShardForecast {
                id: shard.id.to_string(),
                targets: shard.holdings.len(),
                load,
                load_percent: (load * 100).checked_div(shard.capacity).unwrap_or(0),
            }
        };
        self.shards = after.shards.iter().map(shard).collect();
    }
}
