//! Which local shards there are, and their ports: `local.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tracing::error;

use super::rebuild::rebuild;
use super::specs::Role;
use crate::Error;
use crate::plan::ShardId;

/// The record's name in the data folder.
const FILE: &str = "local.json";

/// A shard on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LocalShard {
    pub(super) group: u32,
    pub(super) ordinal: u32,
    pub(super) prometheus: u16,
    pub(super) sidecar_http: u16,
    pub(super) sidecar_grpc: u16,
    pub(super) thanos_http: u16,
    pub(super) thanos_grpc: u16,
    /// Made by this process, from nothing.
    #[serde(skip)]
    pub(super) fresh: bool,
}

impl LocalShard {
    /// `ports` are five; missing ones become 0, which no process gets.
    pub(super) fn new(id: ShardId, ports: &[u16], fresh: bool) -> Self {
        let port = |i: usize| ports.get(i).copied().unwrap_or(0);
        Self {
            group: id.group,
            ordinal: id.ordinal,
            prometheus: port(0),
            sidecar_http: port(1),
            sidecar_grpc: port(2),
            thanos_http: port(3),
            thanos_grpc: port(4),
            fresh,
        }
    }

    pub(super) fn id(&self) -> ShardId {
        ShardId { group: self.group, ordinal: self.ordinal }
    }

    pub(super) fn ports_of(&self, role: Role) -> Vec<u16> {
        match role {
            Role::Prometheus => vec![self.prometheus],
            Role::ScraperSidecar => vec![self.sidecar_http, self.sidecar_grpc],
            Role::ThanosSidecar => vec![self.thanos_http, self.thanos_grpc],
        }
    }

    fn ports_mut(&mut self) -> [&mut u16; 5] {
        [
            &mut self.prometheus,
            &mut self.sidecar_http,
            &mut self.sidecar_grpc,
            &mut self.thanos_http,
            &mut self.thanos_grpc,
        ]
    }
}

/// All of them.
#[derive(Debug)]
pub(super) struct Record {
    path: PathBuf,
    shards: BTreeMap<ShardId, LocalShard>,
}

impl Record {
    /// Reads the record; one that is broken or contradicts itself is set aside, and what runs and what folders there are
    /// say what it was.
    pub(super) fn open(data_dir: &Path) -> Result<Self, Error> {
        let path = data_dir.join(FILE);
        let shards = match fs::read(&path) {
            Ok(content) => match parse(&content) {
                Ok(shards) => shards,
                Err(what) => {
                    let aside = path.with_extension("corrupt");
                    error!(file = %path.display(), aside = %aside.display(), error = what, "broken record of shards set aside");
                    fs::rename(&path, &aside)
                        .map_err(|source| Error::Write { path: aside, source })?;
                    let rebuilt = Self { path, shards: rebuild(data_dir) };
                    rebuilt.save()?;
                    return Ok(rebuilt);
                }
            },
            Err(cause) if cause.kind() == ErrorKind::NotFound => BTreeMap::new(),
            Err(source) => return Err(Error::Read { path, source }),
        };
        Ok(Self { path, shards })
    }

    /// Reads the record of another coordinator and changes nothing.
    pub(super) fn peek(data_dir: &Path) -> Result<Self, Error> {
        let path = data_dir.join(FILE);
        let shards = match fs::read(&path) {
            Ok(content) => {
                parse(&content).map_err(|what| Error::LocalRecord { path: path.clone(), what })?
            }
            Err(cause) if cause.kind() == ErrorKind::NotFound => BTreeMap::new(),
            Err(source) => return Err(Error::Read { path, source }),
        };
        Ok(Self { path, shards })
    }

    pub(super) fn save(&self) -> Result<(), Error> {
        let shards: Vec<&LocalShard> = self.shards.values().collect();
        let error = |source| Error::Write { path: self.path.clone(), source };
        let content = serde_json::to_vec_pretty(&shards).map_err(|cause| error(cause.into()))?;
        svc::durable::write(&self.path, &content).map_err(error)
    }

    pub(super) fn shards(&self) -> impl Iterator<Item = &LocalShard> {
        self.shards.values()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = ShardId> {
        self.shards.keys().copied()
    }

    pub(super) fn get(&self, id: ShardId) -> Option<&LocalShard> {
        self.shards.get(&id)
    }

    /// How many shards a group has.
    pub(super) fn count(&self, group: u32) -> u32 {
        u32::try_from(self.ids().filter(|id| id.group == group).count()).unwrap_or(u32::MAX)
    }

    pub(super) fn ports(&self) -> BTreeSet<u16> {
        let all = [Role::Prometheus, Role::ScraperSidecar, Role::ThanosSidecar];
        self.shards()
            .flat_map(|shard| all.into_iter().flat_map(|role| shard.ports_of(role)))
            .collect()
    }

    pub(super) fn put(&mut self, shard: LocalShard) {
        self.shards.insert(shard.id(), shard);
    }

    pub(super) fn remove(&mut self, id: ShardId) {
        self.shards.remove(&id);
    }

    pub(super) fn replace_port(&mut self, id: ShardId, old: u16, new: u16) {
        let Some(shard) = self.shards.get_mut(&id) else { return };
        for port in shard.ports_mut().into_iter().filter(|port| **port == old) {
            *port = new;
        }
    }
}

/// The shards of a record, or why they cannot be: shards are added and removed at the top of a group only, and no two
/// processes have one port.
fn parse(content: &[u8]) -> Result<BTreeMap<ShardId, LocalShard>, String> {
    let listed: Vec<LocalShard> =
        serde_json::from_slice(content).map_err(|cause| cause.to_string())?;
    let mut ports = BTreeSet::new();
    for shard in &listed {
        let mut shard = shard.clone();
        let taken = shard.ports_mut().into_iter().find(|port| !ports.insert(**port));
        if let Some(port) = taken.copied() {
            return Err(format!(
                "port {port} is listed twice, the second time for shard {}",
                shard.id()
            ));
        }
    }
    let count = listed.len();
    let shards: BTreeMap<_, _> = listed.into_iter().map(|shard| (shard.id(), shard)).collect();
    if shards.len() != count {
        return Err("a shard is listed twice".to_owned());
    }
    for id in shards.keys().filter(|id| id.ordinal > 0) {
        if !shards.contains_key(&ShardId { ordinal: id.ordinal - 1, ..*id }) {
            return Err(format!("shard {id} is there, but the one below it is missing"));
        }
    }
    Ok(shards)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives_and_a_broken_one_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let mut record = Record::open(folder.path()).unwrap();
        let id = ShardId { group: 0, ordinal: 0 };
        record.put(LocalShard::new(id, &[1, 2, 3, 4, 5], true));
        record.replace_port(id, 3, 33);
        record.save().unwrap();
        let again = Record::open(folder.path()).unwrap();
        assert_eq!(again.ports(), BTreeSet::from([1, 2, 4, 5, 33]));
        assert!(!again.get(id).unwrap().fresh);
        fs::write(folder.path().join(FILE), "{").unwrap();
        assert_eq!(Record::open(folder.path()).unwrap().count(0), 0);
        assert!(folder.path().join("local.corrupt").exists());
    }

    #[test]
    fn a_record_that_contradicts_itself_is_set_aside() {
        let shard = |ordinal, ports: [u16; 5]| {
            LocalShard::new(ShardId { group: 0, ordinal }, &ports, false)
        };
        let (low, high) = (shard(0, [1, 2, 3, 4, 5]), shard(1, [6, 7, 8, 9, 10]));
        for (shards, what) in [
            (vec![high.clone()], "shard 0-1 is there"),
            (vec![low.clone(), shard(0, [6, 7, 8, 9, 10])], "listed twice"),
            (vec![low.clone(), shard(1, [6, 7, 8, 9, 5])], "port 5"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let content = serde_json::to_vec(&shards).unwrap();
            fs::write(folder.path().join(FILE), &content).unwrap();
            let error = Record::peek(folder.path()).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
            assert_eq!(Record::open(folder.path()).unwrap().count(0), 0, "nothing runs");
            assert_eq!(fs::read(folder.path().join("local.corrupt")).unwrap(), content);
            assert_eq!(Record::peek(folder.path()).unwrap().count(0), 0);
        }
        assert_eq!(parse(&serde_json::to_vec(&[high, low]).unwrap()).unwrap().len(), 2);
    }
}
