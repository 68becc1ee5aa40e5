//! Exploration: noise on the actor's parameters, the same for a whole roll-out (Plappert et al.
//! 2017, arXiv 1706.01905), or on each action; its standard deviation decays over the roll-outs or
//! adapts to the distance it makes in action space.

use crate::mlp::{Mlp, Role};
use crate::random::Random;

/// Noise that adapts does not fall below, or it could never grow again.
const SMALLEST_STD: f64 = 1e-9;

pocketflow::choice! {
    /// What the noise is added to.
    pub enum Where {
        Parameters = "param",
        Actions = "action",
    }
}

pocketflow::choice! {
    /// What becomes of the standard deviation.
    pub enum Protocol {
        TimeDecay = "tdecy",
        Adapt = "adapt",
    }
}

/// How to explore; the options of the noise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exploration {
    pub on: Where,
    pub protocol: Protocol,
    /// The first standard deviation, and the last of [`Protocol::TimeDecay`].
    pub first: f64,
    pub last: f64,
    /// [`Protocol::Adapt`]: the distance of actions to keep, and the factor of a correction.
    pub distance: f64,
    pub ratio: f64,
}

impl Exploration {
    /// The standard deviation for a roll-out at `progress` (0 to 1) of those that are not random:
    /// it falls evenly from the first to the last. (By the same factor each time it would be next
    /// to nothing for most of a search, as the last is that small; searches then repeat
    /// themselves.) `None` where the protocol is another.
    pub fn decayed(&self, progress: f64) -> Option<f64> {
        let falls = self.protocol == Protocol::TimeDecay;
        falls.then(|| self.first + (self.last - self.first) * progress.clamp(0.0, 1.0))
    }

    /// The standard deviation after noise of `std` moved actions by `distance`; where the protocol
    /// is another, `std` itself.
    pub fn adapted(&self, std: f64, distance: f64) -> f64 {
        match self.protocol {
            Protocol::TimeDecay => std,
            Protocol::Adapt if distance > self.distance => (std / self.ratio).max(SMALLEST_STD),
            // A policy that cannot be moved (saturated) must not let the noise grow without bound.
            Protocol::Adapt => (std * self.ratio).min(self.first),
        }
    }
}

/// A copy of the actor with noise on the parameters of its dense layers, in units of each layer's
/// first weights (1/√inputs) so that layers of all widths are disturbed alike. Gains and shifts of
/// layer normalisations stay, as in the paper.
pub fn perturbed(actor: &Mlp, std: f64, random: &mut Random) -> Mlp {
    let mut perturbed = actor.clone();
    let segments = actor.segments();
    for segment in segments.into_iter().filter(|segment| segment.role != Role::Norm) {
        let scale = (std / (segment.inputs as f64).sqrt()) as f32;
        perturbed.values_mut()[segment.range].iter_mut().for_each(|value| *value += scale * random.normal());
    }
    perturbed
}

/// Noise on each action, which stays within −1 to 1.
pub fn disturb(actions: &mut [f32], std: f64, random: &mut Random) {
    actions.iter_mut().for_each(|action| *action = (*action + std as f32 * random.normal()).clamp(-1.0, 1.0));
}

/// Root mean square difference of two sets of actions.
pub fn distance(left: &[f32], right: &[f32]) -> f64 {
    let squares: f64 = left.iter().zip(right).map(|(left, right)| f64::from(left - right).powi(2)).sum();
    (squares / left.len().max(1) as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exploration(protocol: Protocol) -> Exploration {
        Exploration { on: Where::Parameters, protocol, first: 1.0, last: 1e-4, distance: 0.05, ratio: 1.03 }
    }

    #[test]
    fn decay_goes_from_the_first_to_the_last() {
        let decay = exploration(Protocol::TimeDecay);
        assert_eq!(decay.decayed(0.0), Some(1.0));
        assert!((decay.decayed(0.5).unwrap() - 0.50005).abs() < 1e-9);
        assert!((decay.decayed(7.0).unwrap() - 1e-4).abs() < 1e-12);
        assert_eq!(exploration(Protocol::Adapt).decayed(0.5), None);
    }

    #[test]
    fn adapting_reaches_the_distance() {
        let adapt = exploration(Protocol::Adapt);
        let mut random = Random::new(5);
        let mut actor = Mlp::new(3, &[32, 32], 1, &mut random);
        actor.values_mut().iter_mut().for_each(|value| *value += 0.2 * random.signed());
        let input: Vec<f32> = (0..3 * 200).map(|_| random.signed()).collect();
        let clean = actor.infer(input.clone(), 200);
        let mut std = adapt.first;
        let mut distances = Vec::new();
        for _ in 0..400 {
            let moved = distance(&perturbed(&actor, std, &mut random).infer(input.clone(), 200), &clean);
            std = adapt.adapted(std, moved);
            distances.push(moved);
        }
        let late: f64 = distances[300..].iter().sum::<f64>() / 100.0;
        assert!(distances[0] > 0.1 && (late - 0.05).abs() < 0.025, "{} {late}", distances[0]);
    }

    #[test]
    fn normalisations_are_not_perturbed() {
        let mut random = Random::new(0);
        let actor = Mlp::new(3, &[8, 8], 2, &mut random);
        let noisy = perturbed(&actor, 0.5, &mut random);
        for segment in actor.segments() {
            let same = actor.values()[segment.range.clone()] == noisy.values()[segment.range.clone()];
            assert_eq!(same, segment.role == Role::Norm, "{segment:?}");
        }
        assert_eq!(perturbed(&actor, 0.0, &mut random), actor);
    }

    #[test]
    fn disturbed_actions_stay_within_their_range() {
        let mut actions = vec![0.0; 1000];
        disturb(&mut actions, 1.0, &mut Random::new(0));
        assert!(actions.iter().all(|action| (-1.0..=1.0).contains(action)));
        assert!(distance(&actions, &vec![0.0; 1000]) > 0.5);
    }
}
