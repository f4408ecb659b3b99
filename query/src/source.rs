//! Where the HTTP API's data comes from: every StoreAPI endpoint, or a folder of blocks.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::Labels;
use promql::storage::Storage;
use proto::thanos;

use crate::active::Listed;
use crate::blocks::{self, Blocks, BlocksStorage};
use crate::dedup::Function;
use crate::endpoints::View;
use crate::fanout::{Fanout, FanoutError, LabelsQuery, Metadata, Resolution, Scope, SeriesQuery};
use crate::storage::{QueryStorage, Wanted};
use crate::warning::Warnings;

/// Most bytes of label sets that one selection may have.
const MAX_SERIES_BYTES: usize = 1 << 30;

/// One of them. Clones are cheap.
#[derive(Debug, Clone)]
pub enum Source {
    /// Everything behind StoreAPI.
    Endpoints(Fanout),
    /// Blocks on this machine.
    Blocks(Blocks),
}

/// Series of one query, and what was missing of them.
pub trait Reading: Storage {
    /// Complete when the query has ended. They do not go through the engine, which keeps only ten of its own.
    fn warnings(&self) -> Warnings;
}

/// Why a source has no answer.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The endpoints.
    #[error(transparent)]
    Fanout(#[from] FanoutError),
    /// The blocks.
    #[error("{}", svc::chain(.0))]
    Block(#[from] tsdb::block::BlockError),
    /// More label sets than one selection may have.
    #[error("too many series; use limit or narrower selectors")]
    TooManySeries,
    /// The reading thread.
    #[error("the reading of blocks broke off")]
    Broken,
}

/// What a source found, and what was missing.
pub type Found<T> = Result<(T, Warnings), SourceError>;

impl Source {
    /// The series of one query.
    pub(crate) fn reading(
        &self,
        scope: Scope,
        wanted: Wanted,
        function: Function,
        listed: &Listed,
    ) -> Box<dyn Reading> {
        match self {
            Self::Endpoints(fanout) => {
                Box::new(QueryStorage::new(fanout.clone(), scope, wanted, function, listed))
            }
            Self::Blocks(blocks) => Box::new(BlocksStorage::new(blocks.clone(), listed.progress())),
        }
    }

    /// All label names.
    pub(crate) async fn label_names(
        &self,
        query: &LabelsQuery,
        scope: &Scope,
    ) -> Found<Vec<String>> {
        match self {
            Self::Endpoints(fanout) => Ok(fanout.label_names(query, scope).await?),
            Self::Blocks(blocks) => {
                let query = query.clone();
                read(blocks, move |blocks| Ok(blocks.label_names(&query)?)).await
            }
        }
    }

    /// All values of a label.
    pub(crate) async fn label_values(
        &self,
        name: &str,
        query: &LabelsQuery,
        scope: &Scope,
    ) -> Found<Vec<String>> {
        match self {
            Self::Endpoints(fanout) => Ok(fanout.label_values(name, query, scope).await?),
            Self::Blocks(blocks) => {
                let (name, query) = (name.to_owned(), query.clone());
                read(blocks, move |blocks| Ok(blocks.label_values(&name, &query)?)).await
            }
        }
    }

    /// The label sets of all series; with a limit, at least one more than that when there are more.
    pub(crate) async fn label_sets(
        &self,
        query: LabelsQuery,
        scope: &Scope,
    ) -> Found<BTreeSet<Labels>> {
        match self {
            Self::Endpoints(fanout) => {
                let mut merged = fanout.series(&without_chunks(query), scope)?;
                let mut found = LabelSets::default();
                while let Some(series) = merged.next().await? {
                    found.add(series.labels)?;
                }
                Ok((found.all, merged.warnings().clone()))
            }
            Self::Blocks(blocks) => {
                let most = match usize::try_from(query.limit) {
                    Ok(0) | Err(_) => usize::MAX,
                    Ok(limit) => limit.saturating_add(1),
                };
                let all = move |blocks: &Blocks| {
                    let mut found = LabelSets::default();
                    for labels in blocks::label_sets(blocks.select(&query)?).take(most) {
                        found.add(labels?)?;
                    }
                    Ok(found.all)
                };
                read(blocks, all).await
            }
        }
    }

    /// What is scraped; blocks don't know.
    pub(crate) async fn targets(
        &self,
        wanted: thanos::targets_request::State,
        scope: &Scope,
    ) -> Found<thanos::TargetDiscovery> {
        match self {
            Self::Endpoints(fanout) => Ok(fanout.targets(wanted, scope).await?),
            Self::Blocks(_) => Ok(Default::default()),
        }
    }

    /// What metrics mean; blocks don't know.
    pub(crate) async fn metadata(&self, metric: &str, scope: &Scope) -> Found<Metadata> {
        match self {
            Self::Endpoints(fanout) => Ok(fanout.metadata(metric, scope).await?),
            Self::Blocks(_) => Ok(Default::default()),
        }
    }

    /// The endpoints, where there are such.
    pub(crate) fn view(&self) -> Option<Arc<View>> {
        match self {
            Self::Endpoints(fanout) => Some(fanout.endpoints().now()),
            Self::Blocks(_) => None,
        }
    }
}

#[derive(Default)]
struct LabelSets {
    all: BTreeSet<Labels>,
    bytes: usize,
}

impl LabelSets {
    fn add(&mut self, labels: Labels) -> Result<(), SourceError> {
        self.bytes += labels.text_len();
        if self.bytes > MAX_SERIES_BYTES {
            return Err(SourceError::TooManySeries);
        }
        self.all.insert(labels);
        Ok(())
    }
}

fn without_chunks(query: LabelsQuery) -> SeriesQuery {
    let LabelsQuery { matchers, min_time, max_time, without_replica_labels, limit } = query;
    SeriesQuery {
        matchers,
        min_time,
        max_time,
        skip_chunks: true,
        without_replica_labels,
        limit,
        hints: None,
        resolution: Resolution::default(),
    }
}

/// Reads blocks on a thread that may wait for a disk.
async fn read<T: Send + 'static>(
    blocks: &Blocks,
    work: impl FnOnce(&Blocks) -> Result<T, SourceError> + Send + 'static,
) -> Found<T> {
    let blocks = blocks.clone();
    let read = tokio::task::spawn_blocking(move || work(&blocks)).await;
    Ok((read.map_err(|_| SourceError::Broken)??, Warnings::default()))
}
