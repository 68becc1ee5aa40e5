//! [`Net`] across the boundary.

use super::call::Callee;
use super::guard::{Held, Owner, carry};
use super::wire::{Bytes, Outcome, inward, outward, pack, unpack};
use crate::error::Result;
use crate::graph::Graph;
use crate::net::{Net, Recipe};
use abi_stable::sabi_trait;
use abi_stable::sabi_trait::TD_Opaque;
use abi_stable::std_types::RBox;

#[sabi_trait]
pub trait NetObject: Send {
    /// A [`Graph`].
    fn graph(&self) -> Outcome<Bytes>;

    /// A [`Recipe`].
    #[sabi(last_prefix_field)]
    fn recipe(&self, samples: u64) -> Outcome<Bytes>;
}

pub type NetBox = NetObject_TO<'static, RBox<()>>;

struct Provided(Held<dyn Net>);

impl NetObject for Provided {
    fn graph(&self) -> Outcome<Bytes> {
        outward(self.0.owner().guard("graph", || pack("a graph", &self.0.graph()?)))
    }

    fn recipe(&self, samples: u64) -> Outcome<Bytes> {
        outward(self.0.owner().guard("recipe", || pack("a recipe", &self.0.recipe(samples))))
    }
}

pub fn provide(owner: Owner, net: Box<dyn Net>) -> NetBox {
    NetObject_TO::from_value(Provided(Held::new(owner, net)), TD_Opaque)
}

struct Foreign {
    callee: Callee,
    object: NetBox,
    name: String,
}

impl Net for Foreign {
    fn graph(&self) -> Result<Graph> {
        let graph: Graph = unpack("a graph", &inward(self.callee.call("graph", || self.object.graph()))?)?;
        graph.validate()?;
        Ok(graph)
    }

    fn recipe(&self, samples: u64) -> Recipe {
        let asked = self.callee.call("recipe", || self.object.recipe(samples));
        let recipe = inward(asked).and_then(|bytes| {
            let recipe: Recipe = unpack("a recipe", &bytes)?;
            recipe.check(&self.name)?;
            Ok(recipe)
        });
        carry(recipe)
    }
}

/// `name`: what the net is called where its recipe makes no sense ([`Recipe::check`]).
pub fn consume(callee: Callee, object: NetBox, name: &str) -> Box<dyn Net> {
    Box::new(Foreign { callee, object, name: name.into() })
}
