//! Small real processes in the place of Prometheus and the sidecars.

use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;
use testkit::eventually;

use super::*;
use crate::config::Programs;
use crate::metrics::Metrics;
use crate::shared_folder::SharedFolder;

const PATIENCE: Duration = Duration::from_secs(30);

/// A folder with programs that do nothing but run, and the scraper-sidecar's that also writes its file.
struct Machine {
    folder: TempDir,
    config: LocalConfig,
}

struct Running {
    ctx: svc::Context,
    wanted: watch::Sender<Option<Wanted>>,
    fleet: watch::Receiver<Arc<Fleet>>,
    events: Events,
    leads: Leadership,
}

fn script(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let programs = Programs {
            prometheus: script(folder.path(), "prometheus", "exec sleep 1000"),
            shoal: script(
                folder.path(),
                "shoal",
                "for flag; do case $flag in --config.output-file=*) : > \"${flag#*=}\";; esac; done\nexec sleep 1000",
            ),
        };
        let config = LocalConfig {
            replicas: 1,
            programs,
            objstore_config_file: None,
            config_dir: folder.path().to_owned(),
            retention: "15d".to_owned(),
            prometheus_args: vec!["--more".to_owned()],
            keep_shards: false,
            delete_shipped: false,
        };
        Self { folder, config }
    }

    async fn start(&self) -> Running {
        let ctx = svc::Context::new();
        let (wanted, wishes) = watch::channel(None);
        let events = Events::default();
        let leads = self.leads(&ctx).await;
        let fleet =
            start(&self.data_dir(), &self.config, wishes, &leads, &events, &ctx).await.unwrap();
        Running { ctx, wanted, fleet, events, leads }
    }

    async fn leads(&self, ctx: &svc::Context) -> Leadership {
        let leads = self.follows().await;
        let (listen, metrics) = ("127.0.0.1:0".parse().unwrap(), Metrics::register(ctx));
        leads.start(listen, &metrics, ctx).await.unwrap();
        leads
    }

    /// One that has not asked yet who leads.
    async fn follows(&self) -> Leadership {
        let lock = self.data_dir().join("leader.lock");
        let folder = SharedFolder::join(&self.data_dir(), &lock).await.unwrap();
        Leadership::open(folder, &lock, PATIENCE, crate::leader::Fence::Kill).unwrap()
    }

    fn data_dir(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// Pid by name of all recorded children that run.
    fn children(&self) -> BTreeMap<String, u32> {
        let content = std::fs::read(self.folder.path().join(CHILDREN_FILE)).unwrap_or_default();
        let records: Vec<serde_json::Value> = serde_json::from_slice(&content).unwrap_or_default();
        let child = |record: &serde_json::Value| {
            let pid = u32::try_from(record["pid"].as_u64()?).ok()?;
            is_running(pid).then_some((record["name"].as_str()?.to_owned(), pid))
        };
        records.iter().filter_map(child).collect()
    }

    async fn has_children(&self, count: usize) -> BTreeMap<String, u32> {
        eventually(PATIENCE, "so many children run", async || {
            let children = self.children();
            if children.len() == count { Ok(children) } else { Err(format!("{children:?}")) }
        })
        .await
    }
}

fn is_running(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, fields)| !fields.starts_with('Z'))
}

impl Running {
    fn want(&self, count: u32) {
        let counts = vec![count];
        self.wanted.send_replace(Some(Wanted { counts, ..Wanted::default() }));
    }

    async fn stop(self) {
        self.ctx.shutdown.trigger();
        self.ctx.tasks.join(PATIENCE).await.unwrap();
    }
}

fn machine_folders(machine: &Machine) -> Vec<String> {
    let entries = std::fs::read_dir(machine.folder.path().join("shards")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[tokio::test]
async fn wanted_shards_run_with_three_processes_each_and_stop_with_the_coordinator() {
    let machine = Machine::new();
    let running = machine.start().await;
    running.want(2);
    let children = machine.has_children(6).await;
    let names: Vec<&str> = children.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "prometheus:0-0",
            "prometheus:0-1",
            "scraper-sidecar:0-0",
            "scraper-sidecar:0-1",
            "thanos-sidecar:0-0",
            "thanos-sidecar:0-1"
        ]
    );
    let fleet = Arc::clone(&running.fleet.borrow());
    assert_eq!(fleet.endpoints.len(), 2);
    assert!(fleet.endpoints.iter().all(|endpoint| endpoint.fresh));
    assert_eq!(running.events.after(0).0.len(), 2);
    running.stop().await;
    assert!(machine.children().is_empty());
    assert!(children.values().all(|pid| !is_running(*pid)));
}

#[tokio::test]
async fn a_killed_process_is_started_again() {
    let machine = Machine::new();
    let running = machine.start().await;
    running.want(1);
    let before = machine.has_children(3).await;
    for pid in before.values() {
        kill(*pid);
    }
    eventually(PATIENCE, "others run in their place", async || {
        let now = machine.children();
        now.len() == 3 && now.iter().all(|(name, pid)| before[name] != *pid)
    })
    .await;
    running.stop().await;
}

#[tokio::test]
async fn the_next_coordinator_adopts_what_runs_and_starts_what_has_died() {
    let mut machine = Machine::new();
    machine.config.keep_shards = true;
    let running = machine.start().await;
    running.want(1);
    let before = machine.has_children(3).await;
    let endpoints = running.fleet.borrow().endpoints.clone();
    running.stop().await;
    kill(before["thanos-sidecar:0-0"]);
    machine.config.keep_shards = false;
    let running = machine.start().await;
    let after = machine.has_children(3).await;
    assert_eq!(after["prometheus:0-0"], before["prometheus:0-0"]);
    assert_eq!(after["scraper-sidecar:0-0"], before["scraper-sidecar:0-0"]);
    assert_ne!(after["thanos-sidecar:0-0"], before["thanos-sidecar:0-0"]);
    let fleet = Arc::clone(&running.fleet.borrow());
    assert_eq!(fleet.endpoints[0].sidecar, endpoints[0].sidecar);
    assert!(!fleet.endpoints[0].fresh, "it may hold something: its report is awaited");
    running.stop().await;
    assert!(machine.children().is_empty());
}

#[tokio::test]
async fn a_broken_record_is_rebuilt_from_what_runs_and_from_the_folders() {
    let mut machine = Machine::new();
    machine.config.keep_shards = true;
    let running = machine.start().await;
    running.want(3);
    let before = machine.has_children(9).await;
    let endpoints = running.fleet.borrow().endpoints.clone();
    running.stop().await;
    // The last of them does not run any more: its folder is what is left of it.
    for role in ["prometheus", "scraper-sidecar", "thanos-sidecar"] {
        kill(before[&format!("{role}:0-2")]);
    }
    let record = machine.folder.path().join("local.json");
    let content = std::fs::read_to_string(&record).unwrap();
    std::fs::write(&record, &content[..content.len() / 2]).unwrap();
    machine.config.keep_shards = false;
    let running = machine.start().await;
    let after = machine.has_children(9).await;
    for (name, pid) in before.iter().filter(|(name, _)| !name.ends_with(":0-2")) {
        assert_eq!(after[name], *pid, "{name} was adopted");
    }
    let fleet = Arc::clone(&running.fleet.borrow());
    assert_eq!(fleet.endpoints.len(), 3);
    for (now, then) in fleet.endpoints.iter().zip(&endpoints).take(2) {
        assert_eq!((&now.sidecar, &now.prometheus), (&then.sidecar, &then.prometheus));
    }
    assert!(fleet.endpoints.iter().all(|endpoint| !endpoint.fresh), "they may hold something");
    assert!(machine.folder.path().join("local.corrupt").exists());
    running.stop().await;
}

#[tokio::test]
async fn a_record_with_a_hole_is_rebuilt_from_what_runs() {
    let mut machine = Machine::new();
    machine.config.keep_shards = true;
    let running = machine.start().await;
    running.want(3);
    let before = machine.has_children(9).await;
    let endpoints = running.fleet.borrow().endpoints.clone();
    running.stop().await;
    let record = machine.folder.path().join("local.json");
    let mut shards: Vec<serde_json::Value> =
        serde_json::from_slice(&std::fs::read(&record).unwrap()).unwrap();
    shards.remove(1);
    std::fs::write(&record, serde_json::to_vec(&shards).unwrap()).unwrap();
    machine.config.keep_shards = false;
    let running = machine.start().await;
    assert_eq!(machine.has_children(9).await, before, "all were adopted");
    let fleet = Arc::clone(&running.fleet.borrow());
    let addresses = |endpoints: &[Endpoint]| -> Vec<String> {
        endpoints.iter().map(|endpoint| endpoint.sidecar.clone()).collect()
    };
    assert_eq!(addresses(&fleet.endpoints), addresses(&endpoints));
    assert!(machine.folder.path().join("local.corrupt").exists());
    running.stop().await;
    assert!(machine.children().is_empty());
}

#[tokio::test]
async fn a_shard_that_is_missing_below_one_that_runs_is_made_anew() {
    let mut machine = Machine::new();
    machine.config.keep_shards = true;
    let running = machine.start().await;
    running.want(2);
    let before = machine.has_children(6).await;
    running.stop().await;
    // Nothing at all is left of the lower one.
    let children = machine.folder.path().join(CHILDREN_FILE);
    let mut records: Vec<serde_json::Value> =
        serde_json::from_slice(&std::fs::read(&children).unwrap()).unwrap();
    records.retain(|record| record["name"].as_str().unwrap().ends_with(":0-1"));
    std::fs::write(&children, serde_json::to_vec(&records).unwrap()).unwrap();
    for (_, pid) in before.iter().filter(|(name, _)| name.ends_with(":0-0")) {
        kill(*pid);
    }
    std::fs::remove_dir_all(machine.folder.path().join("shards/0-0")).unwrap();
    std::fs::write(machine.folder.path().join("local.json"), "[").unwrap();
    machine.config.keep_shards = false;
    let running = machine.start().await;
    let after = machine.has_children(6).await;
    for (name, pid) in before.iter().filter(|(name, _)| name.ends_with(":0-1")) {
        assert_eq!(after[name], *pid, "{name} was adopted");
    }
    let fresh: Vec<bool> =
        running.fleet.borrow().endpoints.iter().map(|endpoint| endpoint.fresh).collect();
    assert_eq!(fresh, [true, false]);
    running.stop().await;
}

#[tokio::test]
async fn shards_are_left_to_another_coordinator_and_stopped_by_the_last_one() {
    let machine = Machine::new();
    let first = machine.start().await;
    first.want(1);
    let before = machine.has_children(3).await;
    let (second, third) = (machine.start().await, machine.start().await);
    // One that looks on takes nothing with it.
    third.stop().await;
    assert_eq!(machine.children(), before);
    first.stop().await;
    eventually(PATIENCE, "the follower has taken the shards over", async || {
        second.leads.term().is_some()
    })
    .await;
    assert_eq!(machine.has_children(3).await, before, "as they run");
    second.stop().await;
    assert!(machine.children().is_empty());
}

#[tokio::test]
async fn shards_that_a_leader_has_left_are_stopped_by_a_follower_that_ends_before_it_leads() {
    let machine = Machine::new();
    let first = machine.start().await;
    first.want(1);
    let before = machine.has_children(3).await;
    // It has not seen yet that nobody leads.
    let standby = Standby {
        data_dir: machine.data_dir(),
        config: machine.config.clone(),
        leadership: machine.follows().await,
        events: Events::default(),
        sender: watch::channel(Arc::default()).0,
    };
    first.stop().await;
    assert_eq!(machine.children(), before);
    standby.end().await;
    assert!(machine.children().is_empty());
    assert!(before.values().all(|pid| !is_running(*pid)));
}

#[tokio::test]
async fn a_sweep_leaves_no_process_of_a_dead_coordinator() {
    let mut machine = Machine::new();
    machine.config.keep_shards = true;
    let running = machine.start().await;
    running.want(2);
    let children = machine.has_children(6).await;
    running.stop().await;
    crate::sweep(&machine.data_dir(), Duration::from_secs(5)).await;
    assert!(children.values().all(|pid| !is_running(*pid)));
}

#[tokio::test]
async fn a_removed_shard_stops_and_keeps_its_folder() {
    let machine = Machine::new();
    let running = machine.start().await;
    running.want(2);
    machine.has_children(6).await;
    running.want(1);
    let left = machine.has_children(3).await;
    assert!(left.keys().all(|name| name.ends_with(":0-0")), "{left:?}");
    assert!(machine.folder.path().join("shards/0-1/prometheus").is_dir());
    running.want(2);
    machine.has_children(6).await;
    let fleet = Arc::clone(&running.fleet.borrow());
    assert!(!fleet.endpoints[1].fresh, "it was there before");
    running.stop().await;
}

#[tokio::test]
async fn a_removed_shard_whose_data_is_in_the_bucket_is_not_scraped_on_in_its_folder() {
    let mut machine = Machine::new();
    let running = machine.start().await;
    running.want(3);
    machine.has_children(9).await;
    let remove = |running: &Running, count, ordinal| {
        let shipped = [ShardId { group: 0, ordinal }].into();
        running.wanted.send_replace(Some(Wanted { counts: vec![count], shipped }));
    };
    remove(&running, 2, 2);
    machine.has_children(6).await;
    eventually(PATIENCE, "its folder is set aside", async || {
        let names = machine_folders(&machine);
        if names.iter().any(|name| name.starts_with("0-2.shipped-")) {
            Ok(())
        } else {
            Err(names.join(" "))
        }
    })
    .await;
    running.want(3);
    machine.has_children(9).await;
    let fleet = Arc::clone(&running.fleet.borrow());
    assert!(fleet.endpoints[2].fresh, "it begins with nothing");
    running.stop().await;
    machine.config.delete_shipped = true;
    let running = machine.start().await;
    machine.has_children(9).await;
    remove(&running, 2, 2);
    machine.has_children(6).await;
    eventually(PATIENCE, "its folder is deleted, the one before stays", async || {
        let names = machine_folders(&machine);
        if names.len() == 3 && names[2].starts_with("0-2.shipped-") {
            Ok(())
        } else {
            Err(names.join(" "))
        }
    })
    .await;
    running.stop().await;
}

#[tokio::test]
async fn a_port_that_somebody_else_has_taken_is_replaced() {
    let mut machine = Machine::new();
    let running = machine.start().await;
    running.want(1);
    machine.has_children(3).await;
    let old = running.fleet.borrow().endpoints[0].prometheus.clone().unwrap();
    running.stop().await;
    let _squatter = std::net::TcpListener::bind(old.trim_start_matches("http://")).unwrap();
    // One that ends at once, as Prometheus does when its port is taken.
    machine.config.programs.prometheus = script(
        machine.folder.path(),
        "prometheus",
        "case \"$*\" in *SQUATTED*) exit 1;; esac\nexec sleep 1000"
            .replace("SQUATTED", &old[7..])
            .as_str(),
    );
    let running = machine.start().await;
    eventually(PATIENCE, "another port is used", async || {
        running.fleet.borrow().endpoints[0].prometheus.as_ref() != Some(&old)
    })
    .await;
    machine.has_children(3).await;
    running.stop().await;
}

#[tokio::test]
async fn a_folder_that_is_a_file_is_refused_with_its_name() {
    let machine = Machine::new();
    std::fs::write(machine.folder.path().join("shards"), "").unwrap();
    let mut record = Record::open(machine.folder.path()).unwrap();
    record.put(LocalShard::new(ShardId { group: 0, ordinal: 0 }, &[1, 2, 3, 4, 5], false));
    record.save().unwrap();
    let (_wanted, wishes) = watch::channel(None);
    let ctx = svc::Context::new();
    let (leads, events) = (machine.leads(&ctx).await, Events::default());
    let error = start(&machine.data_dir(), &machine.config, wishes, &leads, &events, &ctx).await;
    let text = format!("{:#}", error.unwrap_err());
    assert!(text.contains("create folder") && text.contains("shards/0-0"), "{text}");
}

#[test]
fn command_lines_are_what_stock_programs_take() {
    let machine = Machine::new();
    let shard = LocalShard::new(ShardId { group: 1, ordinal: 2 }, &[1, 2, 3, 4, 5], true);
    let folder = Path::new("/data/shards/1-2");
    let prometheus = specs::spec(Role::Prometheus, &shard, folder, &machine.config);
    expect_test::expect![[r"
        --config.file=/data/shards/1-2/config/prometheus.yml
        --storage.tsdb.path=/data/shards/1-2/prometheus
        --storage.tsdb.retention.time=15d
        --storage.tsdb.min-block-duration=2h
        --storage.tsdb.max-block-duration=2h
        --web.listen-address=127.0.0.1:1
        --web.enable-lifecycle
        --web.enable-admin-api
        --more"]]
    .assert_eq(&prometheus.arguments.join("\n"));
    let sidecar = specs::spec(Role::ScraperSidecar, &shard, folder, &machine.config);
    let labels = sidecar.arguments.iter().filter(|argument| argument.starts_with("--label"));
    let labels: Vec<&String> = labels.collect();
    assert_eq!(labels, ["--label=prometheus_replica=\"1\"", "--label=prometheus_shard=\"2\""]);
    assert_eq!(specs::parse_child_name(&sidecar.name), Some((Role::ScraperSidecar, shard.id())));
}
