//! Threads on which queries are evaluated. The one that became idle last gets the next query, so that queries which
//! come one after another use the memory of one thread over and over.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// What a thread does next, and what it does once it is idle again: to hand over what came of it.
type Task = Box<dyn FnOnce() -> Box<dyn FnOnce() + Send> + Send>;

/// Work for a thread, with the door through which it came.
struct Turn {
    task: Task,
    door: SyncSender<Turn>,
}

/// As many threads as ever worked at a time; they end with this. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Workers {
    /// The doors of those that wait for work, the one that became idle last at the end.
    idle: Arc<Mutex<Vec<SyncSender<Turn>>>>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("the work panicked")]
    Panicked,
    #[error("start a thread")]
    NoThread(#[from] std::io::Error),
}

impl Workers {
    /// Does work on a thread that may be busy. The work goes on when the future is dropped. Who bounds how much work
    /// there is at a time bounds the threads, too, if that bound is given back with the answer.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Broken> {
        let (sender, receiver) = oneshot::channel();
        let task: Task = Box::new(move || {
            let value = work();
            // Nobody may want it any more.
            Box::new(move || drop(sender.send(value)))
        });
        let idle = self.idle.lock().pop();
        let door = match idle {
            Some(door) => door,
            None => self.start()?,
        };
        // The thread waits, and its door holds one task.
        door.send(Turn { task, door: door.clone() }).map_err(|_| Broken::Panicked)?;
        drop(door);
        receiver.await.map_err(|_| Broken::Panicked)
    }

    /// A thread that waits for its first task; it ends when nobody has its door.
    fn start(&self) -> Result<SyncSender<Turn>, Broken> {
        let (door, turns) = sync_channel::<Turn>(1);
        let workers = Arc::downgrade(&self.idle);
        thread::Builder::new().name("query".to_owned()).spawn(move || {
            while let Ok(Turn { task, door }) = turns.recv() {
                // After a panic the channel says that there will be no answer; the thread goes on.
                let hand_over = catch_unwind(AssertUnwindSafe(task)).ok();
                if let Some(idle) = workers.upgrade() {
                    idle.lock().push(door);
                }
                hand_over.into_iter().for_each(|hand_over| hand_over());
            }
        })?;
        Ok(door)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread::ThreadId;

    use super::*;

    async fn where_it_runs(workers: &Workers) -> ThreadId {
        workers.run(|| thread::current().id()).await.unwrap()
    }

    #[tokio::test]
    async fn one_after_another_they_have_one_thread() {
        let workers = Workers::default();
        let first = where_it_runs(&workers).await;
        for _ in 0..50 {
            assert_eq!(where_it_runs(&workers).await, first);
        }
    }

    #[tokio::test]
    async fn beside_each_other_they_have_a_thread_each() {
        let workers = Workers::default();
        let (end, wait) = mpsc::channel::<()>();
        let busy = workers.clone();
        let long = tokio::spawn(async move {
            busy.run(move || {
                wait.recv().unwrap();
                thread::current().id()
            })
            .await
        });
        // It has begun, or will on a thread of its own.
        let short = where_it_runs(&workers).await;
        end.send(()).unwrap();
        let long = long.await.unwrap().unwrap();
        let next = where_it_runs(&workers).await;
        assert!(next == short || next == long);
    }

    #[tokio::test]
    async fn a_panic_is_told_and_takes_no_thread_away() {
        let workers = Workers::default();
        let broken = workers.run(|| std::panic::resume_unwind(Box::new("broken"))).await;
        assert!(matches!(broken, Err::<(), _>(Broken::Panicked)));
        assert_eq!(workers.run(|| 7).await.unwrap(), 7);
    }
}
