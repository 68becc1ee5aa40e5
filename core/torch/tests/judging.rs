//! What an evaluation says of networks that have learnt nothing or compute no numbers.

use pocketflow::dataset::Split;
use pocketflow::job::Job;
use pocketflow::net::Net;
use pocketflow::quant::QuantPlan;
use pocketflow_testing::{Labelled, SmallNet};
use pocketflow_torch::engine::Engine;
use pocketflow_torch::evaluate::evaluate;
use pocketflow_torch::network::{Network, Weights};
use std::sync::Arc;

fn job(labels: &[u32]) -> Job {
    let job = pocketflow_testing::job("nowhere".as_ref(), Arc::default(), &[]);
    Job { dataset: Arc::new(Labelled(labels.to_vec())), ..job }
}

/// The network with these weights of three classes on two pixels.
fn network(weight: [f32; 6], bias: [f32; 3]) -> Network {
    let values = [("fc.weight".to_owned(), weight.to_vec()), ("fc.bias".to_owned(), bias.to_vec())].into();
    Network::new(&Engine::cpu(), &SmallNet.graph().unwrap(), &QuantPlan::default(), &values, Weights::FullPrecision)
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
