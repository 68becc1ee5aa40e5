//! [`Agent`] across the boundary.

use super::call::Callee;
use super::guard::{Held, Owner};
use super::wire::{Bytes, Outcome, inward, outward, pack, unpack};
use crate::agent::{Agent, AgentLoss, AgentSpace, Transition};
use crate::error::Result;
use abi_stable::sabi_trait;
use abi_stable::sabi_trait::TD_Opaque;
use abi_stable::std_types::{RBox, RSlice, RVec};

#[sabi_trait]
pub trait AgentObject: Send {
    /// `space` is an [`AgentSpace`].
    fn prepare(&mut self, space: RSlice<'_, u8>) -> Outcome<()>;

    fn begin(&mut self) -> Outcome<()>;

    fn act(&mut self, state: RSlice<'_, f32>) -> Outcome<RVec<f32>>;

    fn record(
        &mut self,
        state: RSlice<'_, f32>,
        action: RSlice<'_, f32>,
        next_state: RSlice<'_, f32>,
        terminal: bool,
    ) -> Outcome<()>;

    fn finish(&mut self, reward: f32) -> Outcome<()>;

    /// An [`AgentLoss`].
    fn learn(&mut self) -> Outcome<Bytes>;

    fn save(&self) -> Outcome<RVec<u8>>;

    #[sabi(last_prefix_field)]
    fn restore(&mut self, saved: RSlice<'_, u8>) -> Outcome<()>;
}

pub type AgentBox = AgentObject_TO<'static, RBox<()>>;

struct Provided(Held<dyn Agent>);

impl Provided {
    fn guard<T>(&mut self, function: &str, call: impl FnOnce(&mut dyn Agent) -> Result<T>) -> Outcome<T> {
        let owner = self.0.owner().clone();
        outward(owner.guard(function, || call(&mut *self.0)))
    }
}

impl AgentObject for Provided {
    fn prepare(&mut self, space: RSlice<'_, u8>) -> Outcome<()> {
        self.guard("prepare", |agent| {
            let space: AgentSpace = unpack("an agent's space", &space)?;
            space.check()?;
            agent.prepare(&space)
        })
    }

    fn begin(&mut self) -> Outcome<()> {
        self.guard("begin", |agent| agent.begin())
    }

    fn act(&mut self, state: RSlice<'_, f32>) -> Outcome<RVec<f32>> {
        self.guard("act", |agent| agent.act(&state).map(RVec::from))
    }

    fn record(
        &mut self,
        state: RSlice<'_, f32>,
        action: RSlice<'_, f32>,
        next_state: RSlice<'_, f32>,
        terminal: bool,
    ) -> Outcome<()> {
        let (state, action, next_state) = (state.to_vec(), action.to_vec(), next_state.to_vec());
        self.guard("record", |agent| agent.record(Transition { state, action, next_state, terminal }))
    }

    fn finish(&mut self, reward: f32) -> Outcome<()> {
        self.guard("finish", |agent| agent.finish(reward))
    }

    fn learn(&mut self) -> Outcome<Bytes> {
        self.guard("learn", |agent| pack("an agent's losses", &agent.learn()?))
    }

    fn save(&self) -> Outcome<RVec<u8>> {
        outward(self.0.owner().guard("save", || self.0.save().map(RVec::from)))
    }

    fn restore(&mut self, saved: RSlice<'_, u8>) -> Outcome<()> {
        self.guard("restore", |agent| agent.restore(&saved))
    }
}

pub fn provide(owner: Owner, agent: Box<dyn Agent>) -> AgentBox {
    AgentObject_TO::from_value(Provided(Held::new(owner, agent)), TD_Opaque)
}

struct Foreign(Callee, AgentBox);

impl Agent for Foreign {
    fn prepare(&mut self, space: &AgentSpace) -> Result<()> {
        let space = pack("an agent's space", space)?;
        inward(self.0.call("prepare", || self.1.prepare(space.as_rslice())))
    }

    fn begin(&mut self) -> Result<()> {
        inward(self.0.call("begin", || self.1.begin()))
    }

    fn act(&mut self, state: &[f32]) -> Result<Vec<f32>> {
        inward(self.0.call("act", || self.1.act(state.into()))).map(RVec::into_vec)
    }

    fn record(&mut self, transition: Transition) -> Result<()> {
        let Transition { state, action, next_state, terminal } = &transition;
        let [state, action, next_state] = [state, action, next_state].map(|values| RSlice::from_slice(values));
        inward(self.0.call("record", || self.1.record(state, action, next_state, *terminal)))
    }

    fn finish(&mut self, reward: f32) -> Result<()> {
        inward(self.0.call("finish", || self.1.finish(reward)))
    }

    fn learn(&mut self) -> Result<AgentLoss> {
        unpack("an agent's losses", &inward(self.0.call("learn", || self.1.learn()))?)
    }

    fn save(&self) -> Result<Vec<u8>> {
        inward(self.0.call("save", || self.1.save())).map(RVec::into_vec)
    }

    fn restore(&mut self, saved: &[u8]) -> Result<()> {
        inward(self.0.call("restore", || self.1.restore(saved.into())))
    }
}

pub fn consume(callee: Callee, object: AgentBox) -> Box<dyn Agent> {
    Box::new(Foreign(callee, object))
}
