//! A real Prometheus on each file as it stands, then one as the shard of a coordinator of that file.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use testkit::eventually;
use testkit::prometheus::{Prometheus, PrometheusConfig, PrometheusOptions};

use crate::checked::{REFUSED, is_refused};
use crate::coordinated::Coordinated;
use crate::corpus::{self, Copy};
use crate::observation::Observation;
use crate::recorder::Recorder;
use crate::secrets::{self, Log};
use crate::shard;

pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// How many files at once: each spends its time waiting.
const AT_ONCE: usize = 6;

/// Files whose Prometheus sends something of its own: to how many paths.
const POSTS: &[(&str, usize)] = &[("remote", 3)];

/// What is known to differ: the file, what the original has, and what the shard has in its place. Every line is a
/// defect, or a version of Prometheus that we do not follow, and goes with it.
///
/// Before 3.0 the first value of a job's parameter wins over a `__param_*` label that discovery has set; with us, as
/// since then, the label does.
const DIVERGES: &[(&str, &str, &str)] = &[
    ("relabel-intervals", "\"all\":\"1|/slow|", "\"all\":\"2|/slow|"),
    ("relabel-intervals", "/slow?depth=1", "/slow?depth=2"),
];

/// How many requests a coordinator makes to count series that Prometheus does not make: to targets of a job with more
/// of them than its `target_limit`, which Prometheus does not scrape at all, and where `proxy_url` is empty, which
/// before 3.0 makes every scrape fail.
const TRIALS: &[(&str, usize)] = &[("limits", 2), ("proxy", 1)];

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_sends_the_requests_and_keeps_the_series_of_the_original_file() {
    testkit::init();
    let log = Log::capture();
    let recorder = Arc::new(Recorder::start().await);
    let only = std::env::var("CORPUS_FILE").ok();
    let names = corpus::names()
        .into_iter()
        .enumerate()
        .filter(|(_, name)| !is_refused(name) && only.as_ref().is_none_or(|only| only == name));
    let checks = names.map(|(n, name)| {
        let recorder = Arc::clone(&recorder);
        let check = async move {
            let copy = Copy::live(&name, n + 10, &recorder.ports);
            compare(copy, &recorder).await;
        };
        AssertUnwindSafe(check).catch_unwind()
    });
    let checks: Vec<_> = futures::stream::iter(checks).buffer_unordered(AT_ONCE).collect().await;
    let wrong: Vec<String> = checks
        .into_iter()
        .filter_map(|check| match check {
            Ok(()) => None,
            Err(panic) => {
                Some(panic.downcast_ref::<String>().cloned().unwrap_or("panicked".to_owned()))
            }
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert_eq!(secrets::in_text(&log.text()), BTreeSet::new(), "log");
    assert!(REFUSED.len() < 10, "most of the corpus has to be scraped");
}

async fn compare(copy: Copy, recorder: &Recorder) {
    let name = copy.name.clone();
    let config = promconf::load(&copy.config_file()).unwrap();
    let targets = shard::targets(&config);
    let original = {
        let config = PrometheusConfig::File(copy.original());
        let prometheus =
            Prometheus::start(PrometheusOptions { config, ..Default::default() }).await;
        settled(&prometheus, recorder, &copy, targets.len()).await
    };
    let mut expected = original.clone();
    for (_, from, to) in DIVERGES.iter().filter(|(file, ..)| *file == name) {
        expected = expected.replaced(from, to);
    }
    let allowed = TRIALS.iter().find(|(file, _)| *file == name).map_or(0, |(_, count)| *count);
    recorder.forget(&copy.prefix);
    let system = Coordinated::start(&copy.config_file(), 1, &["--coordinator.interval=2s"]).await;
    let shard = &system.shards[0];
    let prometheus = Prometheus::start(PrometheusOptions {
        config: PrometheusConfig::File(shard.config_file()),
        port: Some(shard.prometheus_port),
        ..Default::default()
    })
    .await;
    eventually(PATIENCE, &format!("{name}: the shard does what the original does"), async || {
        let seen = Observation::of(&prometheus, recorder, &copy.prefix).await?;
        let mut difference = expected.difference(&seen);
        let strange = seen.strange_trials();
        if strange.len() > allowed {
            difference += &format!("\ntrials: {strange:#?}");
        }
        if difference.is_empty() { Ok(()) } else { Err(difference) }
    })
    .await;
    secrets::check(&copy, &system).await;
    system.stop().await;
}

/// Once every target was scraped, all else was sent, and every recording rule has recorded something.
async fn settled(
    prometheus: &Prometheus,
    recorder: &Recorder,
    copy: &Copy,
    targets: usize,
) -> Observation {
    let posts = POSTS.iter().find(|(name, _)| *name == copy.name).map_or(0, |(_, posts)| *posts);
    eventually(PATIENCE, &format!("{}: the original scrapes", copy.name), async || {
        let seen = Observation::of(prometheus, recorder, &copy.prefix).await?;
        let recorded = recorded(prometheus).await;
        if seen.targets() == targets && seen.posts() >= posts && seen.has_series(&recorded) {
            Ok(seen)
        } else {
            Err(format!(
                "{targets} targets, {posts} posts and series {recorded:?} were expected of {seen:#?}"
            ))
        }
    })
    .await
}

/// The metrics that recording rules make.
async fn recorded(prometheus: &Prometheus) -> Vec<String> {
    let answer = prometheus.get("/api/v1/rules", &[("type", "record")]).await;
    let groups = answer["groups"].as_array().into_iter().flatten();
    let rules = groups.flat_map(|group| group["rules"].as_array().into_iter().flatten());
    rules.map(|rule| rule["name"].as_str().unwrap().to_owned()).collect()
}
