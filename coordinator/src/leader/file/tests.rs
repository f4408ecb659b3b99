//! Several hands on one lock, in one process: `flock` belongs to an open file.

use tempfile::TempDir;

use super::*;

const LEASE: Duration = Duration::from_millis(200);

fn hand(folder: &TempDir, fence: Fence) -> FileLock {
    FileLock::open(&folder.path().join("sub/leader.lock"), LEASE, fence).unwrap()
}

fn files(folder: &TempDir) -> Vec<String> {
    let files = fs::read_dir(folder.path().join("sub")).unwrap().flatten();
    let mut names: Vec<String> =
        files.map(|entry| entry.file_name().to_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

/// Polls until a term begins.
fn acquire(lock: &mut FileLock) -> u64 {
    let give_up = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(epoch) = lock.acquire(0).unwrap() {
            return epoch;
        }
        assert!(Instant::now() < give_up, "no term has begun");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn one_leads_and_each_term_has_a_higher_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let (mut first, mut second) = (hand(&folder, Fence::Epoch), hand(&folder, Fence::Epoch));
    first.set_url("http://first".to_owned());
    assert_eq!(first.acquire(0).unwrap(), Some(1));
    assert_eq!(second.acquire(0).unwrap(), None);
    let holder = second.holder().unwrap();
    assert_eq!((holder.epoch, holder.url.as_str(), holder.ours), (1, "http://first", false));
    assert!(first.holder().unwrap().ours);
    assert!(first.renew().unwrap());
    drop(first);
    assert_eq!(second.acquire(0).unwrap(), Some(2));
    second.release();
    assert_eq!(second.acquire(40).unwrap(), Some(41));
    assert_eq!(files(&folder), ["leader.lock.41"]);
}

#[test]
fn a_holder_that_beats_keeps_its_term_and_one_that_hangs_is_deposed() {
    let folder = tempfile::tempdir().unwrap();
    let (mut first, mut second) = (hand(&folder, Fence::Epoch), hand(&folder, Fence::Epoch));
    assert_eq!(first.acquire(0).unwrap(), Some(1));
    let end = Instant::now() + 3 * LEASE;
    while Instant::now() < end {
        assert!(first.renew().unwrap());
        assert_eq!(second.acquire(0).unwrap(), None);
        std::thread::sleep(LEASE / 20);
    }
    // No beat from here on; its lock is held all the time.
    assert_eq!(acquire(&mut second), 2);
    assert!(!first.renew().unwrap());
    assert_eq!(first.acquire(0).unwrap(), None);
    assert_eq!(first.advance(9).unwrap(), None);
    assert!(second.renew().unwrap());
}

#[test]
fn a_leader_goes_above_an_epoch_that_the_shards_know() {
    let folder = tempfile::tempdir().unwrap();
    let mut lock = hand(&folder, Fence::Kill);
    assert_eq!(lock.advance(7).unwrap(), None);
    assert_eq!(lock.acquire(0).unwrap(), Some(1));
    assert_eq!(lock.advance(7).unwrap(), Some(8));
    assert!(lock.renew().unwrap());
    assert_eq!(files(&folder), ["leader.lock.8"]);
}

#[test]
fn two_that_claim_the_same_term_do_not_both_get_it() {
    let folder = tempfile::tempdir().unwrap();
    let (mut first, mut second) = (hand(&folder, Fence::Epoch), hand(&folder, Fence::Epoch));
    assert_eq!(first.claim(5).unwrap(), Some(5));
    assert_eq!(second.claim(5).unwrap(), None);
    assert!(second.held.is_none() && first.renew().unwrap());
    assert_eq!(files(&folder), ["leader.lock.5"]);
}

#[test]
fn a_term_that_somebody_has_deleted_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let mut lock = hand(&folder, Fence::Epoch);
    assert_eq!(lock.acquire(0).unwrap(), Some(1));
    fs::remove_file(lock.term(1)).unwrap();
    assert!(!lock.renew().unwrap());
    assert_eq!(lock.acquire(1).unwrap(), Some(2));
}

#[test]
fn foreign_files_and_garbage_in_a_term_do_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let mut lock = hand(&folder, Fence::Kill);
    for name in ["leader.lock.x", "leader.lock.", "leader.lock", "other.9"] {
        fs::write(folder.path().join("sub").join(name), b"\xff").unwrap();
    }
    fs::write(lock.term(3), b"\xff\xfe{").unwrap();
    assert!(lock.holder().is_none());
    assert_eq!(lock.acquire(0).unwrap(), Some(4));
}

#[test]
fn a_leader_that_hangs_and_cannot_be_fenced_by_its_epoch_is_killed_first() {
    let folder = tempfile::tempdir().unwrap();
    let mut lock = hand(&folder, Fence::Kill);
    // Stands for the other coordinator: it takes the lock of its standard input with it when it dies.
    let path = lock.term(6);
    let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    file.try_lock().unwrap();
    let mut hung = std::process::Command::new("sleep").arg("1000").stdin(file).spawn().unwrap();
    let record = |pid| {
        let (url, host) = (String::new(), String::new());
        serde_json::to_vec(&Record { url, host, machine: machine(), pid, since: 0 }).unwrap()
    };
    // Our own process is never killed, whatever the file says.
    fs::write(&path, record(std::process::id())).unwrap();
    assert_eq!(lock.acquire(0).unwrap(), None);
    std::thread::sleep(2 * LEASE);
    assert_eq!(lock.acquire(0).unwrap(), None);
    fs::write(&path, record(hung.id())).unwrap();
    assert_eq!(acquire(&mut lock), 7);
    assert!(!hung.wait().unwrap().success());
}
