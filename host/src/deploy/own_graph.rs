//! The net of a saved model: the graph in its file, whatever the net's options say now, and also
//! where the net's plugin is not here.

use pocketflow::Result;
use pocketflow::graph::{Graph, Shape};
use pocketflow::net::options::ImageOptions;
use pocketflow::net::{Net, Recipe, Schedule};
use pocketflow::plugin::{Declaration, PluginKind};

/// The graph of a model, for who evaluates it.
pub struct OwnGraph {
    graph: Graph,
    /// `None` where no plugin has the net.
    plugin: Option<Box<dyn Net>>,
}

impl OwnGraph {
    /// The graph, with the recipe of the plugin; `plugin` may have failed only where there is none
    /// of its name.
    pub fn new(graph: Graph, plugin: Option<Box<dyn Net>>) -> Self {
        Self { graph, plugin }
    }

    /// What stands for a net without a plugin in the selection: its name, the data set that its
    /// model was trained on, and the images that it takes, where known.
    pub fn declaration(net: &str, dataset: &str, image: Option<Shape>) -> Declaration {
        let mut declaration = Declaration::new(PluginKind::Net, net);
        declaration.about = "the graph in the model's file; no plugin has this net".into();
        declaration.datasets.extend((!dataset.is_empty()).then(|| dataset.to_owned()));
        let size = image.and_then(|[_, height, _]| i64::try_from(height).ok());
        declaration.options.extend(size.into_iter().flat_map(ImageOptions::specs));
        declaration
    }
}

impl Net for OwnGraph {
    fn graph(&self) -> Result<Graph> {
        Ok(self.graph.clone())
    }

    fn recipe(&self, samples: u64) -> Recipe {
        match &self.plugin {
            Some(plugin) => plugin.recipe(samples),
            // Of no use, and refused wherever it is used (`Recipe::check`): an evaluation trains
            // nothing.
            None => Recipe::new(0.0, Schedule::Cosine { init: 0.0 }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pocketflow::graph::{GraphBuilder, Linear};

    #[test]
    fn without_a_plugin_it_has_a_graph_and_no_recipe() {
        let mut builder = GraphBuilder::new("small", [3, 2, 2]);
        builder.add("fc", Linear { out: 2, bias: false }, &[0]);
        let graph = builder.finish().unwrap();
        let own = OwnGraph::new(graph.clone(), None);
        assert_eq!(own.graph().unwrap(), graph);
        assert!(own.recipe(10).check("small").is_err());
    }
}
