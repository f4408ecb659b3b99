//! Which services are watched, and what is known of each.

use std::collections::BTreeMap;
use std::sync::Arc;

use promconf::TargetGroup;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use super::{Consul, instance, retries};
use crate::manager::{ErrorLog, Outlet};
use crate::state::{Answer, shared};

/// Updates that wait; a watcher with one more waits, too.
const UPDATES: usize = 64;

enum Update {
    /// The services to watch, or why they are not known.
    Catalog(Result<Vec<String>, String>),
    Service(String, Result<Vec<TargetGroup>, String>),
}

/// What is known of a service.
struct Service {
    watcher: AbortHandle,
    groups: Option<Vec<Arc<TargetGroup>>>,
    error: Option<String>,
}

struct Watched {
    services: BTreeMap<String, Service>,
    catalog_known: bool,
    catalog_error: Option<String>,
}

/// Never returns.
pub(super) async fn watch(consul: Arc<Consul>, outlet: Outlet) {
    let mut log = ErrorLog::default();
    let mut backoff = retries();
    let datacenter: Arc<str> = loop {
        match consul.datacenter().await {
            Ok(name) => break Arc::from(name),
            Err(cause) => {
                let errors = vec![consul.shown(&cause)];
                log.note(&errors);
                outlet.send(Answer { groups: None, errors }).await;
                tokio::time::sleep(backoff.wait()).await;
            }
        }
    };
    let (sender, mut updates) = mpsc::channel(UPDATES);
    let mut watchers = JoinSet::new();
    let config = &consul.config;
    let asks_catalog =
        config.services.is_empty() || !config.tags.is_empty() || !config.filter.is_empty();
    let first = match asks_catalog {
        true => {
            watchers.spawn(watch_catalog(Arc::clone(&consul), sender.clone()));
            None
        }
        false => Some(Update::Catalog(Ok(config.services.clone()))),
    };
    let mut watched =
        Watched { services: BTreeMap::new(), catalog_known: false, catalog_error: None };
    let mut next = first;
    loop {
        let update = match next.take() {
            Some(update) => update,
            None => match updates.recv().await {
                Some(update) => update,
                // We hold a sender ourselves.
                None => return,
            },
        };
        watched.take(update, |name| {
            let watching =
                watch_service(Arc::clone(&consul), Arc::clone(&datacenter), name, sender.clone());
            watchers.spawn(watching)
        });
        // What came together is published together.
        next = updates.try_recv().ok();
        if next.is_none()
            && let Some(answer) = watched.answer()
        {
            log.note(&answer.errors);
            outlet.send(answer).await;
        }
        while watchers.try_join_next().is_some() {}
    }
}

impl Watched {
    fn take(&mut self, update: Update, mut start: impl FnMut(String) -> AbortHandle) {
        match update {
            Update::Catalog(Ok(names)) => {
                self.catalog_known = true;
                self.catalog_error = None;
                self.services.retain(|name, service| {
                    let stays = names.contains(name);
                    if !stays {
                        service.watcher.abort();
                    }
                    stays
                });
                for name in names {
                    self.services.entry(name).or_insert_with_key(|name| Service {
                        watcher: start(name.clone()),
                        groups: None,
                        error: None,
                    });
                }
            }
            Update::Catalog(Err(error)) => self.catalog_error = Some(error),
            Update::Service(name, outcome) => {
                // A last word of a watcher that has been stopped is ignored.
                let Some(service) = self.services.get_mut(&name) else { return };
                match outcome {
                    Ok(groups) => {
                        (service.groups, service.error) = (Some(shared(groups)), None);
                    }
                    Err(error) => service.error = Some(error),
                }
            }
        }
    }

    /// `None` until everything has been asked for once.
    fn answer(&self) -> Option<Answer> {
        let services = self.services.values();
        let errors: Vec<String> = self
            .catalog_error
            .iter()
            .chain(services.clone().filter_map(|service| service.error.as_ref()))
            .cloned()
            .collect();
        let is_asked = |service: &Service| service.groups.is_some() || service.error.is_some();
        if !self.catalog_known || !services.clone().all(is_asked) {
            return (!errors.is_empty()).then_some(Answer { groups: None, errors });
        }
        let groups = services.filter_map(|service| service.groups.as_ref()).flatten().cloned();
        Some(Answer { groups: Some(groups.collect()), errors })
    }
}

async fn watch_catalog(consul: Arc<Consul>, updates: mpsc::Sender<Update>) {
    let (mut ticks, mut backoff, mut last, mut is_known) = (consul.ticks(), retries(), 0, false);
    loop {
        ticks.tick().await;
        let answer =
            consul.next(&["v1", "catalog", "services"], &[], &consul.config.filter, last).await;
        let update = match answer {
            Ok((_, index)) if is_known && index == last => continue,
            Ok((services, index)) => {
                backoff.reset();
                (last, is_known) = (index, true);
                Ok(wanted(&consul, services))
            }
            Err(cause) => {
                // The next question is answered at once, so that it is soon known that all is well again.
                (last, is_known) = (0, false);
                Err(consul.shown(&cause))
            }
        };
        let failed = update.is_err();
        if updates.send(Update::Catalog(update)).await.is_err() {
            return;
        }
        if failed {
            tokio::time::sleep(backoff.wait()).await;
            ticks.reset_immediately();
        }
    }
}

/// The services that the configuration wants, by name and tags.
fn wanted(consul: &Consul, services: BTreeMap<String, Option<Vec<String>>>) -> Vec<String> {
    let config = &consul.config;
    let is_wanted = |name: &String, tags: &[String]| {
        (config.services.is_empty() || config.services.contains(name))
            && config.tags.iter().all(|tag| tags.contains(tag))
    };
    services
        .into_iter()
        .filter(|(name, tags)| is_wanted(name, tags.as_deref().unwrap_or_default()))
        .map(|(name, _)| name)
        .collect()
}

async fn watch_service(
    consul: Arc<Consul>,
    datacenter: Arc<str>,
    name: String,
    updates: mpsc::Sender<Update>,
) {
    let (mut ticks, mut backoff, mut last, mut is_known) = (consul.ticks(), retries(), 0, false);
    let tags: Vec<(&str, &str)> =
        consul.config.tags.iter().map(|tag| ("tag", tag.as_str())).collect();
    loop {
        ticks.tick().await;
        let path = ["v1", "health", "service", name.as_str()];
        let answer = consul.next(&path, &tags, &consul.config.health_filter, last).await;
        let update = match answer {
            Ok((_, index)) if is_known && index == last => continue,
            Ok((instances, index)) => {
                backoff.reset();
                (last, is_known) = (index, true);
                Ok(instance::groups(&name, &datacenter, &consul.config.tag_separator, instances))
            }
            Err(cause) => {
                (last, is_known) = (0, false);
                Err(format!("service {name}: {}", consul.shown(&cause)))
            }
        };
        let failed = update.is_err();
        if updates.send(Update::Service(name.clone(), update)).await.is_err() {
            return;
        }
        if failed {
            tokio::time::sleep(backoff.wait()).await;
            ticks.reset_immediately();
        }
    }
}
