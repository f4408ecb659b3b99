//! The threads of this process that decode series for all queries: as many as there are cores, and no more for more
//! queries. Queries take turns, so that a large one does not keep a small one waiting.

use std::collections::VecDeque;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::thread;

use parking_lot::{Condvar, Mutex};

/// Something to do. It has to say by itself that it was done.
pub(crate) type Task = Box<dyn FnOnce() + Send>;

/// What waits, and who is next.
#[derive(Default)]
pub(crate) struct Pool {
    turns: Mutex<Turns>,
    more: Condvar,
}

/// The tasks of each query that has any, that of the next turn first.
#[derive(Default)]
struct Turns {
    lanes: VecDeque<(usize, VecDeque<Task>)>,
}

impl Turns {
    fn push(&mut self, query: usize, task: Task) {
        match self.lanes.iter_mut().find(|(of, _)| *of == query) {
            Some((_, tasks)) => tasks.push_back(task),
            None => self.lanes.push_back((query, VecDeque::from([task]))),
        }
    }

    fn pop(&mut self) -> Option<Task> {
        let (query, mut tasks) = self.lanes.pop_front()?;
        let task = tasks.pop_front();
        if !tasks.is_empty() {
            self.lanes.push_back((query, tasks));
        }
        task
    }
}

impl Pool {
    /// That of the process; `None` where another thread would not help.
    pub fn of_process() -> Option<&'static Self> {
        static POOL: OnceLock<Option<&'static Pool>> = OnceLock::new();
        *POOL.get_or_init(|| {
            let cores = thread::available_parallelism().map_or(1, NonZero::get);
            (cores > 1).then(|| Self::start(cores)).flatten()
        })
    }

    /// Threads that live as long as the process; `None` when there are none to be had.
    fn start(threads: usize) -> Option<&'static Self> {
        let pool: &'static Self = Box::leak(Box::default());
        let spawn =
            |_| thread::Builder::new().name("promql-decode".to_owned()).spawn(|| pool.work());
        let started = (0..threads).map(spawn).filter(Result::is_ok).count();
        (started > 0).then_some(pool)
    }

    /// Has a task done in its query's turn.
    pub fn push(&self, query: usize, task: Task) {
        self.turns.lock().push(query, task);
        self.more.notify_one();
    }

    fn work(&self) {
        let mut turns = self.turns.lock();
        loop {
            if let Some(task) = turns.pop() {
                drop(turns);
                // The task tells whoever waits for it that it broke off; the thread goes on.
                drop(catch_unwind(AssertUnwindSafe(task)));
                turns = self.turns.lock();
            } else {
                self.more.wait(&mut turns);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn queries_take_turns_whatever_each_has_waiting() {
        let (sender, receiver) = mpsc::channel();
        let mut turns = Turns::default();
        for (query, name) in [(1, "a1"), (1, "a2"), (1, "a3"), (2, "b1"), (3, "c1"), (2, "b2")] {
            let sender = sender.clone();
            turns.push(query, Box::new(move || sender.send(name).unwrap()));
        }
        while let Some(task) = turns.pop() {
            task();
        }
        drop(sender);
        let order: Vec<&str> = receiver.iter().collect();
        assert_eq!(order, ["a1", "b1", "c1", "a2", "b2", "a3"]);
    }

    #[test]
    fn a_thread_survives_a_task_that_breaks_off() {
        let pool = Pool::start(1).unwrap();
        let (sender, receiver) = mpsc::channel();
        pool.push(1, Box::new(|| std::panic::resume_unwind(Box::new("broken"))));
        pool.push(1, Box::new(move || sender.send(7).unwrap()));
        assert_eq!(receiver.recv(), Ok(7));
    }
}
