//! Which shards there are, when the record of them is broken: what runs says on which ports, the folders say the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use tracing::{error, info};

use super::CHILDREN_FILE;
use super::ports;
use super::record::LocalShard;
use super::specs::{self, ROLES, Role};
use crate::plan::ShardId;

/// All shards of which there is a process or a folder. Shards have no holes below them: one that is missing below a
/// process is made anew, and a folder above a hole stays where it is.
pub(super) fn rebuild(data_dir: &Path) -> BTreeMap<ShardId, LocalShard> {
    let mut found: BTreeMap<ShardId, BTreeMap<&'static str, u16>> = folders(data_dir);
    for child in svc::child::recorded(&data_dir.join(CHILDREN_FILE)) {
        let Some((role, id)) = specs::parse_child_name(&child.name) else { continue };
        for ordinal in 0..id.ordinal.min(MOST) {
            found.entry(ShardId { ordinal, ..id }).or_default();
        }
        for (flag, key) in flags(role).iter() {
            let port = child.arguments.iter().find_map(|argument| {
                let (_, port) = argument.strip_prefix(flag)?.rsplit_once(':')?;
                port.parse::<u16>().ok()
            });
            found.entry(id).or_default().extend(port.map(|port| (*key, port)));
        }
    }
    let mut taken: BTreeSet<u16> =
        found.values().flat_map(|ports| ports.values().copied()).collect();
    let mut shards: BTreeMap<ShardId, LocalShard> = BTreeMap::new();
    for (id, known) in found {
        let has_below =
            id.ordinal == 0 || shards.contains_key(&ShardId { ordinal: id.ordinal - 1, ..id });
        if !has_below {
            continue;
        }
        match complete(&known, &mut taken) {
            Ok(ports) => {
                let is_there =
                    !known.is_empty() || data_dir.join("shards").join(id.to_string()).exists();
                info!(shard = %id, kept_ports = known.len(), is_there, "shard found again");
                shards.insert(id, LocalShard::new(id, &ports, !is_there));
            }
            Err(cause) => error!(shard = %id, error = %svc::chain(&cause), "shard not found again"),
        }
    }
    shards
}

/// No machine has more shards than that: a name with a higher number is a mistake.
const MOST: u32 = 10_000;

/// In the order that [`LocalShard::new`] wants.
const KEYS: [&str; 5] =
    ["prometheus", "sidecar http", "sidecar grpc", "thanos http", "thanos grpc"];

fn flags(role: Role) -> &'static [(&'static str, &'static str)] {
    match role {
        Role::Prometheus => &[("--web.listen-address=", KEYS[0])],
        Role::ScraperSidecar => &[("--http-address=", KEYS[1]), ("--grpc-address=", KEYS[2])],
        Role::ThanosSidecar => &[("--http-address=", KEYS[3]), ("--grpc-address=", KEYS[4])],
    }
}

fn folders(data_dir: &Path) -> BTreeMap<ShardId, BTreeMap<&'static str, u16>> {
    let Ok(entries) = std::fs::read_dir(data_dir.join("shards")) else { return BTreeMap::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.filter_map(|name| Some((name.parse().ok()?, BTreeMap::new()))).collect()
}

/// All five ports: those that are known, and free ones for the rest.
fn complete(
    known: &BTreeMap<&'static str, u16>,
    taken: &mut BTreeSet<u16>,
) -> Result<Vec<u16>, crate::Error> {
    let mut free = ports::free(taken, KEYS.len() - known.len())?.into_iter();
    let ports: Vec<u16> =
        KEYS.iter().filter_map(|key| known.get(key).copied().or_else(|| free.next())).collect();
    taken.extend(&ports);
    debug_assert_eq!(ports.len(), ROLES.iter().map(|role| role.ports()).sum::<usize>());
    Ok(ports)
}
