//! The options of the search for bits per layer, and what they say when read.

use pocketflow::Result;
use pocketflow::option::OptionSpec;
use pocketflow::settings::Settings;
use pocketflow_search::options::{Method, Options};

/// The switch that turns the search on.
pub const ENABLED: &str = "uql_enbl_rl_agent";
/// The option that says which searches are made.
pub const METHODS: &str = "uql_bit_search";
/// The option that says where the bits found are written.
pub const PLAN: &str = "uql_save_bit_plan";
/// The file in the run's folder with the bits found, where no other is chosen.
pub const PLAN_FILE: &str = "bit_plan.toml";

pub fn specs() -> Vec<OptionSpec> {
    vec![
        OptionSpec::switch(
            ENABLED,
            false,
            "Let an agent choose the bits of each layer, and compare its choice with uniform bits and a solver's.",
        ),
        OptionSpec::choice(
            METHODS,
            "all",
            &["all", "rl", "sensitivity", "uniform"],
            "How bits per layer are found: by the agent (`rl`), an exact solver over each layer's measured sensitivity, as the \
             most `uniform` bits that fit; or `all`, of which the best on the validation images is taken. Unset: `all` with \
             `uql_enbl_rl_agent`, else bits are as given.",
        )
        .optional(),
        OptionSpec::text("uql_agent", "rl-agent", "The agent, by the name of its plugin."),
        OptionSpec::float(
            "uql_equivalent_bits",
            4.0,
            1.0..=31.0,
            "The budget: bits of all layers together, at most their number of weights times this; need not be whole. The ranges \
             of buckets (64 bits each) count too, as they are stored: with buckets, uniform bits of this number do not fit.",
        ),
        OptionSpec::int("uql_nb_rlouts", 200, 1..=1_000_000, "Roll-outs of the agent; the first quarter acts at random."),
        OptionSpec::int("uql_w_bit_min", 2, 1..=31, "Fewest bits of a layer."),
        OptionSpec::int("uql_w_bit_max", 8, 1..=31, "Most bits of a layer."),
        OptionSpec::switch(
            "uql_enbl_rl_global_tune",
            true,
            "Tune the network in each roll-out before it is judged, all layers together.",
        ),
        OptionSpec::switch(
            "uql_enbl_rl_layerwise_tune",
            false,
            "Tune the network in each roll-out before it is judged, layer by layer: each towards the output that the \
             full-precision layer has (l2 distance). With both, this comes first.",
        ),
        OptionSpec::int("uql_tune_layerwise_steps", 300, 1..=1 << 40, "Steps of layer-wise tuning, for each layer."),
        OptionSpec::int("uql_tune_global_steps", 2000, 1..=1 << 40, "Steps of global tuning."),
        OptionSpec::int(
            "uql_tune_short_steps",
            50,
            1..=1 << 40,
            "Of these steps, as many as every roll-out gets; all of them only the best few at the end.",
        ),
        OptionSpec::int("uql_tune_disp_steps", 100, 1..=1 << 40, "Steps of tuning between two lines in the log."),
        OptionSpec::switch("uql_enbl_random_layers", true, "Visit the layers in another order in each roll-out."),
        OptionSpec::new(
            "uql_budgets",
            pocketflow::option::Kind::Floats { min: 1.0, max: 31.0 },
            None,
            "Budgets, as `uql_equivalent_bits`, for which the report shows accuracy against size, without fine-tuning: of uniform \
             bits and of the solver's.",
        ),
        OptionSpec::path(PLAN, "", "Where the bits found are written; unset: bit_plan.toml in the run's folder.")
            .optional()
            .output_or(PLAN_FILE),
    ]
}

/// Reads the values.
///
/// # Errors
/// Values that do not go together.
pub fn read(settings: &Settings) -> Result<Options> {
    let methods = match settings.find::<String>(METHODS)?.as_deref() {
        Some("uniform") => vec![Method::Uniform],
        Some("sensitivity") => vec![Method::Sensitivity],
        Some("rl") => vec![Method::Agent],
        None if !settings.get::<bool>(ENABLED)? => Vec::new(),
        _ => vec![Method::Uniform, Method::Sensitivity, Method::Agent],
    };
    let (min, max) = (settings.get("uql_w_bit_min")?, settings.get("uql_w_bit_max")?);
    if min > max {
        let problem = format!("more than `uql_w_bit_max` = {max}");
        return Err(settings.invalid("uql_w_bit_min", &problem));
    }
    let within =
        |key: &str, bits: f64| match (f64::from(min)..=f64::from(max)).contains(&bits) {
            true => Ok(()),
            false => Err(settings
                .invalid(key, &format!("{bits} bits are out of {min} to {max} (`uql_w_bit_min`, `uql_w_bit_max`)"))),
        };
    let equivalent_bits = settings.get("uql_equivalent_bits")?;
    let budgets: Vec<f64> = settings.find("uql_budgets")?.unwrap_or_default();
    if !methods.is_empty() {
        within("uql_equivalent_bits", equivalent_bits)?;
        budgets.iter().try_for_each(|bits| within("uql_budgets", *bits))?;
    }
    let steps = |switch: &str, key: &str| match settings.get(switch)? {
        true => settings.get(key),
        false => Ok(0),
    };
    Ok(Options {
        methods,
        agent: settings.get("uql_agent")?,
        equivalent_bits,
        rollouts: settings.get("uql_nb_rlouts")?,
        min,
        max,
        layerwise: steps("uql_enbl_rl_layerwise_tune", "uql_tune_layerwise_steps")?,
        global: steps("uql_enbl_rl_global_tune", "uql_tune_global_steps")?,
        short: settings.get("uql_tune_short_steps")?,
        display: settings.get("uql_tune_disp_steps")?,
        random_layers: settings.get("uql_enbl_random_layers")?,
        budgets,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use pocketflow::ErrorKind;
    use pocketflow::option::Value;

    fn read(changes: &[(&str, Value)]) -> Result<Options> {
        let mut settings = Settings::defaults([("a test", specs())]);
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
        // A budget of no search is none of its business.
        assert!(read(&[("uql_equivalent_bits", Value::Float(1.5))]).is_ok());
    }
}
