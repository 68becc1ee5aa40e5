//! Which plugins the settings select.

use super::Layers;
use super::catalogue::nearest;
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

    /// The selection that these names make, without agents; a name of nothing selects nothing. `dataset` as in the
    /// settings: `auto` is the net's own.
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

/// A plugin by its name or one of its aliases.
fn find<'a>(declarations: &'a [Declaration], kind: PluginKind, name: &str) -> Option<&'a Declaration> {
    let mut of_kind = declarations.iter().filter(|declaration| declaration.kind == kind);
    of_kind.find(|declaration| declaration.name == name || declaration.aliases.iter().any(|alias| alias == name))
}

/// The data set that a net is for, or what can stand in for it.
fn own_dataset<'a>(declarations: &'a [Declaration], net: &Declaration) -> Option<&'a Declaration> {
    let wanted = net.datasets.first()?;
    let mut stand_ins = declarations.iter().filter(|each| each.kind == PluginKind::Dataset);
    find(declarations, PluginKind::Dataset, wanted)
        .or_else(|| stand_ins.find(|each| each.datasets.iter().any(|original| original == wanted)))
}

impl Layers {
    /// The plugins that `learner`, `net` and `dataset` name, and all agents. Whether the data of the net's own data set are there is not
    /// looked at: that is for a run to find.
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
            // A default without its plugin is the trouble of a run; the settings can be shown without.
            let left_open = matches!(origin, Origin::Default { .. }) || (kind == PluginKind::Dataset && name == "auto");
            if declaration.is_none() && !left_open {
                return Err(unknown(declarations, kind, &name, &origin.to_string()));
            }
        }
        selection.agents = declarations.iter().filter(|declaration| declaration.kind == PluginKind::Agent).collect();
        Ok(selection)
    }
}

fn unknown(declarations: &[Declaration], kind: PluginKind, name: &str, origin: &str) -> Error {
    let of_kind = declarations.iter().filter(|declaration| declaration.kind == kind);
    let names: Vec<&str> = of_kind.map(|declaration| declaration.name.as_str()).collect();
    let meant =
        nearest(name, names.iter().copied()).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    Error::config(match names.is_empty() {
        true => format!("{origin}: unknown {kind} `{name}`; no {kind} was found, see `host plugins list`"),
        false => format!("{origin}: unknown {kind} `{name}`{meant}\nThere are: {}", names.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::sample;

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
