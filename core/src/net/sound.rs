//! A recipe is checked once, where it comes over the plugin boundary: numbers that make no training
//! are said with the field's name, before anything is trained by them.

use super::{Recipe, Schedule};
use crate::error::{Error, Result};

impl Recipe {
    /// That a training can go by it: `epochs` above 0, a momentum of at least 0 and below 1,
    /// learning rates above 0, a weight decay of at least 0, boundaries in ascending order, and all
    /// of them finite.
    ///
    /// # Errors
    /// Names the net, the field and its value.
    pub fn check(&self, net: &str) -> Result<()> {
        match self.problem() {
            None => Ok(()),
            Some(problem) => Err(Error::config(format!(
                "the training recipe of net `{net}`: {problem}; change the options that the net makes it from, or mend its plugin"
            ))),
        }
    }

    fn problem(&self) -> Option<String> {
        positive("epochs", self.epochs)
            .or_else(|| match self.momentum {
                momentum if (0.0..1.0).contains(&momentum) => None,
                other => Some(format!("`momentum` is {other}; it must be at least 0 and below 1")),
            })
            .or_else(|| at_least_zero("weight_decay", self.weight_decay))
            .or_else(|| self.schedule.problem())
            .or_else(|| positive("lrn_rate", self.lrn_rate))
    }
}

impl Schedule {
    fn problem(&self) -> Option<String> {
        match self {
            Self::Piecewise { init, factor, boundaries } => positive("schedule.init", *init)
                .or_else(|| positive("schedule.factor", *factor))
                .or_else(|| ascending("schedule.boundaries", boundaries)),
            Self::Exponential { init, factor } => {
                positive("schedule.init", *init).or_else(|| positive("schedule.factor", *factor))
            }
            Self::OneCycle { peak, warm_up } => positive("schedule.peak", *peak).or_else(|| match *warm_up {
                part if (0.0..1.0).contains(&part) => None,
                other => Some(format!("`schedule.warm_up` is {other}; it must be at least 0 and below 1")),
            }),
            Self::Cosine { init } => positive("schedule.init", *init),
        }
    }
}

fn positive(field: &str, number: f64) -> Option<String> {
    (!(number.is_finite() && number > 0.0)).then(|| format!("`{field}` is {number}; it must be above 0 and finite"))
}

fn at_least_zero(field: &str, number: f64) -> Option<String> {
    (!(number.is_finite() && number >= 0.0)).then(|| format!("`{field}` is {number}; it must be 0 or more and finite"))
}

fn ascending(field: &str, numbers: &[f64]) -> Option<String> {
    if let Some(bad) = numbers.iter().find(|number| !(number.is_finite() && **number >= 0.0)) {
        return Some(format!("`{field}` holds {bad}; boundaries are epochs, 0 or more"));
    }
    let pair = numbers.windows(2).find(|pair| pair[0] > pair[1])?;
    Some(format!("`{field}` holds {} before {}; boundaries ascend", pair[0], pair[1]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn recipe() -> Recipe {
        Recipe {
            epochs: 2.5,
            momentum: 0.9,
            nesterov: true,
            weight_decay: 0.0,
            schedule: Schedule::Piecewise { init: 0.1, factor: 0.1, boundaries: vec![1.0, 2.0] },
            lrn_rate: 0.1,
        }
    }

    #[test]
    fn a_sound_recipe_passes() {
        recipe().check("n").unwrap();
        Recipe { momentum: 0.0, schedule: Schedule::OneCycle { peak: 0.4, warm_up: 0.0 }, ..recipe() }
            .check("n")
            .unwrap();
    }

    #[test]
    fn every_field_is_checked_and_named_with_the_net() {
        let said = |recipe: Recipe| {
            let error = recipe.check("toy-net").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains("net `toy-net`"), "{error}");
            error.to_string()
        };
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(said(Recipe { epochs: bad, ..recipe() }).contains(&format!("`epochs` is {bad}")));
            let schedules = [
                ("init", Schedule::Cosine { init: bad }),
                ("init", Schedule::Piecewise { init: bad, factor: 0.1, boundaries: Vec::new() }),
                ("factor", Schedule::Exponential { init: 0.1, factor: bad }),
                ("peak", Schedule::OneCycle { peak: bad, warm_up: 0.2 }),
            ];
            for (field, schedule) in schedules {
                assert!(said(Recipe { schedule, ..recipe() }).contains(&format!("`schedule.{field}` is {bad}")));
            }
            assert!(said(Recipe { lrn_rate: bad, ..recipe() }).contains(&format!("`lrn_rate` is {bad}")));
        }
        for bad in [1.0, -0.1, f64::NAN] {
            assert!(said(Recipe { momentum: bad, ..recipe() }).contains("`momentum`"));
            let schedule = Schedule::OneCycle { peak: 0.1, warm_up: bad };
            assert!(said(Recipe { schedule, ..recipe() }).contains("`schedule.warm_up`"));
        }
        assert!(said(Recipe { weight_decay: -1e-4, ..recipe() }).contains("`weight_decay`"));
        let schedule = Schedule::Piecewise { init: 0.1, factor: 0.1, boundaries: vec![2.0, 1.0] };
        assert!(said(Recipe { schedule, ..recipe() }).contains("holds 2 before 1"));
        let schedule = Schedule::Piecewise { init: 0.1, factor: 0.1, boundaries: vec![f64::NAN] };
        assert!(said(Recipe { schedule, ..recipe() }).contains("`schedule.boundaries` holds NaN"));
    }
}
