//! The coordinator's own metrics, all under `shoal_coordinator_`.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::detect::Verdict;
use crate::plan::{Decision, MovePhase, MoveReport, Reason};
use crate::status::ShardStatus;

type Labels = [(&'static str, String); 1];
type Gauges = Family<Labels, Gauge>;
type Counters = Family<Labels, Counter>;

/// Handles of all of them. Cloneable.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    config_ok: Gauge,
    config_time: Gauge<f64, AtomicU64>,
    targets: Gauges,
    missing: Gauge,
    unassigned: Gauges,
    moves: Counters,
    decisions: Counters,
    trials: Counters,
    cycle: Histogram,
    discovery_errors: Gauge,
    shards: Gauges,
    shard_states: Gauges,
    shard_series: Gauges,
    shard_targets: Gauges,
    shard_capacity: Gauges,
    shard_load: Gauges,
    shard_churn: Gauges,
    oversize: Gauge,
    held_jobs: Gauge,
    phases: Family<Labels, Histogram, fn() -> Histogram>,
    epoch: Gauge,
    leader: Gauge,
    stopped: Gauges,
    discovery_held: Gauge,
    moving: Gauge,
    config_errors: Gauge,
    /// Of what is sent to shards.
    pub(crate) pushes: Pushes,
}

/// What is sent to shards as assignments. Cloneable.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pushes {
    pub(crate) bytes: Counter,
    outcomes: Counters,
}

impl Pushes {
    /// The shard has taken it.
    pub(crate) const APPLIED: &str = "applied";
    /// The shard knows a newer one: another coordinator leads.
    pub(crate) const REFUSED_STALE: &str = "refused_stale";
    /// No answer, or one that makes no sense.
    pub(crate) const FAILED: &str = "failed";

    pub(crate) fn ended(&self, outcome: &str) {
        self.outcomes.get_or_create(&[("outcome", outcome.to_owned())]).inc();
    }
}

impl Metrics {
    pub(crate) fn register(ctx: &svc::Context) -> Self {
        ctx.metrics.register(|registry| {
            let metrics = Self {
                config_ok: Gauge::default(),
                config_time: Gauge::default(),
                targets: Family::default(),
                missing: Gauge::default(),
                unassigned: Family::default(),
                moves: Family::default(),
                decisions: Family::default(),
                trials: Family::default(),
                cycle: durations(),
                discovery_errors: Gauge::default(),
                shards: Family::default(),
                shard_states: Family::default(),
                shard_series: Family::default(),
                shard_targets: Family::default(),
                shard_capacity: Family::default(),
                shard_load: Family::default(),
                shard_churn: Family::default(),
                oversize: Gauge::default(),
                held_jobs: Gauge::default(),
                phases: Family::new_with_constructor(durations),
                epoch: Gauge::default(),
                leader: Gauge::default(),
                stopped: Family::default(),
                discovery_held: Gauge::default(),
                moving: Gauge::default(),
                config_errors: Gauge::default(),
                pushes: Pushes::default(),
            };
            metrics.name(registry);
            metrics.name_more(registry);
            metrics.begin_with_zeros();
            metrics
        })
    }

    fn name(&self, registry: &mut Registry) {
        let name = |name: &str| format!("shoal_coordinator_{name}");
        let ok = self.config_ok.clone();
        registry.register(
            name("config_last_reload_successful"),
            "Whether the last reading of the configuration succeeded",
            ok,
        );
        let time = self.config_time.clone();
        registry.register(
            name("config_last_reload_success_timestamp_seconds"),
            "When the configuration was last read with success",
            time,
        );
        registry.register(name("targets"), "Discovered targets", self.targets.clone());
        registry.register(
            name("missing_targets"),
            "Discovered targets times replica groups, less those that a shard scrapes: 0 is complete",
            self.missing.clone(),
        );
        registry.register(
            name("unassigned_targets"),
            "Targets that a replica group does not scrape, by reason",
            self.unassigned.clone(),
        );
        registry.register(name("moves"), "Moves of targets, by outcome", self.moves.clone());
        registry.register(
            name("decisions"),
            "Decisions about shards, by kind",
            self.decisions.clone(),
        );
        registry.register(name("trial_scrapes"), "Trial scrapes, by outcome", self.trials.clone());
        registry.register(
            name("cycle_duration_seconds"),
            "Time from observing to having applied",
            self.cycle.clone(),
        );
        registry.register(
            name("discovery_errors"),
            "Errors that discovery and relabelling complain of now",
            self.discovery_errors.clone(),
        );
        registry.register(
            name("shards"),
            "Shards by state of their Prometheus",
            self.shards.clone(),
        );
        registry.register(
            name("shard_states"),
            "Shards by state: their rung on the ladder while they are well, else what is wrong",
            self.shard_states.clone(),
        );
        registry.register(
            name("shard_series"),
            "Series of the targets that a shard holds",
            self.shard_series.clone(),
        );
        registry.register(
            name("shard_targets"),
            "Targets that a shard holds",
            self.shard_targets.clone(),
        );
        registry.register(
            name("scrape_stopped"),
            "1 for each job that the emergency switch stops; an empty job is all of them",
            self.stopped.clone(),
        );
        registry.register(
            name("discovery_held_jobs"),
            "Jobs whose first answer lacks so much of what shards hold that they keep it for now",
            self.discovery_held.clone(),
        );
        registry.register(
            name("pushed_bytes"),
            "Bytes sent to shards as assignments",
            self.pushes.bytes.clone(),
        );
        registry.register(name("epoch"), "The epoch that assignments carry", self.epoch.clone());
    }

    fn name_more(&self, registry: &mut Registry) {
        let name = |name: &str| format!("shoal_coordinator_{name}");
        registry.register(
            name("pushes"),
            "Assignments sent to shards, by what became of them",
            self.pushes.outcomes.clone(),
        );
        registry.register(
            name("moves_under_way"),
            "Targets between two shards now",
            self.moving.clone(),
        );
        registry.register(
            name("shard_config_errors"),
            "Shards whose Prometheus does not run the configuration that it should",
            self.config_errors.clone(),
        );
        registry.register(
            name("shard_max_series"),
            "Most series that a shard may hold now",
            self.shard_capacity.clone(),
        );
        registry.register(
            name("shard_load"),
            "What a shard holds as planned with: series, or more where samples a second or the head weigh more",
            self.shard_load.clone(),
        );
        registry.register(
            name("shard_churned_series_per_hour"),
            "Series of the targets that a shard holds that end an hour, and stay in its head for a while",
            self.shard_churn.clone(),
        );
        registry.register(
            name("oversize_targets"),
            "Targets that alone exceed what a shard may hold",
            self.oversize.clone(),
        );
        registry.register(
            name("held_jobs"),
            "Jobs whose discovery is not complete, so that shards keep what they hold of them",
            self.held_jobs.clone(),
        );
        registry.register(
            name("cycle_phase_duration_seconds"),
            "Time of each part of a turn",
            self.phases.clone(),
        );
        registry.register(
            name("leader"),
            "Whether this coordinator leads; others serve what they see and assign nothing",
            self.leader.clone(),
        );
    }

    /// A counter that first shows with its first event hides that one from `increase()`.
    fn begin_with_zeros(&self) {
        let outcomes = [Pushes::APPLIED, Pushes::REFUSED_STALE, Pushes::FAILED];
        let families: [(&Counters, &'static str, &[&str]); 5] = [
            (&self.moves, "outcome", &MovePhase::LABELS),
            (&self.decisions, "kind", &Decision::LABELS),
            (&self.decisions, "kind", &Verdict::LABELS),
            (&self.trials, "outcome", &["counted", "failed"]),
            (&self.pushes.outcomes, "outcome", &outcomes),
        ];
        for (family, label, values) in families {
            for value in values {
                drop(family.get_or_create(&[(label, (*value).to_owned())]));
            }
        }
    }

    pub(crate) fn phase_took(&self, phase: &str, time: Duration) {
        self.phases.get_or_create(&[("phase", phase.to_owned())]).observe(time.as_secs_f64());
    }

    pub(crate) fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    pub(crate) fn config_loaded(&self, ok: bool) {
        self.config_ok.set(i64::from(ok));
        if ok {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            self.config_time.set(now.unwrap_or_default().as_secs_f64());
        }
    }

    pub(crate) fn trial(&self, ok: bool) {
        let outcome = if ok { "counted" } else { "failed" };
        self.trials.get_or_create(&[("outcome", outcome.to_owned())]).inc();
    }

    pub(crate) fn moved(&self, report: &MoveReport) {
        self.moves.get_or_create(&[("outcome", report.phase.label().to_owned())]).inc();
    }

    pub(crate) fn decided(&self, kind: &str) {
        self.decisions.get_or_create(&[("kind", kind.to_owned())]).inc();
    }

    /// How many jobs' first answers are not believed yet.
    pub(crate) fn discovery_held(&self, jobs: usize) {
        set(&self.discovery_held, jobs);
    }

    /// The jobs that the emergency switch stops.
    pub(crate) fn stopped<'a>(&self, jobs: impl Iterator<Item = &'a str>) {
        self.stopped.clear();
        for job in jobs {
            self.stopped.get_or_create(&[("job", job.to_owned())]).set(1);
        }
    }

    pub(crate) fn cycle_took(&self, time: Duration) {
        self.cycle.observe(time.as_secs_f64());
    }

    pub(crate) fn show(&self, shown: &Shown) {
        set(&self.targets.get_or_create(&[("state", "active".to_owned())]), shown.active);
        set(&self.targets.get_or_create(&[("state", "dropped".to_owned())]), shown.dropped);
        set(&self.missing, shown.missing);
        set(&self.discovery_errors, shown.discovery_errors);
        self.epoch.set(i64::try_from(shown.epoch).unwrap_or(i64::MAX));
        for label in Reason::LABELS {
            let count = shown.unassigned.iter().filter(|reason| **reason == label).count();
            set(&self.unassigned.get_or_create(&[("reason", label.to_owned())]), count);
        }
        for engine in ["ready", "starting", "unreachable"] {
            let count = shown.shards.iter().filter(|shard| shard.engine == engine).count();
            set(&self.shards.get_or_create(&[("engine", engine.to_owned())]), count);
        }
        for state in ShardStatus::STATES {
            let count = shown.shards.iter().filter(|shard| shard.state == state).count();
            set(&self.shard_states.get_or_create(&[("state", state.to_owned())]), count);
        }
        // Shards that are gone go from the page, too.
        self.shard_series.clear();
        self.shard_targets.clear();
        self.shard_capacity.clear();
        self.shard_load.clear();
        self.shard_churn.clear();
        set(&self.oversize, shown.oversize);
        set(&self.moving, shown.moving);
        let broken = shown.shards.iter().filter(|shard| shard.has_config_error);
        set(&self.config_errors, broken.count());
        set(&self.held_jobs, shown.held_jobs);
        for shard in &shown.shards {
            let label = [("shard", shard.name.clone())];
            let series = i64::try_from(shard.series).unwrap_or(i64::MAX);
            self.shard_series.get_or_create(&label).set(series);
            let load = i64::try_from(shard.load).unwrap_or(i64::MAX);
            self.shard_load.get_or_create(&label).set(load);
            let churn = i64::try_from(shard.churn).unwrap_or(i64::MAX);
            self.shard_churn.get_or_create(&label).set(churn);
            let capacity = i64::try_from(shard.capacity).unwrap_or(i64::MAX);
            self.shard_capacity.get_or_create(&label).set(capacity);
            set(&self.shard_targets.get_or_create(&label), shard.targets);
        }
    }
}

fn durations() -> Histogram {
    Histogram::new([0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0])
}

fn set(gauge: &Gauge, value: usize) {
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
}

/// What a cycle shows.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    pub(crate) active: usize,
    pub(crate) dropped: usize,
    pub(crate) missing: usize,
    pub(crate) discovery_errors: usize,
    pub(crate) held_jobs: usize,
    pub(crate) oversize: usize,
    /// Moves that have begun and not ended.
    pub(crate) moving: usize,
    pub(crate) epoch: u64,
    /// The label of each reason.
    pub(crate) unassigned: Vec<&'static str>,
    pub(crate) shards: Vec<ShownShard>,
}

/// A shard, as a cycle shows it.
#[derive(Debug)]
pub(crate) struct ShownShard {
    pub(crate) name: String,
    pub(crate) engine: &'static str,
    pub(crate) state: &'static str,
    pub(crate) series: u64,
    pub(crate) load: u64,
    pub(crate) capacity: u64,
    pub(crate) churn: u64,
    pub(crate) targets: usize,
    pub(crate) has_config_error: bool,
}
