//! The agent learns: problems that need no network, with optima that are known.

mod bits;
mod target;

use bits::Bits;
use pocketflow::agent::Agent;
use pocketflow::dataset::mix;
use pocketflow::option::Value;
use pocketflow::plugin::Plugin;
use pocketflow::settings::Settings;
use pocketflow_rl_agent::RlAgent;

/// Unoptimised arithmetic takes ten times as long.
const SEEDS: u64 = if cfg!(debug_assertions) { 2 } else { 10 };

fn agent(changes: &[(&str, Value)]) -> RlAgent {
    let mut settings = Settings::defaults([("rl-agent", RlAgent::options())]);
    changes.iter().for_each(|(key, value)| settings.derive(key, value.clone(), "a test"));
    RlAgent::configure(&settings).unwrap()
}

/// What `job` gives for each seed, on two threads.
fn for_seeds<T: Send>(seeds: u64, job: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let part = |first: u64| (first..seeds).step_by(2).map(&job).collect::<Vec<_>>();
    std::thread::scope(|scope| {
        let other = scope.spawn(|| part(1));
        [part(0), other.join().unwrap()].into_iter().flatten().collect()
    })
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The rewards of a search for each seed. Planned to be four times as long, a search is all of it
/// random first quarter.
fn searches(problem: &Bits, rollouts: usize, planned: usize, seeds: u64, changes: &[(&str, Value)]) -> Vec<Vec<f64>> {
    for_seeds(seeds, |seed| {
        let mut agent = agent(changes);
        agent.prepare(&problem.space(planned, seed)).unwrap();
        problem.search(&mut agent, rollouts, planned, seed)
    })
}

/// Of each search the best reward.
fn best(searches: &[Vec<f64>]) -> Vec<f64> {
    searches.iter().map(|rewards| rewards.iter().copied().fold(f64::MIN, f64::max)).collect()
}

/// The mean reward of the last quarter less that of the random first, over all searches.
fn gain(searches: &[Vec<f64>]) -> f64 {
    let gains = searches.iter().map(|rewards| {
        let quarter = rewards.len() / 4;
        mean(&rewards[rewards.len() - quarter..]) - mean(&rewards[..quarter])
    });
    mean(&gains.collect::<Vec<_>>())
}

fn within_a_hundredth(problem: &Bits) {
    let optimum = problem.optimum();
    let found = |searches: &[Vec<f64>]| best(searches).iter().filter(|best| **best >= 0.99 * optimum).count() as u64;
    let (learned, random) = (searches(problem, 100, 100, SEEDS, &[]), searches(problem, 100, 400, SEEDS, &[]));
    println!("{} of {SEEDS} (at random {}), gain {:.3}", found(&learned), found(&random), gain(&learned) / optimum);
    assert!(found(&learned) + SEEDS / 10 >= SEEDS, "{:?} of {optimum}", best(&learned));
    assert!(gain(&learned) > 0.05 * optimum, "{}", gain(&learned));
}

#[test]
fn five_layers_within_a_hundredth_of_the_optimum() {
    within_a_hundredth(&Bits::new(&[432, 2304, 4608, 9216, 640], &[1.0, 0.3, 4.0, 2.0, 0.5], [2, 8], 3.0));
}

#[test]
fn layers_of_one_size_within_a_hundredth_of_the_optimum() {
    within_a_hundredth(&Bits::new(&[1000; 5], &[100.0, 10.0, 1.0, 0.1, 30.0], [2, 8], 4.0));
}

#[test]
fn layers_of_one_sensitivity_within_a_hundredth_of_the_optimum() {
    within_a_hundredth(&Bits::new(&[500, 8000, 3000, 1000, 6000], &[1.0; 5], [2, 8], 2.5));
}

#[test]
fn twenty_layers_better_than_at_random() {
    // ResNet-20's, some of which matter up to 30 times as much as others.
    let small = [2304, 2304, 2304, 2304, 2304, 2304, 512, 4608, 9216, 9216, 9216, 9216, 9216, 2048, 18432];
    let params = [&small[..], &[36864; 5]].concat();
    let sensitivity: Vec<f64> = (0..20).map(|layer| 30f64.powf((mix(1, layer) % 1000) as f64 / 1000.0)).collect();
    let problem = Bits::new(&params, &sensitivity, [2, 8], 2.5);
    let rollouts = if cfg!(debug_assertions) { 60 } else { 200 };
    let (learned, random) =
        (searches(&problem, rollouts, rollouts, 2, &[]), searches(&problem, rollouts, 4 * rollouts, 2, &[]));
    println!("gain {:.3}: best {:.3?} against {:.3?}", gain(&learned), best(&learned), best(&random));
    assert!(best(&learned).iter().zip(best(&random)).all(|(learned, random)| *learned > random), "{random:?}");
    assert!(gain(&learned) > 0.15, "{}", gain(&learned));
}

#[test]
fn every_kind_of_noise_learns() {
    let text = |text: &str| Value::Text(text.into());
    let problem = Bits::new(&[432, 2304, 4608, 9216, 640], &[1.0, 0.3, 4.0, 2.0, 0.5], [2, 8], 3.0);
    let seeds = if cfg!(debug_assertions) { 1 } else { 2 };
    for changes in [
        vec![("ddpg_noise_type", text("action"))],
        vec![("ddpg_noise_prtl", text("adapt")), ("ddpg_noise_dst_finl", Value::Float(0.2))],
        vec![("ddpg_noise_type", text("action")), ("ddpg_noise_prtl", text("adapt"))],
        vec![("ddpg_enbl_bsln_func", Value::Bool(false)), ("ddpg_loss_w_dcy", Value::Float(1e-4))],
    ] {
        let learned = searches(&problem, 100, 100, seeds, &changes);
        println!("{changes:?}: gain {:.3}, best {:.3?}", gain(&learned), best(&learned));
        assert!(gain(&learned) > 0.0, "{changes:?}: {}", gain(&learned));
    }
}

#[test]
fn a_point_moves_to_its_target() {
    let rollouts = 300;
    let seeds = if cfg!(debug_assertions) { 1 } else { 3 };
    let distances = for_seeds(seeds, |seed| {
        let mut agent = agent(&[]);
        agent.prepare(&target::space(rollouts, seed)).unwrap();
        let one = |rollout: usize| {
            let distance = f64::from(target::roll_out(&mut agent, seed, rollout));
            if rollout + 1 >= rollouts / 4 {
                (0..12).for_each(|_| assert!(agent.learn().is_ok()));
            }
            distance
        };
        let distances: Vec<f64> = (0..rollouts).map(one).collect();
        (mean(&distances[..50]), mean(&distances[rollouts - 30..]))
    });
    println!("{distances:.3?}");
    assert!(distances.iter().all(|(first, last)| *first > 0.7 && *last < 0.15), "{distances:?}");
}
