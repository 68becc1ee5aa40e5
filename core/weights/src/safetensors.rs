//! `.safetensors`: a JSON table and the bytes behind it
//! (<https://github.com/huggingface/safetensors>). The crate of the format checks that the table
//! fits the file, byte for byte.

use crate::element::Element;
use crate::error::WeightsError;
use crate::{LoadedTensor, WeightsFile};
use ::safetensors::{Dtype, SafeTensors};
use std::io::Read;

/// The longest table that is read, in bytes; that of the largest image classifiers is a hundredth
/// of it.
const LONGEST_TABLE: u64 = 8 << 20;
/// The most tensors of a file.
const MOST_TENSORS: usize = 50_000;

/// Reads a whole file.
///
/// # Errors
/// A table that is too long, or names too many tensors: it is refused before the rest is read. A
/// table that does not fit the file. Numbers of a type that no weights are stored in are no error,
/// but not read.
pub fn read(mut file: impl Read) -> Result<WeightsFile, WeightsError> {
    let mut bytes = Vec::new();
    file.by_ref().take(8).read_to_end(&mut bytes)?;
    if let Ok(length) = <[u8; 8]>::try_from(bytes.as_slice()) {
        let length = u64::from_le_bytes(length);
        if length > LONGEST_TABLE {
            return Err(WeightsError::Malformed(format!(
                "its table of tensors has {length} bytes; at most {LONGEST_TABLE} are read"
            )));
        }
        file.by_ref().take(length).read_to_end(&mut bytes)?;
        // Each tensor has its own offsets; a name that holds the word counts too, which no
        // network's do.
        let tensors = bytes.windows(12).filter(|part| *part == b"data_offsets").count();
        if tensors > MOST_TENSORS {
            return Err(WeightsError::Malformed(format!(
                "its table names {tensors} tensors; at most {MOST_TENSORS} are read"
            )));
        }
    }
    file.read_to_end(&mut bytes)?;
    let stored = SafeTensors::deserialize(&bytes).map_err(|error| WeightsError::Malformed(error.to_string()))?;
    let mut read = WeightsFile::default();
    let mut views: Vec<_> = stored.iter().collect();
    // In the order of their bytes, which is that of who wrote them.
    views.sort_by_key(|(name, view)| (view.data().as_ptr(), *name));
    for (name, view) in views {
        match element(view.dtype()) {
            Some(element) => {
                let values = element.numbers(view.data());
                read.order.push(name.to_owned());
                read.tensors.insert(name.to_owned(), LoadedTensor { shape: view.shape().to_vec(), values, element });
            }
            None => {
                let (dtype, shape) = (view.dtype(), view.shape());
                let what = format!("holds numbers of type {dtype:?}, which are not read, in the shape {shape:?}");
                read.unread.insert(name.to_owned(), what);
            }
        }
    }
    Ok(read)
}

fn element(dtype: Dtype) -> Option<Element> {
    Some(match dtype {
        Dtype::F64 => Element::F64,
        Dtype::F32 => Element::F32,
        Dtype::F16 => Element::F16,
        Dtype::BF16 => Element::Bf16,
        Dtype::I64 => Element::I64,
        Dtype::I32 => Element::I32,
        Dtype::I16 => Element::I16,
        Dtype::I8 => Element::I8,
        Dtype::U8 => Element::U8,
        Dtype::BOOL => Element::Bool,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Cursor, repeat};

    fn file(table: &str) -> Vec<u8> {
        [&(table.len() as u64).to_le_bytes(), table.as_bytes()].concat()
    }

    /// Of that many tensors that hold nothing.
    fn table(tensors: usize) -> String {
        let entry = |index| format!(r#""t{index}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#);
        format!("{{{}}}", (0..tensors).map(entry).collect::<Vec<_>>().join(","))
    }

    #[test]
    fn a_table_that_is_too_long_is_refused_unread() {
        let long = (LONGEST_TABLE + 1).to_le_bytes();
        // Endless: whoever reads on does not come back.
        let message = read(Cursor::new(long).chain(repeat(b' '))).unwrap_err().to_string();
        assert!(message.contains("its table of tensors has 8388609 bytes; at most 8388608 are read"), "{message}");
        let mut longest = table(3);
        longest += &" ".repeat(LONGEST_TABLE as usize - longest.len());
        assert_eq!(read(file(&longest).as_slice()).unwrap().tensors.len(), 3);
    }

    #[test]
    fn a_table_of_too_many_tensors_is_refused_before_what_is_behind_it_is_read() {
        let many = file(&table(MOST_TENSORS + 1));
        let message = read(Cursor::new(many).chain(repeat(0))).unwrap_err().to_string();
        assert!(message.contains("its table names 50001 tensors; at most 50000 are read"), "{message}");
        assert_eq!(read(file(&table(MOST_TENSORS)).as_slice()).unwrap().tensors.len(), MOST_TENSORS);
    }
}
