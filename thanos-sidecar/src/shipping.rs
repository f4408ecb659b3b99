//! Shipping of finished blocks, beside a Prometheus that goes on compacting.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use block::Shipper;
use model::Labels;
use objstore::Bucket;
use svc::backoff::Backoff;
use tracing::{error, info, warn};

use crate::config::ShippingConfig;
use crate::flush::{self, Flusher};
use crate::prometheus::Prometheus;
use crate::source::Sources;

const MIN_BLOCK: &str = "storage.tsdb.min-block-duration";
const MAX_BLOCK: &str = "storage.tsdb.max-block-duration";
const DELAY_FILE: &str = "storage.tsdb.delay-compact-file.path";

/// The block duration that everything downstream is tuned for.
const USUAL_BLOCK: Duration = Duration::from_secs(7200);

/// Ships again and again.
#[derive(Debug)]
pub struct Loop {
    config: ShippingConfig,
    shipper: Shipper,
    bucket: Bucket,
    metrics: block::shipper::Metrics,
    prometheus: Prometheus,
    sources: Sources,
    ctx: svc::Context,
}

impl Loop {
    /// Opens the bucket; nothing is sent yet.
    pub fn new(
        config: ShippingConfig,
        prometheus: Prometheus,
        sources: Sources,
        ctx: svc::Context,
    ) -> anyhow::Result<Self> {
        let bucket = Bucket::open(&config.bucket, &ctx.metrics)?;
        info!(bucket = bucket.name(), "shipping blocks");
        let metrics = block::shipper::Metrics::register(&ctx.metrics);
        let shipper = Shipper::new(config.shipper.clone(), bucket.clone(), metrics.clone())
            .leaving_out(flush::flushed(&config.shipper.dir));
        Ok(Self { config, shipper, bucket, metrics, prometheus, sources, ctx })
    }

    /// What ships the head, too, into the same bucket.
    pub fn flusher(&self) -> Flusher {
        Flusher::new(
            self.config.shipper.clone(),
            self.bucket.clone(),
            self.metrics.clone(),
            self.prometheus.clone(),
            self.sources.clone(),
        )
    }

    /// Ships until shutdown. An error only when Prometheus is set up so that blocks would be compacted before they
    /// are shipped.
    pub async fn run(mut self) -> anyhow::Result<()> {
        let shutdown = self.ctx.shutdown.clone();
        let Some(first) = shutdown.until(self.sources.first()).await else { return Ok(()) };
        if first.is_none() {
            return Ok(());
        }
        let Some(flags) = shutdown.until(self.flags()).await else { return Ok(()) };
        self.check(&flags)?;
        loop {
            // A pass that is cut off here leaves what a killed one leaves.
            if shutdown.until(self.pass()).await.is_none() {
                return Ok(());
            }
            if !shutdown.sleep(self.config.interval).await {
                return Ok(());
            }
        }
    }

    async fn pass(&self) {
        let Some(labels) = self.external_labels().await else { return };
        match self.shipper.sync(&labels).await {
            Ok(0) => {}
            Ok(blocks) => info!(blocks, "blocks shipped"),
            Err(error) => error!(error = %svc::chain(&error), "shipping failed"),
        }
    }

    /// What a block is shipped with is written into it for good, so Prometheus is asked anew for each pass. While it
    /// does not answer, its last answer has to do: its blocks may be all that is left of it.
    async fn external_labels(&self) -> Option<Labels> {
        match self.prometheus.external_labels().await {
            Ok(labels) if labels.is_empty() => None,
            Ok(labels) => Some(labels),
            Err(_) => self.sources.last().ok().map(|source| source.external_labels.clone()),
        }
    }

    async fn flags(&self) -> BTreeMap<String, String> {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
        loop {
            match self.prometheus.flags().await {
                Ok(flags) => return flags,
                Err(error) => {
                    warn!(error = %svc::chain(&error), "prometheus did not tell its flags");
                    tokio::time::sleep(backoff.wait()).await;
                }
            }
        }
    }

    fn check(&self, flags: &BTreeMap<String, String>) -> anyhow::Result<()> {
        if self.config.ignore_unequal_block_size {
            return Ok(());
        }
        let delayed = flags
            .get(DELAY_FILE)
            .is_some_and(|file| same_file(Path::new(file), &self.config.state_path()));
        check_block_durations(flags, delayed)
    }
}

/// Local compaction would join blocks before they are shipped, unless it is off (both durations equal) or waits.
fn check_block_durations(
    flags: &BTreeMap<String, String>,
    compaction_is_fine: bool,
) -> anyhow::Result<()> {
    let duration = |name: &str| -> anyhow::Result<Duration> {
        let text = flags.get(name).with_context(|| format!("prometheus has no flag {name}"))?;
        model::duration::parse(text).with_context(|| format!("read prometheus' flag {name}"))
    };
    let (min, max) = (duration(MIN_BLOCK)?, duration(MAX_BLOCK)?);
    ensure!(
        min == max || compaction_is_fine,
        "prometheus compacts blocks by itself: its --{MIN_BLOCK} ({}) and --{MAX_BLOCK} ({}) have to be equal, or its \
         --{DELAY_FILE} (from 3.9 on) has to be the shipper's file",
        model::duration::format(min),
        model::duration::format(max)
    );
    if min != USUAL_BLOCK {
        warn!(duration = ?min, "prometheus' block duration is not the usual 2h");
    }
    Ok(())
}

/// Whether two paths name one file, which need not exist while its folder does.
fn same_file(a: &Path, b: &Path) -> bool {
    let resolved = |path: &Path| {
        let folder = path.parent()?.canonicalize().ok()?;
        Some(folder.join(path.file_name()?))
    };
    a == b || resolved(a).is_some_and(|a| resolved(b) == Some(a))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(min: &str, max: &str) -> BTreeMap<String, String> {
        [(MIN_BLOCK, min), (MAX_BLOCK, max)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    #[test]
    fn local_compaction_has_to_be_off_or_to_wait() {
        assert!(check_block_durations(&flags("2h", "2h"), false).is_ok());
        assert!(check_block_durations(&flags("2h", "120m"), false).is_ok());
        let error = check_block_durations(&flags("2h", "1d12h"), false).unwrap_err();
        assert!(error.to_string().contains(MAX_BLOCK), "{error}");
        assert!(check_block_durations(&flags("2h", "1d12h"), true).is_ok());
        assert!(check_block_durations(&BTreeMap::new(), false).is_err());
    }

    #[test]
    fn a_file_is_known_by_any_path() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state");
        assert!(same_file(&file, &folder.path().join(".").join("state")));
        assert!(!same_file(&file, &folder.path().join("other")));
    }
}
