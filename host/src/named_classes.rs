//! A data set under the class numbers of a model: where classes are known by their names, a folder
//! with some of them, or with others before them in the alphabet, numbers them otherwise.

use pocketflow::dataset::{Batch, Batches, Dataset, DatasetInfo, Shard, Split};
use pocketflow::{Error, Result};
use std::collections::HashMap;
use std::sync::Arc;

/// Names that a message lists.
const SHOWN: usize = 10;

/// The data set with the classes of a model, `labels` by number. One whose numbers mean something
/// in themselves stays as it is, and so does any where the model names no classes.
///
/// # Errors
/// Classes that the model does not have, by name.
pub fn as_in_model(dataset: Arc<dyn Dataset>, labels: &[String]) -> Result<Arc<dyn Dataset>> {
    let info = dataset.info();
    if !info.classes_by_name || labels.is_empty() || info.labels == labels {
        return Ok(dataset);
    }
    let mut numbers: HashMap<&str, u32> = HashMap::new();
    for (number, name) in (0..).zip(labels) {
        numbers.entry(name).or_insert(number);
    }
    let found: Vec<Option<u32>> = info.labels.iter().map(|name| numbers.get(name.as_str()).copied()).collect();
    let unknown: Vec<&str> =
        info.labels.iter().zip(&found).filter(|(_, number)| number.is_none()).map(|(name, _)| name.as_str()).collect();
    if !unknown.is_empty() {
        let own: Vec<&str> = labels.iter().map(String::as_str).collect();
        return Err(Error::config(format!(
            "the data set `{}` has classes that the model does not know: {}; it tells apart {}: rename their folders, or \
             take them away",
            info.name,
            listed(&unknown),
            listed(&own)
        )));
    }
    let numbers = found.into_iter().flatten().collect();
    let mut info = info;
    info.labels = labels.to_vec();
    Ok(Arc::new(Renumbered { dataset, info, numbers }))
}

fn listed(names: &[&str]) -> String {
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    match names.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

struct Renumbered {
    dataset: Arc<dyn Dataset>,
    info: DatasetInfo,
    /// The model's number of each of the data set's.
    numbers: Arc<[u32]>,
}

impl Dataset for Renumbered {
    fn info(&self) -> DatasetInfo {
        self.info.clone()
    }

    fn open(&self, split: Split, shard: Shard, seed: u64) -> Result<Box<dyn Batches>> {
        let pass = self.dataset.open(split, shard, seed)?;
        Ok(Box::new(RenumberedPass { pass, numbers: Arc::clone(&self.numbers) }))
    }
}

struct RenumberedPass {
    pass: Box<dyn Batches>,
    numbers: Arc<[u32]>,
}

impl Batches for RenumberedPass {
    fn next(&mut self, out: &mut Batch) -> Result<bool> {
        let more = self.pass.next(out)?;
        let len = out.len;
        for label in &mut out.labels[..len] {
            *label = *self.numbers.get(*label as usize).ok_or_else(|| {
                Error::failed(format!("the data set gave the label {label}, which is no class of it"))
            })?;
        }
        Ok(more)
    }

    fn skip(&mut self, samples: u64) -> Result<()> {
        self.pass.skip(samples)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four images, one of each class and one more of the first.
    struct Four(DatasetInfo);

    struct FourPass(u64);

    impl Dataset for Four {
        fn info(&self) -> DatasetInfo {
            self.0.clone()
        }

        fn open(&self, _: Split, _: Shard, _: u64) -> Result<Box<dyn Batches>> {
            Ok(Box::new(FourPass(0)))
        }
    }

    impl Batches for FourPass {
        fn next(&mut self, out: &mut Batch) -> Result<bool> {
            out.len = 0;
            while self.0 < 4 && out.len < out.capacity() {
                let at = out.len;
                out.labels[at] = (self.0 % 3) as u32;
                out.len += 1;
                self.0 += 1;
            }
            Ok(out.len > 0)
        }

        fn skip(&mut self, samples: u64) -> Result<()> {
            self.0 += samples;
            Ok(())
        }
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn four(labels: &[&str], by_name: bool) -> Arc<dyn Dataset> {
        let info = DatasetInfo::new("four", [1, 1, 1], names(labels), vec![0.0], vec![1.0]).counts(4, 0, 4);
        Arc::new(Four(if by_name { info.classes_by_name() } else { info }))
    }

    fn labels(dataset: &Arc<dyn Dataset>) -> Vec<u32> {
        let mut pass = dataset.open(Split::Eval, Shard::WHOLE, 0).unwrap();
        pass.skip(1).unwrap();
        let mut batch = Batch::new(2, [1, 1, 1]);
        let mut read = Vec::new();
        while pass.next(&mut batch).unwrap() {
            read.extend_from_slice(&batch.labels[..batch.len]);
        }
        read
    }

    #[test]
    fn names_meet_names() {
        let model = names(&["ant", "bee", "cat", "dog", "elk"]);
        let made = as_in_model(four(&["bee", "dog", "ant"], true), &model).unwrap();
        assert_eq!(made.info().labels, model);
        assert_eq!(labels(&made), [3, 0, 1]);
        for (dataset, model) in [(four(&["bee", "dog", "fox"], false), &model[..]), (four(&["x", "y", "z"], true), &[])]
        {
            let made = as_in_model(Arc::clone(&dataset), model).unwrap();
            assert_eq!((made.info(), labels(&made)), (dataset.info(), vec![1, 2, 0]));
        }
    }

    #[test]
    fn a_class_that_the_model_does_not_have_is_named() {
        let model = names(&["ant", "bee", "cat"]);
        let error = as_in_model(four(&["bee", "fox", "ant"], true), &model).err().unwrap();
        assert_eq!(error.kind(), pocketflow::ErrorKind::Config);
        let said = error.to_string();
        assert!(said.contains("does not know: `fox`; it tells apart `ant`, `bee`, `cat`"), "{said}");
    }
}
