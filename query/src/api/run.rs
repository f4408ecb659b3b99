//! How anything that reads samples runs: listed, in its turn, on a thread that may be busy, until its deadline or until
//! someone stops it.

use std::time::{Duration, Instant};

use prometheus_client::metrics::gauge::Gauge;
use promql::CancelFlag;
use promql::storage::Storage;

use super::Api;
use super::respond::{ApiError, ErrorKind};
use crate::active::Description;
use crate::fanout::Scope;
use crate::registers;
use crate::storage::Wanted;
use crate::warning::Warnings;

/// What shall run.
pub(super) struct Work {
    pub(super) description: Description,
    pub(super) scope: Scope,
    pub(super) wanted: Wanted,
    /// What the evaluation watches.
    pub(super) flag: CancelFlag,
}

/// What came of it.
pub(super) struct Ran<T> {
    pub(super) value: T,
    pub(super) warnings: Warnings,
    /// How long it waited for its turn.
    pub(super) queued: Duration,
}

impl Api {
    /// Runs work over a storage. Dropping the future stops it.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: Work,
        evaluation: impl FnOnce(&dyn Storage) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<Ran<T>, ApiError> {
        let Work { description, scope, wanted, flag } = work;
        let listed = self.active.add(description, flag, scope.budget.clone());
        let arrived = Instant::now();
        let turn = tokio::time::timeout_at(scope.deadline, self.gate.clone().acquire_owned());
        let permit = match listed.reading().until(turn).await {
            None => return Err(killed()),
            Some(Ok(Ok(permit))) => permit,
            Some(_) => {
                return Err(ApiError::new(ErrorKind::Timeout, "query timed out in query queue"));
            }
        };
        let queued = arrived.elapsed();
        listed.start();
        self.metrics.gate_seconds.observe(queued.as_secs_f64());
        self.metrics.gate_total.inc();
        let storage = self.source.reading(scope, wanted, self.settings.function, &listed);
        let held = (permit, InFlight::new(&self.metrics.gate_in_flight));
        let evaluation = self.workers.run(move || {
            // A new thread has inherited them.
            registers::settle();
            let outcome = evaluation(&*storage).map(|value| (value, storage.warnings()));
            (outcome, held)
        });
        let (outcome, held) = evaluation.await.map_err(|error| {
            tracing::error!(error = %svc::chain(&error), "query evaluation broke off");
            ApiError::new(ErrorKind::Internal, "the evaluation of this query broke off")
        })?;
        drop(held);
        let (series, samples) = listed.progress().read();
        self.metrics.query(series, samples, arrived.elapsed() - queued);
        match outcome {
            Ok((value, warnings)) => Ok(Ran { value, warnings, queued }),
            Err(error) if error.kind() == ErrorKind::Canceled && listed.is_killed() => {
                Err(killed())
            }
            Err(error) => Err(error),
        }
    }
}

fn killed() -> ApiError {
    ApiError::new(ErrorKind::Canceled, "query was stopped by DELETE /api/v1/queries")
}

/// Counts a query while it runs.
struct InFlight(Gauge);

impl InFlight {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}
