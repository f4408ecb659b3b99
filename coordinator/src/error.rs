//! What can go wrong.

use std::io;
use std::path::PathBuf;

use crate::plan::ShardIdError;

/// What can go wrong in the coordinator outside of a single scrape or call.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("create folder {}", path.display())]
    CreateFolder { path: PathBuf, source: io::Error },
    #[error("write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("settle who leads: {0}")]
    Leadership(String),
    #[error("{}: {what}", path.display())]
    StaticFile { path: PathBuf, what: String },
    #[error("{}: {what}", path.display())]
    PlacementFile { path: PathBuf, what: String },
    #[error("{}: {what}", path.display())]
    LocalRecord { path: PathBuf, what: String },
    #[error("{}: {what}", path.display())]
    DataFolder { path: PathBuf, what: String },
    #[error("read shard id")]
    ShardId(#[from] ShardIdError),
    #[error("no free port between {first} and {last}")]
    NoPort { first: u16, last: u16 },
    #[error("start a shard's process")]
    Child(#[from] svc::child::Error),
    #[error("read shard address")]
    Address(#[source] anyhow::Error),
}
