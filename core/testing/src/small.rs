//! A job that takes no time: a net of one fully connected layer, images of two pixels of which the
//! first is the label, and all settings at their defaults.

use crate::TestHost;
use pocketflow::dataset::images::ImagesInMemory;
use pocketflow::dataset::options::{Counts, DatasetOptions, Defaults};
use pocketflow::dataset::pass::Pass;
use pocketflow::dataset::{Batches, Dataset, DatasetInfo, Shard, Split};
use pocketflow::graph::{Graph, GraphBuilder, Linear};
use pocketflow::job::Job;
use pocketflow::net::{Net, Recipe, Schedule};
use pocketflow::option::{HostOptions, Value};
use pocketflow::settings::Settings;
use pocketflow::{Error, Result};
use std::path::Path;
use std::sync::Arc;

/// The shape of an image: channels, height, width.
pub const SHAPE: [usize; 3] = [1, 1, 2];
/// The number of classes.
pub const CLASSES: usize = 3;

/// Images with these labels, for training and evaluation alike; none is held out.
pub struct Labelled(pub Vec<u32>);

impl Labelled {
    fn counts(&self) -> Counts {
        let all = self.0.len() as u64;
        Counts { train: all, val: 0, eval: all }
    }
}

impl Dataset for Labelled {
    fn info(&self) -> DatasetInfo {
        let Counts { train, val, eval } = self.counts();
        let labels = ["a", "b", "c"].map(str::to_owned).to_vec();
        DatasetInfo::new("labelled", SHAPE, labels, vec![0.0], vec![1.0]).counts(train, val, eval)
    }

    fn open(&self, split: Split, shard: Shard, seed: u64) -> Result<Box<dyn Batches>> {
        let pixels = self.0.iter().flat_map(|label| [*label as u8, 1]).collect();
        let images = Arc::new(ImagesInMemory::new(SHAPE, pixels, self.0.clone())?);
        Ok(Box::new(Pass::open(images, &self.counts(), split, shard, seed, None)?))
    }
}

/// One fully connected layer, `fc`.
pub struct SmallNet;

impl Net for SmallNet {
    fn graph(&self) -> Result<Graph> {
        let mut builder = GraphBuilder::new("small", SHAPE);
        builder.add("fc", Linear { out: CLASSES, bias: true }, &[0]);
        builder.finish().map_err(|error| Error::failed(error.to_string()))
    }

    fn recipe(&self, _: u64) -> Recipe {
        Recipe::new(2.0, Schedule::Cosine { init: 0.1 })
    }
}

/// The settings of host and data set: batches of 4 in training and 2 in evaluations, one thread, an
/// entry for every step, on the CPU, and files in `dir`. `changes` come last.
pub fn settings(dir: &Path, changes: &[(&str, Value)]) -> Settings {
    let data = Defaults {
        nb_classes: CLASSES as i64,
        classes: 1..=9,
        train: 24,
        val: 0,
        eval: 24,
        train_max: 24,
        eval_max: 24,
        batch_size: 4,
        batch_size_eval: 2,
    };
    let declared = [("host", HostOptions::specs("a-parent")), ("labelled", DatasetOptions::specs(&data))];
    let mut settings = Settings::defaults(declared);
    let path = |name: &str| Value::from(dir.join(name).display().to_string());
    for (key, value) in [
        (HostOptions::device().name(), "cpu".into()),
        (HostOptions::threads().name(), 1_usize.into()),
        (HostOptions::summ_step().name(), 1_u64.into()),
        (HostOptions::save_path().name(), path("parent.ckpt")),
        (HostOptions::save_path_dst().name(), path("teacher.ckpt")),
    ] {
        settings.derive(key, value, "the test");
    }
    changes.iter().for_each(|(key, value)| settings.derive(key, value.clone(), "the test case"));
    settings
}

/// The job: [`SmallNet`] on 24 images, its files in `dir`.
pub fn job(dir: &Path, host: Arc<TestHost>, changes: &[(&str, Value)]) -> Job {
    Job {
        settings: settings(dir, changes),
        net_id: "small".into(),
        net: Box::new(SmallNet),
        dataset: Arc::new(Labelled((0..24).map(|index| index % CLASSES as u32).collect())),
        host,
        run_dir: dir.to_owned(),
        model: None,
        group: pocketflow::workers::Group::alone(),
    }
}
