//! Edits of a running configuration: nothing moves, no scrape is missed, and nothing is scraped twice for long.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;
use testkit::eventually;
use testkit::prometheus::{Prometheus, PrometheusConfig, PrometheusOptions};
use testkit::target::Target;

use crate::coordinated::Coordinated;
use crate::scraped::PATIENCE;

/// The scrape interval, in seconds.
const INTERVAL: f64 = 4.0;

/// Longest time between two samples of a target: half an interval is left for what comes late.
const LONGEST: f64 = 1.5 * INTERVAL;

/// Longest time that a target is scraped as it was and as it is: the new scrape is seen within a second, and Prometheus
/// takes up the end of the old one in two steps of five seconds (its discovery manager, then its scrape manager).
const TWICE: f64 = 1.0 + 10.0 + INTERVAL;

const TARGETS: usize = 4;
const SERIES: usize = 60;
/// Two shards' worth of targets.
const MAX_SERIES: usize = 150;

struct World {
    folder: TempDir,
    targets: Vec<Target>,
    system: Coordinated,
    engines: Vec<Prometheus>,
}

impl World {
    /// Two shards that share the targets, with these lines of the job.
    async fn start(external: &str, job: &str) -> Self {
        testkit::init();
        let folder = tempfile::tempdir().unwrap();
        let mut targets = Vec::new();
        for _ in 0..TARGETS {
            targets.push(Target::start(page()).await);
        }
        write(&folder, &targets, external, job);
        let max_series = format!("--shard.max-series={MAX_SERIES}");
        let flags = [max_series.as_str(), "--coordinator.interval=1s"];
        let system = Coordinated::start(&file(&folder), 2, &flags).await;
        let mut engines = Vec::new();
        for shard in &system.shards {
            let options = PrometheusOptions {
                config: PrometheusConfig::File(shard.config_file()),
                port: Some(shard.prometheus_port),
                ..PrometheusOptions::default()
            };
            engines.push(Prometheus::start(options).await);
        }
        let world = Self { folder, targets, system, engines };
        eventually(PATIENCE, "every target was scraped three times", async || {
            for target in &world.targets {
                let times = world.times(target, "").await;
                if times.len() < 3 {
                    return Err(format!("{}: {times:?}", target.address()));
                }
            }
            Ok(())
        })
        .await;
        let owners = world.owners().await;
        assert!(owners.iter().any(|owner| *owner != owners[0]), "on both shards: {owners:?}");
        world
    }

    /// Writes the file anew and has it read.
    async fn edit(&self, external: &str, job: &str) {
        write(&self.folder, &self.targets, external, job);
        assert_eq!(self.system.reload().await, "");
    }

    /// Which shard owns each target: ids and places as the coordinator shows them.
    async fn owners(&self) -> Vec<(String, String)> {
        eventually(PATIENCE, "every target has one owner and none is moving", async || {
            let data = self.system.data("/api/v1/targets?state=active").await?;
            let shown = data["activeTargets"].as_array().cloned().unwrap_or_default();
            let mut owners = Vec::new();
            for target in &shown {
                let shards = target["shards"].as_array().cloned().unwrap_or_default();
                let [shard] = shards.as_slice() else { return Err(data.to_string()) };
                let instance = target["labels"]["instance"].to_string();
                owners.push((instance, format!("{} {}", shard["id"], shard["state"])));
            }
            owners.sort();
            if owners.len() == TARGETS { Ok(owners) } else { Err(data.to_string()) }
        })
        .await
    }

    /// When a target was scraped, on any shard, under labels that match; ascending.
    async fn times(&self, target: &Target, matchers: &str) -> Vec<f64> {
        let query = format!("up{{instance=\"{}\"{matchers}}}[1h]", target.address());
        let mut times = Vec::new();
        for engine in &self.engines {
            let data = engine.query(&query).await;
            let samples = data["result"].as_array().unwrap().iter();
            let samples = samples.flat_map(|series| series["values"].as_array().unwrap());
            times.extend(samples.map(|sample| sample[0].as_f64().unwrap()));
        }
        times.sort_by(f64::total_cmp);
        times
    }

    /// Nothing has moved, no sample is missing, and the last ones are new.
    async fn check(&self, what: &str, owners: &[(String, String)]) {
        assert_eq!(self.owners().await, owners, "{what}");
        let events = self.system.data("/api/v1/events?after=0").await.unwrap();
        let events = events["events"].as_array().unwrap();
        let of_kind = |kind: &str| {
            let kinds = events.iter().map(|event| event["kind"].as_str().unwrap());
            kinds.filter(|other| other.starts_with(kind)).count()
        };
        let counts = (of_kind("move"), of_kind("target_assigned"));
        assert_eq!(counts, (0, TARGETS), "{what}: {events:?}");
        for target in &self.targets {
            let times = self.times(target, "").await;
            let gap = times.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
            assert!(gap < LONGEST, "{what}: {gap} s without a sample: {times:?}");
        }
    }

    /// Waits until every target is scraped at URLs with these words, and only there, three times.
    async fn until_asked(&self, words: &str) {
        eventually(PATIENCE, &format!("all are asked for {words} only"), async || {
            for target in &self.targets {
                let asked = self.asked(target);
                let new = asked.iter().rev().take_while(|url| url.contains(words)).count();
                if new < 3 {
                    return Err(format!("{asked:?}"));
                }
            }
            Ok(())
        })
        .await;
    }

    /// What Prometheus has asked a target for, oldest first.
    fn asked(&self, target: &Target) -> Vec<String> {
        let by_prometheus = |scrape: &testkit::target::Scrape| {
            let agent = scrape.headers.get("user-agent").and_then(|agent| agent.to_str().ok());
            agent.is_some_and(|agent| agent.starts_with("Prometheus/"))
        };
        let scrapes = target.scrapes();
        let scrapes = scrapes.iter().filter(|scrape| by_prometheus(scrape));
        scrapes.map(|scrape| format!("{} {:?}", scrape.path, scrape.query)).collect()
    }

    fn trials(&self) -> usize {
        let all = |target: &Target| target.scrapes().len() - self.asked(target).len();
        self.targets.iter().map(all).sum()
    }

    async fn stop(self) {
        drop(self.engines);
        self.system.stop().await;
    }
}

fn file(folder: &TempDir) -> PathBuf {
    folder.path().join("prometheus.yml")
}

fn write(folder: &TempDir, targets: &[Target], external: &str, job: &str) {
    let addresses: Vec<&str> = targets.iter().map(Target::address).collect();
    let text = format!(
        "global:\n  scrape_interval: {INTERVAL}s\n  scrape_timeout: {INTERVAL}s\n  external_labels: {{{external}}}\n\
         scrape_configs:\n- job_name: app\n  static_configs: [{{targets: {addresses:?}}}]\n{job}"
    );
    let new = file(folder).with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, file(folder)).unwrap();
}

fn page() -> String {
    (0..SERIES).map(|n| format!("metric{{n=\"{n}\"}} {n}\n")).collect()
}

/// A rule that sets a label.
fn rule(label: &str, value: &str) -> String {
    format!("  relabel_configs: [{{target_label: {label}, replacement: {value}}}]\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_labels_misses_no_scrape_and_moves_nothing() {
    let world = World::start("cluster: a", &rule("team", "red")).await;
    let owners = world.owners().await;
    let trials = world.trials();
    world.edit("cluster: a", &rule("team", "blue")).await;
    eventually(PATIENCE, "only the new labels are scraped", async || {
        for target in &world.targets {
            let (old, new) = (
                world.times(target, ",team=\"red\"").await,
                world.times(target, ",team=\"blue\"").await,
            );
            let since = new.last().copied().unwrap_or(0.0) - old.last().copied().unwrap();
            if since < 2.0 * INTERVAL {
                return Err(format!("{old:?} {new:?}"));
            }
        }
        Ok(())
    })
    .await;
    world.check("a label", &owners).await;
    for target in &world.targets {
        let old = world.times(target, ",team=\"red\"").await;
        let new = world.times(target, ",team=\"blue\"").await;
        let both = old.last().unwrap() - new.first().unwrap();
        assert!(both < TWICE, "scraped twice for {both} s: {old:?} {new:?}");
    }
    // The shard's own file changes, and is reloaded.
    world.edit("cluster: b", &rule("team", "blue")).await;
    eventually(PATIENCE, "the external label is loaded", async || {
        for engine in &world.engines {
            let config = engine.get("/api/v1/status/config", &[]).await;
            if !config["yaml"].as_str().unwrap().contains("cluster: b") {
                return Err(config.to_string());
            }
        }
        Ok(())
    })
    .await;
    let loaded: Vec<usize> = world.targets.iter().map(|target| world.asked(target).len()).collect();
    eventually(PATIENCE, "every target was scraped three times since", async || {
        let since = |(target, before): (&Target, &usize)| world.asked(target).len() >= before + 3;
        world.targets.iter().zip(&loaded).all(since)
    })
    .await;
    world.check("an external label", &owners).await;
    assert_eq!(world.trials(), trials, "nothing was counted again");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_urls_lets_the_old_one_go_once_the_new_one_was_scraped() {
    let world = World::start("", &rule("__param_module", "one")).await;
    let owners = world.owners().await;
    let trials = world.trials();
    world.edit("", &rule("__param_module", "two")).await;
    world.until_asked("\"module\": \"two\"").await;
    world.check("a rule's parameter", &owners).await;
    for target in &world.targets {
        let asked = world.asked(target);
        let first = asked.iter().position(|url| url.contains("two")).unwrap();
        let late = asked[first..].iter().filter(|url| url.contains("one")).count() as f64;
        assert!(late <= (TWICE / INTERVAL).ceil(), "{late} old scrapes after the first: {asked:?}");
    }
    world.edit("", &rule("__metrics_path__", "/other")).await;
    world.until_asked("/other").await;
    world.check("a path", &owners).await;
    // In the job itself: its scrape pool is reloaded.
    world.edit("", "  metrics_path: /third\n").await;
    world.until_asked("/third").await;
    world.check("the job's path", &owners).await;
    assert_eq!(world.trials(), trials, "nothing was counted again");
    world.stop().await;
}
