//! The group of processes that a job's worker belongs to, as data: who it is, and where the others
//! are found. The host says it; the engine joins the group.

use serde::{Deserialize, Serialize};

/// A worker's place in its group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Group {
    /// Which worker this is, 0 to `size - 1`. Worker 0 shows progress and keeps results.
    pub rank: u32,
    /// How many workers there are.
    pub size: u32,
    /// Host name or address at which worker 0 is found.
    #[serde(default)]
    pub host: String,
    /// Port there.
    #[serde(default)]
    pub port: u16,
    /// Whether worker 0 serves at that port. Otherwise the program that started the workers does.
    #[serde(default)]
    pub serves: bool,
    /// Seconds that a worker waits for an answer of the others.
    #[serde(default)]
    pub timeout: u32,
    /// Which job of the run this is: a learner that asks for another one has a job in a job. All
    /// workers count alike.
    #[serde(default)]
    pub job: u32,
    /// What must be the same for all: lines of a name, a tab and a value.
    #[serde(default)]
    pub facts: String,
}

impl Group {
    /// The group of one worker.
    pub fn alone() -> Self {
        Self { rank: 0, size: 1, host: String::new(), port: 0, serves: false, timeout: 0, job: 0, facts: String::new() }
    }

    /// Seconds that a worker waits for the others to come, which start at different times.
    pub fn join_seconds(&self) -> u32 {
        self.timeout.saturating_mul(4)
    }

    /// Whether this is a group of one worker.
    pub fn is_alone(&self) -> bool {
        self.size <= 1
    }

    /// Whether this worker shows progress and keeps results.
    pub fn leads(&self) -> bool {
        self.rank == 0
    }
}

impl Default for Group {
    fn default() -> Self {
        Self::alone()
    }
}
