//! The sidecar's own metrics.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use proto::coordination::TargetState;

use crate::assignment::Assignment;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JobLabel {
    job: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

type Float = Gauge<f64, AtomicU64>;

/// Cloneable handles.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metrics {
    assigns: Family<OutcomeLabel, Counter>,
    epoch: Gauge,
    version: Gauge,
    targets: Family<StateLabel, Gauge>,
    stopped: Family<JobLabel, Gauge>,
    config_ok: Gauge,
    pub(crate) reloads: Counter,
    pub(crate) reload_failures: Counter,
    pub(crate) target_files_written: Counter,
    pub(crate) prometheus_up: Gauge,
    pub(crate) head_series: Gauge,
    pub(crate) poll_failures: Counter,
    pub(crate) last_poll: Float,
    pub(crate) poll_duration: Float,
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let m = metrics.clone();
        let name = |name: &str| format!("shoal_scraper_sidecar_{name}");
        registry.register(name("assigns"), "Pushes by what became of them", m.assigns);
        registry.register(name("assignment_epoch"), "Epoch of the applied assignment", m.epoch);
        registry.register(name("assignment_version"), "Its version within the epoch", m.version);
        registry.register(name("targets"), "Assigned targets by state", m.targets);
        registry.register(
            name("scrape_stopped"),
            "1 for each job that the emergency switch stops; an empty job is all of them",
            m.stopped,
        );
        registry.register(
            name("config_successful"),
            "1 when Prometheus runs the configuration that it should",
            m.config_ok,
        );
        registry.register(name("reloads"), "Reloads asked of Prometheus", m.reloads);
        registry.register(
            name("reload_failures"),
            "Reloads that Prometheus refused or did not answer",
            m.reload_failures,
        );
        registry.register(
            name("target_files_written"),
            "Files of targets written or removed",
            m.target_files_written,
        );
        registry.register(
            name("prometheus_up"),
            "1 when Prometheus is ready and answered the last poll",
            m.prometheus_up,
        );
        registry.register(name("prometheus_head_series"), "Series in its head", m.head_series);
        registry.register(
            name("poll_failures"),
            "Polls that Prometheus did not answer in full",
            m.poll_failures,
        );
        registry.register(
            name("last_poll_timestamp_seconds"),
            "When Prometheus answered a poll last",
            m.last_poll,
        );
        registry.register(
            name("last_poll_duration_seconds"),
            "How long the last poll took",
            m.poll_duration,
        );
        metrics
    }

    /// `outcome` is one of a fixed set.
    pub(crate) fn count_assign(&self, outcome: &'static str) {
        self.assigns.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    pub(crate) fn show_held(&self, assignment: &Assignment, config_ok: bool) {
        self.epoch.set(assignment.epoch.cast_signed());
        self.version.set(assignment.version.cast_signed());
        self.config_ok.set(i64::from(config_ok));
        for (state, name) in [
            (TargetState::Active, "active"),
            (TargetState::Leaving, "leaving"),
            (TargetState::Joining, "joining"),
        ] {
            let count = assignment.targets.iter().filter(|target| target.state == state).count();
            let gauge = self.targets.get_or_create(&StateLabel { state: name }).clone();
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        self.stopped.clear();
        for stop in &assignment.stop.stops {
            self.stopped.get_or_create(&JobLabel { job: stop.job.clone() }).set(1);
        }
    }
}
