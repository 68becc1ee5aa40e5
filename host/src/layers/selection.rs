//! Which plugins the settings select.

use super::Layers;
use crate::refused::why_missing;
use pocketflow::names;
use pocketflow::plugin::{Declaration, PluginKind};
use pocketflow::settings::Origin;
use pocketflow::{Error, Result};

/// The plugins of a run, by their declarations.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Selection<'a> {
    pub learner: Option<&'a Declaration>,
    pub net: Option<&'a Declaration>,
    pub dataset: Option<&'a Declaration>,
    /// A learner asks for its agent by name only when it runs, so all of them may be configured.
    pub agents: Vec<&'a Declaration>,
}

impl<'a> Selection<'a> {
    /// Those that there are, as [`Layers::resolve`] takes them.
    pub fn owners(&self) -> Vec<&'a Declaration> {
        [self.learner, self.net, self.dataset].into_iter().flatten().chain(self.agents.iter().copied()).collect()
    }

    /// The selection that these names make, without agents; a name of nothing selects nothing.
    /// `dataset` as in the settings: `auto` is the net's own.
    pub fn of(declarations: &'a [Declaration], name: impl Fn(PluginKind) -> Option<String>) -> Self {
        let by_name = |kind| name(kind).and_then(|name| find(declarations, kind, &name));
        let net = by_name(PluginKind::Net);
        let dataset = match name(PluginKind::Dataset).as_deref() {
            None | Some("auto") => net.and_then(|net| own_dataset(declarations, net)),
            Some(name) => find(declarations, PluginKind::Dataset, name),
        };
        Self { learner: by_name(PluginKind::Learner), net, dataset, agents: Vec::new() }
    }
}

fn find<'a>(declarations: &'a [Declaration], kind: PluginKind, name: &str) -> Option<&'a Declaration> {
    declarations.iter().find(|declaration| declaration.kind == kind && declaration.is_called(name))
}

/// The data set that a net is for, or what can stand in for it.
fn own_dataset<'a>(declarations: &'a [Declaration], net: &Declaration) -> Option<&'a Declaration> {
    let wanted = net.datasets.first()?;
    let mut stand_ins = declarations.iter().filter(|each| each.kind == PluginKind::Dataset);
    find(declarations, PluginKind::Dataset, wanted).or_else(|| stand_ins.find(|each| each.is_for(wanted)))
}

impl Layers {
    /// The plugins that `learner`, `net` and `dataset` name, and all agents. Whether the data of
    /// the net's own data set are there is not looked at: that is for a run to find.
    ///
    /// # Errors
    /// A name that no plugin has; the message has its source, the nearest name, and all there are.
    pub fn select<'a>(&self, declarations: &'a [Declaration]) -> Result<Selection<'a>> {
        let mut selection = Selection::of(declarations, |kind| self.choice(&kind.to_string()).ok().flatten());
        let found = [
            (PluginKind::Learner, selection.learner),
            (PluginKind::Net, selection.net),
            (PluginKind::Dataset, selection.dataset),
        ];
        for (kind, declaration) in found {
            let Some((name, origin)) = self.chosen(&kind.to_string())? else { continue };
            // A default without its plugin is the trouble of a run; the settings can be shown
            // without.
            let left_open = matches!(origin, Origin::Default { .. }) || (kind == PluginKind::Dataset && name == "auto");
            if declaration.is_none() && !left_open {
                return Err(self.unknown_plugin(declarations, kind, &name, &origin));
            }
        }
        selection.agents = declarations.iter().filter(|declaration| declaration.kind == PluginKind::Agent).collect();
        Ok(selection)
    }

    fn unknown_plugin(&self, declarations: &[Declaration], kind: PluginKind, name: &str, origin: &Origin) -> Error {
        let shown = names::shown(name);
        if let Some(why) = why_missing(self.catalogue.refused(), kind, name) {
            return Error::config(format!("{origin}: unknown {kind} `{shown}`: {why}"));
        }
        let of_kind = declarations.iter().filter(|declaration| declaration.kind == kind);
        let known: Vec<&str> = of_kind.map(|declaration| declaration.name.as_str()).collect();
        let hint = names::hint(name, known.iter().copied());
        Error::config(match known.is_empty() {
            true => format!("{origin}: unknown {kind} `{shown}`; no {kind} was found, see `host plugins list`"),
            false => format!("{origin}: unknown {kind} `{shown}`{hint}\nThere are: {}", known.join(", ")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::sample;
    use crate::refused::Refused;

    fn names(selection: &Selection<'_>) -> Vec<String> {
        selection.owners().iter().map(|declaration| declaration.name.clone()).collect()
    }

    #[test]
    fn names_aliases_and_the_nets_own_data() {
        let declarations = sample::declarations();
        let layers = sample::layers(&[("learner", "uniform"), ("net", "resnet_cifar10")], &[]);
        assert_eq!(
            names(&layers.select(&declarations).unwrap()),
            ["uniform", "resnet_at_cifar10", "cifar10", "rl-agent"]
        );
        let layers = sample::layers(&[("dataset", "synthetic")], &[]);
        assert_eq!(names(&layers.select(&declarations).unwrap()), ["full-prec", "synthetic", "rl-agent"]);
    }

    #[test]
    fn both_spellings_of_a_name() {
        let declarations = sample::declarations();
        let layers = sample::layers(&[("learner", "full_prec"), ("net", "resnet-at-cifar10")], &[]);
        assert_eq!(
            names(&layers.select(&declarations).unwrap()),
            ["full-prec", "resnet_at_cifar10", "cifar10", "rl-agent"]
        );
    }

    #[test]
    fn a_plugin_that_was_refused_is_missing_for_a_reason() {
        let mut declarations = sample::declarations();
        let uniform = declarations.remove(1);
        let mut layers = sample::layers(&[("learner", "uniform")], &[]);
        layers.catalogue =
            layers.catalogue.with_refused(vec![Refused::new(&uniform, "its option `x` is taken by another")]);
        insta::assert_snapshot!(
            layers.select(&declarations).unwrap_err(),
            @"flag --learner: unknown learner `uniform`: a learner of this name was found and is not usable: its option `x` is taken by another"
        );
    }

    #[test]
    fn a_stand_in_where_the_data_set_has_no_plugin() {
        let mut declarations = sample::declarations();
        declarations.retain(|declaration| declaration.name != "cifar10");
        let layers = sample::layers(&[("net", "resnet_at_cifar10")], &[]);
        assert_eq!(layers.select(&declarations).unwrap().dataset.unwrap().name, "synthetic");
    }

    #[test]
    fn settings_can_be_shown_without_the_default_learner() {
        assert_eq!(names(&sample::layers(&[], &[]).select(&[]).unwrap()), [""; 0]);
    }

    #[test]
    fn unknown_names_list_those_there_are() {
        let layers = sample::layers(&[("learner", "unifrom")], &[]);
        let message = |declarations: &[Declaration]| layers.select(declarations).unwrap_err().to_string();
        insta::assert_snapshot!(message(&sample::declarations()), @r"
        flag --learner: unknown learner `unifrom`; did you mean `uniform`?
        There are: full-prec, uniform
        ");
        insta::assert_snapshot!(message(&[]), @"flag --learner: unknown learner `unifrom`; no learner was found, see `host plugins list`");
    }
}
