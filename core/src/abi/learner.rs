//! [`Learner`] and its [`Job`] across the boundary.

use super::call::Callee;
use super::guard::{Held, Owner};
use super::wire::{Bytes, Outcome, inward, outward, pack, unpack};
use super::{dataset, net, services};
use crate::dataset::{Batches, Dataset, DatasetInfo, Shard, Split};
use crate::error::Result;
use crate::graph::Graph;
use crate::job::Job;
use crate::learner::Learner;
use crate::net::{Net, Recipe};
use crate::report::Report;
use crate::settings::Settings;
use crate::workers::Group;
use abi_stable::sabi_trait::TD_Opaque;
use abi_stable::std_types::RBox;
use abi_stable::{StableAbi, sabi_trait};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;

/// The parts of a [`Job`] that are data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    pub settings: Settings,
    pub net_id: String,
    pub run_dir: PathBuf,
    pub model: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Group::is_alone")]
    pub group: Group,
}

#[repr(C)]
#[derive(StableAbi)]
pub struct WireJob {
    facts: Bytes,
    net: net::NetBox,
    dataset: dataset::DatasetBox,
    host: services::HostBox,
}

#[sabi_trait]
pub trait LearnerObject: Send {
    /// Gives a [`Report`].
    fn train(&mut self, job: WireJob) -> Outcome<Bytes>;

    /// Gives a [`Report`].
    #[sabi(last_prefix_field)]
    fn evaluate(&mut self, job: WireJob) -> Outcome<Bytes>;
}

pub type LearnerBox = LearnerObject_TO<'static, RBox<()>>;

/// The net of a job for as long as the call that borrows the job.
struct Lent(*const dyn Net);

// SAFETY: the object goes to the learner's library inside of a `Job`, which is not `Sync` and is
// only ever borrowed there, so the net stays on the thread that makes the call.
unsafe impl Send for Lent {}

impl Lent {
    fn net(&self) -> &dyn Net {
        // SAFETY: `Lent` lives in the `Job` that `receive` makes, which is gone when the call
        // returns that borrows the net.
        unsafe { &*self.0 }
    }
}

impl Net for Lent {
    fn graph(&self) -> Result<Graph> {
        self.net().graph()
    }

    fn recipe(&self, samples: u64) -> Recipe {
        self.net().recipe(samples)
    }
}

/// A share in the data set of a job.
struct Shared(Arc<dyn Dataset>);

impl Dataset for Shared {
    fn info(&self) -> DatasetInfo {
        self.0.info()
    }

    fn open(&self, split: Split, shard: Shard, seed: u64) -> Result<Box<dyn Batches>> {
        self.0.open(split, shard, seed)
    }
}

/// What is sent must be dropped before the borrow of `job` ends.
fn send(job: &Job) -> Result<WireJob> {
    let facts = Facts {
        settings: job.settings.clone(),
        net_id: job.net_id.clone(),
        run_dir: job.run_dir.clone(),
        model: job.model.clone(),
        group: job.group.clone(),
    };
    let net: *const dyn Net = &*job.net;
    Ok(WireJob {
        facts: pack("a job", &facts)?,
        net: net::provide(Owner::host(), Box::new(Lent(net))),
        dataset: dataset::provide(Owner::host(), Box::new(Shared(Arc::clone(&job.dataset)))),
        host: services::provide(Arc::clone(&job.host)),
    })
}

fn receive(job: WireJob) -> Result<Job> {
    let Facts { settings, net_id, run_dir, model, group } = unpack("a job", &job.facts)?;
    Ok(Job {
        settings,
        net: net::consume(Callee::host(), job.net, &net_id),
        net_id,
        dataset: dataset::consume(Callee::host(), job.dataset)?.into(),
        host: services::consume(job.host),
        run_dir,
        model,
        group,
    })
}

struct Provided(Held<dyn Learner>);

impl Provided {
    fn run(
        &mut self,
        function: &str,
        job: WireJob,
        call: fn(&mut dyn Learner, &Job) -> Result<Report>,
    ) -> Outcome<Bytes> {
        let owner = self.0.owner().clone();
        outward(owner.guard(function, || {
            let job = receive(job)?;
            pack("a report", &call(&mut *self.0, &job)?)
        }))
    }
}

impl LearnerObject for Provided {
    fn train(&mut self, job: WireJob) -> Outcome<Bytes> {
        self.run("train", job, |learner, job| learner.train(job))
    }

    fn evaluate(&mut self, job: WireJob) -> Outcome<Bytes> {
        self.run("evaluate", job, |learner, job| learner.evaluate(job))
    }
}

pub fn provide(owner: Owner, learner: Box<dyn Learner>) -> LearnerBox {
    LearnerObject_TO::from_value(Provided(Held::new(owner, learner)), TD_Opaque)
}

struct Foreign(Callee, LearnerBox);

impl Learner for Foreign {
    fn train(&mut self, job: &Job) -> Result<Report> {
        let job = send(job)?;
        unpack("a report", &inward(self.0.call("train", || self.1.train(job)))?)
    }

    fn evaluate(&mut self, job: &Job) -> Result<Report> {
        let job = send(job)?;
        unpack("a report", &inward(self.0.call("evaluate", || self.1.evaluate(job)))?)
    }
}

pub fn consume(callee: Callee, object: LearnerBox) -> Box<dyn Learner> {
    Box::new(Foreign(callee, object))
}
