//! What an evaluation says of networks that have learnt nothing or compute no numbers.

use pocketflow::agent::Agent;
use pocketflow::dataset::images::ImagesInMemory;
use pocketflow::dataset::options::Counts;
use pocketflow::dataset::pass::Pass;
use pocketflow::dataset::{Batches, Dataset, DatasetInfo, Shard, Split};
use pocketflow::graph::{self, Graph, GraphBuilder};
use pocketflow::job::{Event, Host, Job};
use pocketflow::net::{Net, Recipe};
use pocketflow::option::OptionSpec;
use pocketflow::quant::QuantPlan;
use pocketflow::report::Report;
use pocketflow::settings::Settings;
use pocketflow::{Error, Result};
use pocketflow_torch::engine::Engine;
use pocketflow_torch::evaluate::evaluate;
use pocketflow_torch::network::{Network, Weights};
use std::sync::Arc;

const SHAPE: [usize; 3] = [1, 1, 2];

/// Images whose labels are these.
struct Labelled(Vec<u32>);

impl Dataset for Labelled {
    fn info(&self) -> DatasetInfo {
        DatasetInfo::new("labelled", SHAPE, vec!["a".into(), "b".into(), "c".into()], vec![0.0], vec![1.0]).counts(
            0,
            0,
            self.0.len() as u64,
        )
    }

    fn open(&self, split: Split, shard: Shard, seed: u64) -> Result<Box<dyn Batches>> {
        let pixels = self.0.iter().flat_map(|label| [*label as u8, 1]).collect();
        let images = Arc::new(ImagesInMemory::new(SHAPE, pixels, self.0.clone())?);
        let counts = Counts { train: 0, val: 0, eval: self.0.len() as u64 };
        Ok(Box::new(Pass::open(images, &counts, split, shard, seed, None)?))
    }
}

struct Linear;

impl Net for Linear {
    fn graph(&self) -> Result<Graph> {
        let mut builder = GraphBuilder::new("linear", SHAPE);
        builder.add("fc", graph::Linear { out: 3, bias: true }, &[0]);
        builder.finish().map_err(|error| Error::failed(error.to_string()))
    }

    fn recipe(&self, _: u64) -> Recipe {
        unreachable!("nothing is trained")
    }
}

struct Quiet;

impl Host for Quiet {
    fn event(&self, _: Event) {}

    fn interrupted(&self) -> bool {
        false
    }

    fn run_learner(&self, _: &str, _: &[(String, String)]) -> Result<Report> {
        Err(Error::failed("there is none"))
    }

    fn agent(&self, _: &str) -> Result<Box<dyn Agent>> {
        Err(Error::failed("there is none"))
    }
}

fn job(labels: &[u32]) -> Job {
    Job {
        settings: Settings::defaults([("data", vec![OptionSpec::int("batch_size_eval", 2, 1..=9, "Images.")])]),
        net_id: "linear".into(),
        net: Box::new(Linear),
        dataset: Arc::new(Labelled(labels.to_vec())),
        host: Arc::new(Quiet),
        run_dir: "nowhere".into(),
        model: None,
        group: pocketflow::workers::Group::alone(),
    }
}

/// The network with these weights of three classes on two pixels.
fn network(weight: [f32; 6], bias: [f32; 3]) -> Network {
    let values = [("fc.weight".to_owned(), weight.to_vec()), ("fc.bias".to_owned(), bias.to_vec())].into();
    Network::new(&Engine::cpu(), &Linear.graph().unwrap(), &QuantPlan::default(), &values, Weights::FullPrecision)
        .unwrap()
}

#[test]
fn a_network_of_one_answer_is_told() {
    let same = network([0.0; 6], [0.0, 1.0, 0.0]);
    let metrics = evaluate(&same, &job(&[0, 1, 1, 2]), Split::Eval).unwrap();
    assert_eq!((metrics.top1, metrics.constant), (0.5, Some(1)));
    assert!(metrics.warning().unwrap().contains("answers class 1 to all 4 images"));
    // Where all images are of one class, one answer is right.
    assert_eq!(evaluate(&same, &job(&[1, 1, 1]), Split::Eval).unwrap().warning(), None);
    // Pixel 0 is the label, and class 1 lies between the others.
    let able = network([-1.0, 0.0, 0.0, 0.0, 1.0, 0.0], [1.0, 0.5, -1.0]);
    let metrics = evaluate(&able, &job(&[0, 1, 2, 2]), Split::Eval).unwrap();
    assert_eq!((metrics.top1, metrics.constant), (1.0, None));
}

#[test]
fn answers_that_are_no_numbers_are_an_error() {
    let beyond = network([f32::MAX, f32::MAX, 0.0, 0.0, 0.0, 0.0], [f32::MAX, 0.0, 0.0]);
    let error = evaluate(&beyond, &job(&[2, 2]), Split::Eval).unwrap_err().to_string();
    assert!(error.contains("answers to the test images are no finite numbers"), "{error}");
}
