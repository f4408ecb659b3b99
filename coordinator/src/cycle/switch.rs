//! The emergency switch in a turn.

use std::sync::Arc;

use tracing::error;

use super::Cycle;
use super::observe::Reports;
use crate::shard::told::Report;

impl Cycle {
    /// Takes the switch as it is now, here or, where another coordinator has changed it since, at a shard.
    pub(super) fn take_switch(&mut self, reports: &Reports) {
        let newest = reports.values().filter_map(|seen| seen.report.stop.as_ref());
        let newest = newest.max_by_key(|stop| stop.revision);
        if self.term.is_none() {
            newest.inspect(|newest| self.switch.show(newest));
        } else if let Some(newest) = newest
            && let Err(cause) = self.switch.adopt(newest)
        {
            error!(error = %svc::chain(&cause), "the stop-scrape switch could not be written");
        }
        self.stop = Arc::clone(&self.stops.borrow());
        self.metrics.stopped(self.stop.stops.iter().map(|stop| stop.job.as_str()));
    }

    /// Whether a shard has the switch as it is.
    pub(super) fn is_switched(&self, report: &Report) -> bool {
        report.stop.as_ref().map_or(0, |stop| stop.revision) >= self.stop.revision
    }
}
