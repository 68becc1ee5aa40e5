//! An agent saved as bytes: MessagePack, with a name and a version in front. Every number comes
//! back bit for bit.

use crate::ddpg::Ddpg;
use crate::options::Options;
use pocketflow::agent::{AgentSpace, Transition};
use pocketflow::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

/// The first bytes: whose state it is, and the version of its form.
const HEADER: &[u8] = b"rl-agent\x01";

/// A search under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Search {
    pub space: AgentSpace,
    pub ddpg: Ddpg,
    /// Roll-outs, with the one under way.
    pub begun: u32,
    /// The steps of the roll-out under way, which wait for its reward.
    pub pending: Option<Vec<Transition>>,
}

impl Search {
    /// The steps of the roll-out under way.
    ///
    /// # Errors
    /// None is.
    pub fn under_way(&mut self) -> Result<&mut Vec<Transition>> {
        self.pending.as_mut().ok_or_else(|| Error::failed("no roll-out was begun"))
    }

    fn is_whole(&self, options: &Options) -> bool {
        let AgentSpace { state_dims, action_dims, .. } = self.space;
        let fits = |step: &Transition| {
            step.state.len() == state_dims && step.next_state.len() == state_dims && step.action.len() == action_dims
        };
        self.ddpg.fits(state_dims, action_dims, options) && self.pending.iter().flatten().all(fits)
    }
}

/// # Errors
/// Out of memory, in effect.
pub fn save(search: &Search) -> Result<Vec<u8>> {
    let mut bytes = HEADER.to_vec();
    let written = rmp_serde::encode::write(&mut bytes, search);
    written.map_err(|error| Error::from_error(ErrorKind::Failed, &error).context("cannot save the agent"))?;
    Ok(bytes)
}

/// # Errors
/// Bytes that no agent of this version saved, damaged ones, or those of an agent with other
/// networks or another buffer.
pub fn restore(bytes: &[u8], options: &Options) -> Result<Search> {
    let [name @ .., version] = HEADER else { return Err(Error::failed("the header is empty")) };
    let body = match bytes.strip_prefix(HEADER) {
        Some(body) => body,
        None if bytes.starts_with(name) => {
            let problem = format!("the agent was saved by another version of it; this one reads version {version}");
            return Err(Error::failed(problem));
        }
        None => return Err(Error::failed("these bytes were not saved by the agent `rl-agent`")),
    };
    let search: Search = rmp_serde::from_slice(body)
        .map_err(|error| Error::from_error(ErrorKind::Failed, &error).context("the saved agent is damaged"))?;
    match search.is_whole(options) {
        true => Ok(search),
        false => Err(Error::config(
            "the saved agent does not fit the settings: the depths and widths of actor and critic and `ddpg_buffer_size` \
             must be those it was saved with",
        )),
    }
}
