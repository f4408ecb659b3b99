//! What an operator may set about discovery.

use std::path::PathBuf;
use std::time::Duration;

/// Settings of a [`Manager`](crate::Manager).
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    pub guard: Guard,
    /// A Prometheus that does the kinds which we do not; `None` makes such kinds an error of their job.
    pub prometheus_binary: Option<PathBuf>,
    /// Where that Prometheus keeps its configuration and data; made when needed, for our user only.
    pub bridge_dir: PathBuf,
    /// Name servers and search domains of DNS discovery. An address may have a port: `[127.0.0.1]:5353`.
    pub resolv_conf: PathBuf,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            guard: Guard::default(),
            prometheus_binary: None,
            bridge_dir: std::env::temp_dir()
                .join(format!("shoal-discovery-{}", std::process::id())),
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
        }
    }
}

/// When an answer is too bad to be believed at once.
#[derive(Debug, Clone, PartialEq)]
pub struct Guard {
    /// An answer that takes more than this share of a job's targets away is held; 1 or more holds none.
    pub max_loss: f64,
    /// Jobs with fewer targets are not guarded.
    pub min_targets: usize,
    /// How long such an answer is held; then it is believed.
    pub grace: Duration,
}

impl Guard {
    /// Whether a job that had `before` targets and now has `after` has lost too many.
    #[must_use]
    pub fn is_suspect(&self, before: usize, after: usize) -> bool {
        let lost = before.saturating_sub(after);
        before >= self.min_targets.max(1) && lost as f64 > self.max_loss * before as f64
    }
}

impl Default for Guard {
    fn default() -> Self {
        Self { max_loss: 0.5, min_targets: 10, grace: Duration::from_secs(5 * 60) }
    }
}
