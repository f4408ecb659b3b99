//! The static backend: shards from a YAML list, Kvass' `static-shards.yaml` with more keys.
//!
//! ```yaml
//! replicas:
//!   - shards:
//!       - id: shard-0
//!         scraperSidecar: 10.0.0.1:8081   # gRPC; or `url`, as in Kvass
//!         storeAPI: 10.0.0.1:10901        # optional: the thanos-sidecar, for query
//!         prometheus: http://10.0.0.1:9090  # optional: shown only
//!         maxSeries: 500000               # optional: instead of --shard.max-series
//! ```
//!
//! A replica group's shards keep their order: the place in the list is the ordinal.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::watch;
use tracing::{error, info};

use super::{Endpoint, Fleet};
use crate::Error;
use crate::plan::ShardId;

const POLL: Duration = Duration::from_secs(2);

/// A longer file is no list of shards.
const MAX_FILE: u64 = 16 << 20;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    replicas: Vec<Replica>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Replica {
    shards: Vec<Shard>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Shard {
    #[serde(default)]
    id: String,
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    scraper_sidecar: Option<String>,
    #[serde(default, rename = "storeAPI")]
    store_api: Option<String>,
    #[serde(default)]
    prometheus: Option<String>,
    #[serde(default)]
    max_series: Option<u64>,
}

/// Reads the file, and again whenever it changes; a broken one is logged and the shards stay as they are.
pub(super) async fn start(
    file: &Path,
    ctx: &svc::Context,
) -> anyhow::Result<watch::Receiver<Arc<Fleet>>> {
    let text = read(file.to_owned()).await?;
    let (sender, receiver) = watch::channel(Arc::new(parse(&text, file)?));
    let file = file.to_owned();
    ctx.tasks.spawn("static shards", follow(file, text, sender, ctx.shutdown.clone()));
    Ok(receiver)
}

async fn follow(
    file: PathBuf,
    mut seen: String,
    sender: watch::Sender<Arc<Fleet>>,
    shutdown: svc::Shutdown,
) -> anyhow::Result<()> {
    let mut last_error = None;
    while shutdown.sleep(POLL).await {
        let text = read(file.clone()).await;
        if text.as_ref().is_ok_and(|text| *text == seen) {
            continue;
        }
        match text.and_then(|text| Ok((parse(&text, &file)?, text))) {
            Ok((fleet, text)) => {
                info!(shards = fleet.endpoints.len(), "list of shards reloaded");
                seen = text;
                last_error = None;
                sender.send_replace(Arc::new(fleet));
            }
            Err(cause) => {
                let text = svc::chain(&cause);
                if last_error.as_ref() != Some(&text) {
                    error!(error = text, "list of shards is broken, the shards stay");
                    last_error = Some(text);
                }
            }
        }
    }
    Ok(())
}

async fn read(path: PathBuf) -> Result<String, Error> {
    let read = move || {
        let error = |source| Error::Read { path: path.clone(), source };
        let length = std::fs::metadata(&path).map_err(error)?.len();
        if length > MAX_FILE {
            let what = format!("longer than {MAX_FILE} bytes");
            return Err(Error::StaticFile { path, what });
        }
        std::fs::read_to_string(&path).map_err(error)
    };
    match tokio::task::spawn_blocking(read).await {
        Ok(outcome) => outcome,
        Err(panic) => {
            let (path, what) = (PathBuf::new(), panic.to_string());
            Err(Error::StaticFile { path, what })
        }
    }
}

fn parse(text: &str, path: &Path) -> Result<Fleet, Error> {
    let error = |what: String| Error::StaticFile { path: path.to_owned(), what };
    let file: File = serde_saphyr::from_str(text).map_err(|cause| error(cause.to_string()))?;
    let mut endpoints = Vec::new();
    for (group, replica) in (0u32..).zip(&file.replicas) {
        for (ordinal, shard) in (0u32..).zip(&replica.shards) {
            let id = ShardId { group, ordinal };
            let sidecar = shard.scraper_sidecar.as_deref().or(shard.url.as_deref());
            let name = if shard.id.is_empty() { id.to_string() } else { shard.id.clone() };
            let Some(sidecar) = sidecar.map(host_and_port) else {
                return Err(error(format!("shard {name}: scraperSidecar is missing")));
            };
            if sidecar.parse::<http::uri::Authority>().is_err() || !sidecar.contains(':') {
                return Err(error(format!("shard {name}: {sidecar:?} is not host:port")));
            }
            endpoints.push(Endpoint {
                id,
                sidecar,
                store_api: shard.store_api.clone(),
                prometheus: shard.prometheus.clone(),
                max_series: shard.max_series.filter(|series| *series > 0),
                shipper: None,
                fresh: false,
            });
        }
    }
    let groups = u32::try_from(file.replicas.len()).unwrap_or(u32::MAX);
    Ok(Fleet { groups, endpoints })
}

/// Kvass' `url` is one; ours is an address.
fn host_and_port(text: &str) -> String {
    let text = text.trim_start_matches("http://").trim_end_matches('/');
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Fleet, String> {
        parse(text, Path::new("shards.yaml")).map_err(|error| error.to_string())
    }

    #[test]
    fn the_example_in_the_repository_is_read() {
        let text = include_str!("../../../examples/static-shards.yaml");
        let fleet = check(text).unwrap();
        assert!(fleet.groups > 0 && !fleet.endpoints.is_empty());
    }

    #[test]
    fn kvass_own_shape_is_read() {
        let fleet =
            check("replicas:\n- shards:\n  - id: s0\n    url: http://10.0.0.1:8081\n").unwrap();
        assert_eq!(fleet.groups, 1);
        assert_eq!(fleet.endpoints[0].sidecar, "10.0.0.1:8081");
    }

    #[test]
    fn broken_lists_are_refused_with_the_reason() {
        let missing = check("replicas:\n- shards:\n  - id: s0\n").unwrap_err();
        assert!(missing.contains("shard s0: scraperSidecar is missing"), "{missing}");
        let port = check("replicas:\n- shards:\n  - scraperSidecar: host\n").unwrap_err();
        assert!(port.contains("is not host:port"), "{port}");
        let key = check("replicas:\n- shards:\n  - scraperSidecars: a:1\n").unwrap_err();
        assert!(key.contains("scraperSidecars"), "{key}");
        assert!(check("replicas: [").is_err());
    }
}
