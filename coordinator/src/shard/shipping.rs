//! Asks the thanos-sidecars of shards that are to go whether all of their data is in the bucket, and tells them to put
//! it there. A task a shard, so that one that hangs holds up nobody.

use std::collections::HashMap;
use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde::Deserialize;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{Instrument, info_span, warn};

use crate::plan::{Rung, ShardId, Shipped};

/// How often a sidecar is asked.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);
const MAX_ANSWER: usize = 1 << 20;

/// Why a shard's data is not known to be in the bucket.
#[derive(Debug, thiserror::Error)]
enum CallError {
    #[error("ask the thanos-sidecar")]
    Send(#[from] reqwest::Error),
    #[error("the thanos-sidecar answered {0}")]
    Status(StatusCode),
    #[error("read the thanos-sidecar's answer")]
    Body(#[from] svc::http::BodyError),
    #[error("parse the thanos-sidecar's answer")]
    Parse(#[from] serde_json::Error),
    #[error("the thanos-sidecar has no object store")]
    NoObjectStore,
    #[error("the thanos-sidecar says: {0}")]
    NotShipped(String),
}

/// What is wanted of a shard's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Wish {
    /// No plan has said yet; another coordinator may be at it.
    #[default]
    Unknown,
    /// It is in use: what is not in the bucket yet may stay where it is.
    Nothing,
    /// To know whether all of it is in the bucket.
    Look,
    /// All of it in the bucket.
    Ship,
}

/// What is known.
#[derive(Debug, Clone, Default)]
struct View {
    complete: bool,
    error: Option<String>,
}

#[derive(Debug)]
struct Watch {
    address: String,
    wish: watch::Sender<Wish>,
    view: watch::Receiver<View>,
}

/// All thanos-sidecars that upload, by shard. Dropping it ends their tasks.
#[derive(Debug, Default)]
pub(crate) struct Shippers {
    by_shard: HashMap<ShardId, Watch>,
    tasks: JoinSet<()>,
}

impl Shippers {
    /// Watches a shard whose thanos-sidecar uploads; `address` is `host:port` of its HTTP.
    pub(crate) fn ensure(&mut self, shard: ShardId, address: Option<&str>) {
        while self.tasks.try_join_next().is_some() {}
        let Some(address) = address else {
            self.by_shard.remove(&shard);
            return;
        };
        if self.by_shard.get(&shard).is_some_and(|watch| watch.address == address) {
            return;
        }
        let (wish, wishes) = watch::channel(Wish::default());
        let (shown, view) = watch::channel(View::default());
        let client = match svc::http::client(ANSWERS_WITHIN) {
            Ok(client) => client,
            Err(cause) => {
                let error = svc::chain(&*cause);
                warn!(%shard, error, "shipping cannot be watched");
                return;
            }
        };
        let base = format!("http://{address}/api/v1");
        let worker = Worker { client, base, wishes, shown };
        self.tasks.spawn(worker.run().instrument(info_span!("shipping", %shard)));
        self.by_shard.insert(shard, Watch { address: address.to_owned(), wish, view });
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(ShardId) -> bool) {
        self.by_shard.retain(|shard, _| keep(*shard));
    }

    /// What the plan wants of a shard.
    pub(crate) fn want(&self, shard: ShardId, rung: Rung) {
        let Some(watch) = self.by_shard.get(&shard) else { return };
        let wish = match rung {
            Rung::Active | Rung::Draining => Wish::Nothing,
            Rung::Empty | Rung::Shipped | Rung::Removable => Wish::Look,
            Rung::Shipping => Wish::Ship,
        };
        watch.wish.send_if_modified(|before| std::mem::replace(before, wish) != wish);
    }

    pub(crate) fn shipped(&self, shard: ShardId) -> Shipped {
        match self.by_shard.get(&shard) {
            None => Shipped::Nowhere,
            Some(watch) if watch.view.borrow().complete => Shipped::All,
            Some(_) => Shipped::NotYet,
        }
    }

    /// Why a shard's data is not in the bucket yet.
    pub(crate) fn error(&self, shard: ShardId) -> Option<String> {
        self.by_shard.get(&shard)?.view.borrow().error.clone()
    }
}

#[derive(Debug, Deserialize)]
struct Answer {
    data: Status,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    object_store: bool,
    complete: bool,
    flushing: bool,
    last_error: String,
}

struct Worker {
    client: Client,
    base: String,
    wishes: watch::Receiver<Wish>,
    shown: watch::Sender<View>,
}

impl Worker {
    /// Runs until its handle is dropped.
    async fn run(mut self) {
        // By a coordinator before us, perhaps.
        let mut asked = true;
        loop {
            let wish = *self.wishes.borrow_and_update();
            let outcome = match wish {
                Wish::Nothing if asked => self.withdraw().await.map(|()| {
                    asked = false;
                    false
                }),
                Wish::Unknown | Wish::Nothing => Ok(false),
                Wish::Look => self.look().await.map(|status| status.complete),
                Wish::Ship => {
                    asked = true;
                    self.ship().await
                }
            };
            // What is in use again is not complete, whatever was seen before.
            let view = match outcome {
                Ok(complete) => View { complete, error: None },
                Err(cause) => View { complete: false, error: Some(svc::chain(&cause)) },
            };
            self.shown.send_replace(view);
            let idle = wish == Wish::Unknown || (wish == Wish::Nothing && !asked);
            tokio::select! {
                changed = self.wishes.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = tokio::time::sleep(LOOK_INTERVAL), if !idle => {}
            }
        }
    }

    async fn ship(&self) -> Result<bool, CallError> {
        let status = self.look().await?;
        if !status.object_store {
            return Err(CallError::NoObjectStore);
        }
        if !status.complete && !status.flushing {
            self.call(self.client.post(format!("{}/flush", self.base))).await?;
        }
        if !status.complete && !status.last_error.is_empty() {
            return Err(CallError::NotShipped(status.last_error));
        }
        Ok(status.complete)
    }

    async fn look(&self) -> Result<Status, CallError> {
        let body = self.call(self.client.get(format!("{}/shipping", self.base))).await?;
        Ok(serde_json::from_slice::<Answer>(&body)?.data)
    }

    async fn withdraw(&self) -> Result<(), CallError> {
        self.call(self.client.delete(format!("{}/flush", self.base))).await.map(drop)
    }

    async fn call(&self, request: reqwest::RequestBuilder) -> Result<Vec<u8>, CallError> {
        let response = request.send().await?;
        let status = response.status();
        if !status.is_success() {
            return Err(CallError::Status(status));
        }
        Ok(svc::http::read_body(response, MAX_ANSWER).await?.into())
    }
}
