//! The options of the search for bits per layer, and what they say when read.

use pocketflow::Result;
use pocketflow::settings::Settings;
use pocketflow_search::options::{Method, Options};
use std::path::PathBuf;

/// The file in the run's folder with the bits found, where no other is chosen.
pub const PLAN_FILE: &str = "bit_plan.toml";

pocketflow::choice! {
    /// Which ways of finding bits per layer are taken.
    pub enum Methods {
        All = "all",
        Agent = "rl",
        Sensitivity = "sensitivity",
        Uniform = "uniform",
    }
}

pocketflow::options! {
    /// The options of the search.
    pub struct SearchOptions {
        /// Let an agent choose the bits of each layer, and compare its choice with uniform bits and
        /// a solver's.
        // A learner that is the search has no such switch.
        pub enabled: Option<bool> = switch("uql_enbl_rl_agent", false),
        /// How bits per layer are found: by the agent (`rl`), an exact solver over each layer's
        /// measured sensitivity, as the most `uniform` bits that fit; or `all`, of which the best
        /// on the validation images is taken. Unset: `all` with `uql_enbl_rl_agent`, else bits are
        /// as given.
        pub methods: Option<Methods> = one_of("uql_bit_search", Methods::All).optional(),
        /// The agent, by the name of its plugin.
        pub agent: String = text("uql_agent", "rl-agent"),
        /// The budget: bits of all layers together, at most their number of weights times this;
        /// need not be whole. The ranges of buckets (64 bits each) count too, as they are stored:
        /// with buckets, uniform bits of this number do not fit.
        pub equivalent_bits: f64 = float("uql_equivalent_bits", 4.0, 1.0..=31.0),
        /// Roll-outs of the agent; the first quarter acts at random.
        pub rollouts: usize = int("uql_nb_rlouts", 200, 1..=1_000_000),
        /// Fewest bits of a layer.
        pub min: u32 = int("uql_w_bit_min", 2, 1..=31),
        /// Most bits of a layer.
        pub max: u32 = int("uql_w_bit_max", 8, 1..=31),
        /// Tune the network in each roll-out before it is judged, all layers together.
        pub tunes_globally: bool = switch("uql_enbl_rl_global_tune", true),
        /// Tune the network in each roll-out before it is judged, layer by layer: each towards the
        /// output that the full-precision layer has (l2 distance). With both, this comes first.
        pub tunes_layers: bool = switch("uql_enbl_rl_layerwise_tune", false),
        /// Steps of layer-wise tuning, for each layer.
        pub layerwise: u64 = int("uql_tune_layerwise_steps", 300, 1..=1 << 40),
        /// Steps of global tuning.
        pub global: u64 = int("uql_tune_global_steps", 2000, 1..=1 << 40),
        /// Of these steps, as many as every roll-out gets; all of them only the best few at the
        /// end.
        pub short: u64 = int("uql_tune_short_steps", 50, 1..=1 << 40),
        /// Steps of tuning between two lines in the log.
        pub display: u64 = int("uql_tune_disp_steps", 100, 1..=1 << 40),
        /// Visit the layers in another order in each roll-out.
        pub random_layers: bool = switch("uql_enbl_random_layers", true),
        /// Budgets, as `uql_equivalent_bits`, for which the report shows accuracy against size,
        /// without fine-tuning: of uniform bits and of the solver's.
        pub budgets: Option<Vec<f64>> = floats("uql_budgets", 1.0..=31.0),
        /// Where the bits found are written; unset: bit_plan.toml in the run's folder.
        pub plan: Option<PathBuf> = path("uql_save_bit_plan", "").optional().output_or(PLAN_FILE),
    }
}

/// Reads the values.
///
/// # Errors
/// Values that do not go together.
pub fn read(settings: &Settings) -> Result<Options> {
    let own = SearchOptions::read(settings)?;
    let methods = match own.methods {
        Some(Methods::Uniform) => vec![Method::Uniform],
        Some(Methods::Sensitivity) => vec![Method::Sensitivity],
        Some(Methods::Agent) => vec![Method::Agent],
        None if own.enabled != Some(true) => Vec::new(),
        Some(Methods::All) | None => vec![Method::Uniform, Method::Sensitivity, Method::Agent],
    };
    let (min, max) = (SearchOptions::min(), SearchOptions::max());
    if own.min > own.max {
        return Err(settings.invalid(&min, &format!("more than `{}` = {}", max.name(), own.max)));
    }
    let budgets = own.budgets.unwrap_or_default();
    let within = |key: &str, bits: f64| match (f64::from(own.min)..=f64::from(own.max)).contains(&bits) {
        true => Ok(()),
        false => {
            let (least, most) = (own.min, own.max);
            let problem = format!("{bits} bits are out of {least} to {most} (`{}`, `{}`)", min.name(), max.name());
            Err(settings.invalid(key, &problem))
        }
    };
    if !methods.is_empty() {
        within(&SearchOptions::equivalent_bits(), own.equivalent_bits)?;
        budgets.iter().try_for_each(|bits| within(&SearchOptions::budgets(), *bits))?;
    }
    Ok(Options {
        methods,
        agent: own.agent,
        equivalent_bits: own.equivalent_bits,
        rollouts: own.rollouts,
        min: own.min,
        max: own.max,
        layerwise: if own.tunes_layers { own.layerwise } else { 0 },
        global: if own.tunes_globally { own.global } else { 0 },
        short: own.short,
        display: own.display,
        random_layers: own.random_layers,
        budgets,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use pocketflow::ErrorKind;
    use pocketflow::option::Value;

    fn read(changes: &[(&str, Value)]) -> Result<Options> {
        let mut settings = Settings::defaults([("a test", SearchOptions::specs())]);
        changes.iter().for_each(|(key, value)| settings.derive(key, value.clone(), "the test"));
        super::read(&settings)
    }

    #[test]
    fn the_agent_is_compared_with_the_others_unless_one_is_asked_for() {
        assert_eq!(read(&[]).unwrap().methods, []);
        let agent = ("uql_enbl_rl_agent", Value::Bool(true));
        assert_eq!(read(std::slice::from_ref(&agent)).unwrap().methods.len(), 3);
        let alone = ("uql_bit_search", Value::Text("sensitivity".into()));
        assert_eq!(read(&[agent, alone.clone()]).unwrap().methods, [Method::Sensitivity]);
        assert_eq!(read(&[alone]).unwrap().methods, [Method::Sensitivity]);
    }

    #[test]
    fn bits_that_do_not_go_together() {
        let on = ("uql_enbl_rl_agent", Value::Bool(true));
        for (key, value, problem) in [
            ("uql_w_bit_min", Value::Int(9), "uql_w_bit_max"),
            ("uql_equivalent_bits", Value::Float(1.5), "out of 2 to 8"),
            ("uql_equivalent_bits", Value::Float(8.5), "out of 2 to 8"),
            ("uql_budgets", Value::Floats(vec![3.0, 9.0]), "9 bits are out of 2 to 8"),
        ] {
            let error = read(&[on.clone(), (key, value)]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(problem) && error.to_string().contains(key), "{error}");
        }
        // A budget of no search does not matter.
        assert!(read(&[("uql_equivalent_bits", Value::Float(1.5))]).is_ok());
    }
}
