//! `dns_sd_configs` (Prometheus discovery/dns): one group of targets a name.

pub(crate) mod message;
mod resolver;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use promconf::{DnsRecord, DnsSd, TargetGroup};
use svc::chain;
use tokio::task::JoinSet;

use crate::labels::{self, Labels};
use crate::refresh::Source;
use crate::state::{Answer, shared};
use message::Data;

pub(crate) struct Dns {
    config: DnsSd,
    resolv_conf: PathBuf,
    /// What was last found by name: a name that fails keeps it.
    known: HashMap<String, Vec<Arc<TargetGroup>>>,
}

impl Dns {
    pub fn new(config: DnsSd, resolv_conf: PathBuf) -> Self {
        Self { config, resolv_conf, known: HashMap::new() }
    }
}

impl Source for Dns {
    async fn ask(&mut self) -> Answer {
        let mut lookups = JoinSet::new();
        let kind = match self.config.record {
            DnsRecord::A => message::A,
            DnsRecord::Aaaa => message::AAAA,
            DnsRecord::Mx => message::MX,
            DnsRecord::Ns => message::NS,
            DnsRecord::Srv => message::SRV,
        };
        for name in self.config.names.clone() {
            let resolv_conf = self.resolv_conf.clone();
            lookups.spawn(async move {
                let found = resolver::lookup(&name, kind, &resolv_conf).await;
                (name, found)
            });
        }
        let mut errors = Vec::new();
        while let Some(done) = lookups.join_next().await {
            match done {
                Ok((name, Ok(records))) => {
                    let groups = targets(&name, &records, self.config.port);
                    self.known.insert(name, shared(groups));
                }
                Ok((name, Err(cause))) => errors.push(format!("{name}: {}", chain(&cause))),
                Err(cause) => errors.push(cause.to_string()),
            }
        }
        errors.sort();
        let known = self.config.names.iter().filter_map(|name| self.known.get(name));
        // Nothing known and errors only: there is no answer yet.
        let groups = (errors.is_empty() || !self.known.is_empty())
            .then(|| known.flatten().cloned().collect());
        Answer { groups, errors }
    }
}

fn targets(name: &str, records: &[Data], port: u16) -> Vec<TargetGroup> {
    let unrooted = |host: &str| host.trim_end_matches('.').to_owned();
    let target = |record: &Data| {
        let mut labels = Labels::from([("__meta_dns_name".to_owned(), name.to_owned())]);
        let mut meta = |name: &str, value: String| {
            labels.insert(format!("__meta_dns_{name}"), value);
        };
        let address = match record {
            Data::A(ip) => labels::host_port(&ip.to_string(), port),
            Data::Aaaa(ip) => labels::host_port(&ip.to_string(), port),
            Data::Srv { target, port } => {
                meta("srv_record_target", target.clone());
                meta("srv_record_port", port.to_string());
                labels::host_port(&unrooted(target), port)
            }
            Data::Mx(target) => {
                meta("mx_record_target", target.clone());
                labels::host_port(&unrooted(target), port)
            }
            Data::Ns(target) => {
                meta("ns_record_target", target.clone());
                labels::host_port(&unrooted(target), port)
            }
            // An alias on the way to addresses, or nothing that we asked for.
            Data::Other => return None,
        };
        Some((address, labels))
    };
    let all = records.iter().filter_map(target).enumerate();
    all.map(|(i, (address, labels))| labels::target(format!("{name}:{i}"), address, labels))
        .collect()
}
