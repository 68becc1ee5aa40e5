//! A pickle machine that knows what `torch.save` writes for dictionaries of tensors (Python's
//! `pickletools` lists the opcodes). It calls nothing: what any other class or function would make
//! is kept as an opaque value, so that a training script's arguments beside the weights do no harm,
//! and one in their place is refused with its name.

mod opcode;
mod value;

use crate::error::WeightsError;
use opcode as op;
use std::collections::HashMap;
pub use value::{Foreign, Global, Id, Loaded, Node, StorageKind, StorageRef, TensorRef};

/// A state dictionary takes about a hundred bytes a tensor; some scripts keep the losses of all
/// steps beside it.
pub const MAX_LENGTH: usize = 64 << 20;
/// Values, and entries of stack and memo: each takes some tens of bytes of memory.
const MAX_VALUES: usize = 4 << 20;
/// More dimensions than any tensor has would multiply the memory of each that names them.
const MAX_DIMENSIONS: usize = 8;

/// Reads the pickle at the front of `bytes`.
///
/// # Errors
/// A pickle that is cut, longer than [`MAX_LENGTH`], not made by `torch.save`, or asks for code;
/// with the offset.
pub fn load(bytes: &[u8]) -> Result<Loaded, WeightsError> {
    let bytes = &bytes[..bytes.len().min(MAX_LENGTH)];
    let mut machine =
        Machine { bytes, at: 0, began: 0, stack: Vec::new(), memo: HashMap::new(), loaded: Loaded::default() };
    while machine.step()? {
        let largest = machine.loaded.nodes.len().max(machine.stack.len()).max(machine.memo.len());
        if largest > MAX_VALUES {
            return Err(machine.wrong("it holds more values than any network's"));
        }
    }
    machine.loaded.length = machine.at;
    Ok(machine.loaded)
}

#[derive(Clone, Copy)]
enum Slot {
    Mark,
    Value(Id),
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where the opcode at work began.
    began: usize,
    stack: Vec<Slot>,
    memo: HashMap<u64, Id>,
    loaded: Loaded,
}

type Step<T = ()> = Result<T, WeightsError>;

impl Machine<'_> {
    /// False at the pickle's end.
    fn step(&mut self) -> Step<bool> {
        self.began = self.at;
        let [code] = self.take()?;
        match code {
            op::PROTO => drop(self.take::<1>()?),
            op::FRAME => drop(self.take::<8>()?),
            op::MARK => self.stack.push(Slot::Mark),
            op::POP => drop(self.stack.pop()),
            op::POP_MARK => drop(self.since_mark()?),
            op::DUP => {
                let id = self.top_id()?;
                self.stack.push(Slot::Value(id));
            }
            op::NONE => self.push(Node::None),
            op::NEWTRUE => self.push(Node::Bool(true)),
            op::NEWFALSE => self.push(Node::Bool(false)),
            op::BININT => {
                let number = i32::from_le_bytes(self.take()?);
                self.push(Node::Int(number.into()));
            }
            op::BININT1 | op::BININT2 => {
                let number = self.unsigned(if code == op::BININT1 { 1 } else { 2 })?;
                self.push(Node::Int(number as i64));
            }
            op::LONG1 | op::LONG4 => self.long(if code == op::LONG1 { 1 } else { 4 })?,
            op::BINFLOAT => {
                let number = f64::from_be_bytes(self.take()?);
                self.push(Node::Float(number));
            }
            op::BINUNICODE | op::SHORT_BINUNICODE | op::BINUNICODE8 | op::BINSTRING | op::SHORT_BINSTRING => {
                let width = match code {
                    op::SHORT_BINUNICODE | op::SHORT_BINSTRING => 1,
                    op::BINUNICODE8 => 8,
                    _ => 4,
                };
                let length = self.unsigned(width)?;
                let is_binary = matches!(code, op::BINSTRING | op::SHORT_BINSTRING);
                match self.text(length) {
                    Ok(text) => self.push(Node::Text(text.into())),
                    // Python 2's text may be any bytes, those of a numpy number.
                    Err(error @ WeightsError::Pickle { .. }) if !is_binary || self.at == self.began + 1 + width => {
                        return Err(error);
                    }
                    Err(_) => self.push(Node::Opaque(None)),
                }
            }
            op::BINBYTES | op::SHORT_BINBYTES | op::BINBYTES8 | op::BYTEARRAY8 => {
                let width = match code {
                    op::BINBYTES => 4,
                    op::SHORT_BINBYTES => 1,
                    _ => 8,
                };
                let length = self.unsigned(width)?;
                self.slice(usize::try_from(length).unwrap_or(usize::MAX))?;
                self.push(Node::Opaque(None));
            }
            op::EMPTY_SET => self.push(Node::Opaque(None)),
            op::FROZENSET => {
                self.since_mark()?;
                self.push(Node::Opaque(None));
            }
            op::ADDITEMS => {
                self.since_mark()?;
                self.top_id()?;
            }
            op::EMPTY_TUPLE => self.push(Node::Tuple(Vec::new())),
            op::TUPLE1 | op::TUPLE2 | op::TUPLE3 => self.short_tuple(usize::from(code - op::TUPLE1) + 1)?,
            op::TUPLE => {
                let items = self.since_mark()?;
                self.push(Node::Tuple(items));
            }
            op::EMPTY_LIST => self.push(Node::List(Vec::new())),
            op::LIST => {
                let items = self.since_mark()?;
                self.push(Node::List(items));
            }
            op::DICT => {
                let items = self.since_mark()?;
                let (pairs, odd) = items.as_chunks::<2>();
                if !odd.is_empty() {
                    return Err(self.wrong("makes a dictionary of an odd number of values"));
                }
                self.push(Node::Dict(pairs.iter().map(|[key, value]| (*key, *value)).collect()));
            }
            op::APPEND | op::APPENDS => {
                let items = if code == op::APPEND { vec![self.pop()?] } else { self.since_mark()? };
                match self.top()? {
                    Node::List(list) => list.extend(items),
                    Node::Opaque(_) => {}
                    _ => return Err(self.wrong("appends to what is no list")),
                }
            }
            op::EMPTY_DICT => self.push(Node::Dict(Vec::new())),
            op::SETITEM | op::SETITEMS => self.set_items(code == op::SETITEM)?,
            op::BINPUT | op::LONG_BINPUT => {
                let key = self.unsigned(if code == op::BINPUT { 1 } else { 4 })?;
                self.memorize(key)?;
            }
            op::MEMOIZE => self.memorize(self.memo.len() as u64)?,
            op::BINGET | op::LONG_BINGET => {
                let key = self.unsigned(if code == op::BINGET { 1 } else { 4 })?;
                let id = *self.memo.get(&key).ok_or_else(|| self.wrong("recalls what was never kept"))?;
                self.stack.push(Slot::Value(id));
            }
            op::GLOBAL => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(&module, &name)?;
            }
            op::STACK_GLOBAL => {
                let (name, module) = (self.pop()?, self.pop()?);
                let texts = (self.loaded.text(module), self.loaded.text(name));
                let (Some(module), Some(name)) = texts else {
                    return Err(self.wrong("names a class by what is no text"));
                };
                let (module, name) = (module.to_owned(), name.to_owned());
                self.global(&module, &name)?;
            }
            op::REDUCE | op::NEWOBJ => self.reduce()?,
            op::NEWOBJ_EX => {
                // Its arguments by name.
                self.pop()?;
                self.reduce()?;
            }
            op::BUILD => {
                // Attributes: torch's `_metadata` of a dictionary, versions of modules.
                self.pop()?;
                if !matches!(self.top()?, Node::Dict(_) | Node::Tensor(_) | Node::Opaque(_)) {
                    return Err(self.wrong("sets attributes of what has none"));
                }
            }
            op::BINPERSID => self.storage()?,
            op::STOP => {
                self.loaded.root = self.pop()?;
                return Ok(false);
            }
            other => {
                return Err(self.wrong(&format!("the opcode {other:#04x} is not one of those that torch.save writes")));
            }
        }
        Ok(true)
    }

    fn wrong(&self, problem: &str) -> WeightsError {
        WeightsError::Pickle { at: self.began, problem: problem.into() }
    }

    fn slice(&mut self, length: usize) -> Step<&[u8]> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        let Some(end) = end else {
            let what = if self.bytes.len() == MAX_LENGTH { "it goes on beyond 64 MiB" } else { "it is cut off here" };
            return Err(self.wrong(what));
        };
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn take<const N: usize>(&mut self) -> Step<[u8; N]> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.slice(N)?);
        Ok(bytes)
    }

    /// A little-endian number of up to eight bytes.
    fn unsigned(&mut self, width: usize) -> Step<u64> {
        Ok(self.slice(width)?.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn text(&mut self, length: u64) -> Step<String> {
        let bytes = self.slice(usize::try_from(length).unwrap_or(usize::MAX))?.to_vec();
        String::from_utf8(bytes).map_err(|_| self.wrong("its text is not UTF-8"))
    }

    /// Text up to a line's end.
    fn line(&mut self) -> Step<String> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let text = self.text(length as u64)?;
        self.slice(1)?;
        Ok(text)
    }

    /// A number in two's complement, of as many bytes as the first `front` bytes say.
    fn long(&mut self, front: usize) -> Step {
        let width = self.unsigned(front)? as usize;
        if width > 8 {
            // A seed of a random number generator, or the magic number of an old file.
            self.slice(width)?;
            self.push(Node::Opaque(None));
            return Ok(());
        }
        let number = self.unsigned(width)? as i64;
        let unused = 64 - 8 * width as u32;
        self.push(Node::Int(if width == 0 { 0 } else { number << unused >> unused }));
        Ok(())
    }

    fn push(&mut self, node: Node) {
        self.stack.push(Slot::Value(self.loaded.nodes.len()));
        self.loaded.nodes.push(node);
    }

    fn pop(&mut self) -> Step<Id> {
        match self.stack.pop() {
            Some(Slot::Value(id)) => Ok(id),
            _ => Err(self.wrong("takes a value where there is none")),
        }
    }

    fn top_id(&self) -> Step<Id> {
        match self.stack.last() {
            Some(Slot::Value(id)) => Ok(*id),
            _ => Err(self.wrong("uses a value where there is none")),
        }
    }

    fn top(&mut self) -> Step<&mut Node> {
        let id = self.top_id()?;
        Ok(&mut self.loaded.nodes[id])
    }

    fn memorize(&mut self, key: u64) -> Step {
        let id = self.top_id()?;
        self.memo.insert(key, id);
        Ok(())
    }

    fn since_mark(&mut self) -> Step<Vec<Id>> {
        let mut items = Vec::new();
        while let Some(slot) = self.stack.pop() {
            match slot {
                Slot::Value(id) => items.push(id),
                Slot::Mark => {
                    items.reverse();
                    return Ok(items);
                }
            }
        }
        Err(self.wrong("closes what was never opened"))
    }

    fn short_tuple(&mut self, length: usize) -> Step {
        let mut items = (0..length).map(|_| self.pop()).collect::<Step<Vec<Id>>>()?;
        items.reverse();
        self.push(Node::Tuple(items));
        Ok(())
    }

    fn set_items(&mut self, one: bool) -> Step {
        let items = match one {
            true => {
                let (value, key) = (self.pop()?, self.pop()?);
                vec![key, value]
            }
            false => self.since_mark()?,
        };
        let (pairs, odd) = items.as_chunks::<2>();
        let top = self.top()?;
        if matches!(top, Node::Opaque(_)) {
            // A counter, or another kind of dictionary.
            *top = Node::Dict(Vec::new());
        }
        match top {
            Node::Dict(dict) if odd.is_empty() => dict.extend(pairs.iter().map(|[key, value]| (*key, *value))),
            _ => return Err(self.wrong("sets items of what is no dictionary")),
        }
        Ok(())
    }

    fn global(&mut self, module: &str, name: &str) -> Step {
        let global = Global::find(module, name).unwrap_or_else(|| {
            let name: String = format!("{module}.{name}").chars().take(200).collect();
            self.loaded.foreign.push(Foreign { at: self.began, name: name.escape_debug().collect() });
            Global::Foreign(self.loaded.foreign.len() - 1)
        });
        self.push(Node::Global(global));
        Ok(())
    }

    /// What `torch.load` would call is looked up here: a dictionary is made, a tensor is described.
    fn reduce(&mut self) -> Step {
        let (arguments, called) = (self.pop()?, self.pop()?);
        let node = self.called(called, arguments)?;
        self.push(node);
        Ok(())
    }

    fn called(&mut self, called: Id, arguments: Id) -> Step<Node> {
        let (Node::Global(_) | Node::Opaque(_), Node::Tuple(arguments)) =
            (&self.loaded.nodes[called], &self.loaded.nodes[arguments])
        else {
            return Err(self.wrong("calls what is no function, or with what is no tuple"));
        };
        let global = match self.loaded.nodes[called] {
            Node::Global(global) => global,
            // A function that a foreign one found.
            _ => return Ok(self.loaded.nodes[called].clone()),
        };
        Ok(match (global, arguments.as_slice()) {
            (Global::Foreign(index), _) => Node::Opaque(Some(index)),
            (Global::OrderedDict, []) => Node::Dict(Vec::new()),
            (Global::OrderedDict, [list]) => {
                let list = *list;
                Node::Dict(self.listed_pairs(list)?)
            }
            (Global::RebuildTensor | Global::RebuildNewType, [storage, offset, shape, strides, ..]) => {
                let Node::Storage(storage, base) = self.loaded.nodes[*storage] else {
                    return Err(self.wrong("builds a tensor on what is no storage"));
                };
                let offset = self.size(*offset)?.checked_add(base);
                let offset = offset.ok_or_else(|| self.wrong("gives what is no size"))?;
                let (shape, strides) = (self.sizes(*shape)?, self.sizes(*strides)?);
                if shape.len() != strides.len() {
                    return Err(self.wrong("builds a tensor whose strides do not fit its shape"));
                }
                let of_new_type = global == Global::RebuildNewType;
                self.loaded.tensors.push(TensorRef { storage, offset, shape, strides, of_new_type });
                Node::Tensor(self.loaded.tensors.len() - 1)
            }
            (Global::RebuildParameter, [tensor, ..]) => match self.loaded.nodes[*tensor] {
                Node::Tensor(index) => Node::Tensor(index),
                _ => return Err(self.wrong("builds a parameter on what is no tensor")),
            },
            (Global::RebuildFromType, [function, _, arguments, ..]) => {
                let (function, arguments) = (*function, *arguments);
                match self.loaded.nodes[function] {
                    // Itself within itself is nothing that torch writes, and would have no end.
                    Node::Global(Global::RebuildFromType) => return Err(self.wrong("calls what cannot be called so")),
                    _ => self.called(function, arguments)?,
                }
            }
            _ => return Err(self.wrong("calls what cannot be called so")),
        })
    }

    /// The pairs of `[[key, value], …]`, as Python 2 writes an ordered dictionary. The list is
    /// emptied: it belongs to the one dictionary, or a forged pickle could fill the memory with
    /// copies.
    fn listed_pairs(&mut self, list: Id) -> Step<Vec<(Id, Id)>> {
        let Node::List(items) = &mut self.loaded.nodes[list] else {
            return Err(self.wrong("makes a dictionary of what is no list"));
        };
        let items = std::mem::take(items);
        let pair = |item: &Id| match &self.loaded.nodes[*item] {
            Node::Tuple(pair) | Node::List(pair) if pair.len() == 2 => Some((pair[0], pair[1])),
            _ => None,
        };
        items
            .iter()
            .map(|item| pair(item).ok_or_else(|| self.wrong("makes a dictionary of what are no pairs")))
            .collect()
    }

    fn size(&self, id: Id) -> Step<usize> {
        let number = self.loaded.int(id).and_then(|number| usize::try_from(number).ok());
        number.ok_or_else(|| self.wrong("gives what is no size"))
    }

    fn sizes(&self, id: Id) -> Step<Vec<usize>> {
        match &self.loaded.nodes[id] {
            Node::Tuple(items) if items.len() <= MAX_DIMENSIONS => items.iter().map(|item| self.size(*item)).collect(),
            _ => Err(self.wrong("gives what is no shape")),
        }
    }

    /// `('storage', class, key, device, length)`; in old files with a view, which is none or `(key,
    /// first number, length)`.
    fn storage(&mut self) -> Step {
        let id = self.pop()?;
        let loaded = &self.loaded;
        let parts = match &loaded.nodes[id] {
            Node::Tuple(parts) => parts.as_slice(),
            _ => &[],
        };
        let unknown = || self.wrong("refers to something outside that is no storage");
        let [kind, class, key, _device, length, view @ ..] = parts else { return Err(unknown()) };
        let base = match view.iter().map(|view| &loaded.nodes[*view]).find(|view| **view != Node::None) {
            None => 0,
            Some(Node::Tuple(view)) if view.len() == 3 => self.size(view[1])?,
            Some(_) => return Err(unknown()),
        };
        let kind_of = match &loaded.nodes[*class] {
            Node::Global(Global::Storage(element)) => StorageKind::Of(*element),
            Node::Global(Global::OtherStorage(bytes)) => StorageKind::Other(*bytes),
            _ => return Err(unknown()),
        };
        let (Some("storage"), Node::Text(key)) = (loaded.text(*kind), &loaded.nodes[*key]) else {
            return Err(unknown());
        };
        let storage = StorageRef { key: key.clone(), kind: kind_of, len: self.size(*length)? };
        self.push(Node::Storage(self.loaded.storages.len(), base));
        self.loaded.storages.push(storage);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
