//! The table of classes in ILSVRC-12's development kit, `meta.mat`: a MATLAB file (level 5) with a
//! structure array `synsets`, of which the fields `ILSVRC2012_ID` and `WNID` are read. The kit's
//! ground truth names classes by the former. (MAT-File Format, The MathWorks, chapter 1.)

use flate2::read::ZlibDecoder;
use pocketflow::error::Context as _;
use pocketflow::{Error, Result};
use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::Path;

const BYTES_MAX: u64 = 64 << 20;
const HEADER: usize = 128;
/// Data types of elements.
const UINT8: u32 = 2;
const UINT16: u32 = 4;
const DOUBLE: u32 = 9;
const MATRIX: u32 = 14;
const COMPRESSED: u32 = 15;
const UTF8: u32 = 16;
/// Class of a structure array.
const STRUCTURE: u8 = 2;

/// One element: a type and its data.
type Element<'a> = (u32, &'a [u8]);

/// Takes the next element off `bytes`.
fn element<'a>(bytes: &mut &'a [u8]) -> Option<Element<'a>> {
    let word = |at: usize| bytes.get(at..at + 4).and_then(|word| Some(u32::from_le_bytes(word.try_into().ok()?)));
    let first = word(0)?;
    // Up to four bytes of data are packed into the tag.
    if first >> 16 != 0 {
        let data = bytes.get(4..4 + (first >> 16) as usize).filter(|data| data.len() <= 4)?;
        *bytes = bytes.get(8..)?;
        return Some((first & 0xffff, data));
    }
    let length = word(4)? as usize;
    let data = bytes.get(8..)?.get(..length)?;
    let padded = if first == COMPRESSED { length } else { length.checked_next_multiple_of(8)? };
    *bytes = &bytes[8..][padded.min(bytes.len() - 8)..];
    Some((first, data))
}

/// A text or a number in an element.
fn text((kind, data): Element<'_>) -> Option<String> {
    match kind {
        UINT8 | 1 | UTF8 => String::from_utf8(data.to_vec()).ok(),
        UINT16 | 17 => {
            let units = data.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit));
            char::decode_utf16(units).collect::<Result<_, _>>().ok()
        }
        _ => None,
    }
}

fn number((kind, data): Element<'_>) -> Option<u32> {
    match (kind, data) {
        (UINT8 | 1, [byte]) => Some(u32::from(*byte)),
        (UINT16 | 3, [low, high]) => Some(u32::from(u16::from_le_bytes([*low, *high]))),
        (5 | 6, bytes) => bytes.try_into().ok().map(u32::from_le_bytes),
        (DOUBLE, bytes) => bytes.try_into().ok().map(|bytes| f64::from_le_bytes(bytes) as u32),
        _ => None,
    }
}

/// The data of an array that is text or a number: what follows its flags, dimensions and name.
fn contents<'a>((kind, mut bytes): Element<'a>) -> Option<Element<'a>> {
    if kind != MATRIX {
        return None;
    }
    for _ in 0..3 {
        element(&mut bytes)?;
    }
    element(&mut bytes)
}

/// WordNet ids by class number from an array, if it is the structure array.
fn table((kind, mut bytes): Element<'_>) -> Option<BTreeMap<u32, String>> {
    let flags = (kind == MATRIX).then(|| element(&mut bytes))??;
    let sizes = element(&mut bytes)?.1;
    element(&mut bytes)?;
    if flags.1.first() != Some(&STRUCTURE) {
        return None;
    }
    let name_length = usize::try_from(number(element(&mut bytes)?)?).ok().filter(|length| *length > 0)?;
    let names = element(&mut bytes)?.1;
    let fields: Vec<&[u8]> =
        names.chunks(name_length).map(|name| name.split(|byte| *byte == 0).next().unwrap_or(name)).collect();
    let place = |wanted: &[u8]| fields.iter().position(|field| *field == wanted);
    let (id, wnid) = (place(b"ILSVRC2012_ID")?, place(b"WNID")?);
    let sizes = sizes.as_chunks::<4>().0.iter().map(|size| u64::from(u32::from_le_bytes(*size)));
    // Each element takes bytes, so that the file's end ends the loop whatever the sizes promise.
    let elements = sizes.fold(1, u64::saturating_mul);
    let mut wnids = BTreeMap::new();
    for _ in 0..elements {
        let (mut this_id, mut this_wnid) = (None, None);
        for field in 0..fields.len() {
            let value = element(&mut bytes)?;
            if field == id {
                this_id = contents(value).and_then(number);
            } else if field == wnid {
                this_wnid = contents(value).and_then(text);
            }
        }
        wnids.insert(this_id?, this_wnid?);
    }
    Some(wnids)
}

fn parse(bytes: &[u8]) -> Option<BTreeMap<u32, String>> {
    let mut rest = bytes.get(HEADER..).filter(|_| bytes[126..128] == *b"IM")?;
    while let Some((kind, data)) = element(&mut rest) {
        if kind != COMPRESSED {
            if let Some(table) = table((kind, data)) {
                return Some(table);
            }
            continue;
        }
        let mut inflated = Vec::new();
        ZlibDecoder::new(data).take(BYTES_MAX).read_to_end(&mut inflated).ok()?;
        if let Some(table) = element(&mut inflated.as_slice()).and_then(table) {
            return Some(table);
        }
    }
    None
}

/// WordNet ids by the kit's class numbers.
///
/// # Errors
/// A file that cannot be read or has no such table.
pub fn wnids(path: &Path) -> Result<BTreeMap<u32, String>> {
    let place = path.display();
    let size = fs::metadata(path).with_context(|| place.to_string())?.len();
    let bytes = match size {
        0..=BYTES_MAX => fs::read(path).with_context(|| place.to_string())?,
        _ => Vec::new(),
    };
    parse(&bytes).ok_or_else(|| {
        Error::failed(format!("{place}: not the table of classes of ILSVRC-12's development kit, or damaged"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::ZlibEncoder;
    use proptest::prelude::*;
    use std::io::Write as _;

    fn packed(kind: u32, data: &[u8]) -> Vec<u8> {
        let mut bytes = [kind.to_le_bytes(), (data.len() as u32).to_le_bytes()].concat();
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }

    fn array(class: u8, sizes: [u32; 2], rest: &[Vec<u8>]) -> Vec<u8> {
        let flags = packed(6, &[class, 0, 0, 0, 0, 0, 0, 0]);
        let sizes = packed(5, &sizes.map(u32::to_le_bytes).concat());
        packed(MATRIX, &[flags, sizes, packed(1, b""), rest.concat()].concat())
    }

    fn meta(compressed: bool) -> Vec<u8> {
        // A number as MATLAB packs small ones, into the tag.
        let small = |value: u8| [&(1u32 << 16 | UINT8).to_le_bytes()[..], &[value, 0, 0, 0]].concat();
        let entry = |id: u8, wnid: &str| {
            let wnid: Vec<u8> = wnid.encode_utf16().flat_map(u16::to_le_bytes).collect();
            [array(6, [1, 1], &[small(id)]), array(4, [1, 9], &[packed(UINT16, &wnid)])].concat()
        };
        let mut names = b"ILSVRC2012_ID\0\0\0WNID".to_vec();
        names.resize(32, 0);
        let name_length = [(4u32 << 16 | 5).to_le_bytes(), 16u32.to_le_bytes()].concat();
        let rest = [name_length, packed(1, &names), entry(1, "n02119789"), entry(2, "n02100735")];
        let table = array(STRUCTURE, [2, 1], &rest);
        let mut file = vec![b' '; HEADER];
        file[124..128].copy_from_slice(&[0, 1, b'I', b'M']);
        match compressed {
            false => file.extend(table),
            true => {
                let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(&table).unwrap();
                let data = encoder.finish().unwrap();
                file.extend([COMPRESSED.to_le_bytes(), (data.len() as u32).to_le_bytes()].concat());
                file.extend(data);
            }
        }
        file
    }

    #[test]
    fn reads_both_forms() {
        let wanted = BTreeMap::from([(1, "n02119789".to_owned()), (2, "n02100735".to_owned())]);
        assert_eq!(parse(&meta(false)), Some(wanted.clone()));
        assert_eq!(parse(&meta(true)), Some(wanted));
    }

    #[test]
    fn what_is_no_table() {
        assert_eq!(parse(b""), None);
        assert_eq!(parse(&[b' '; 200]), None);
        let file = meta(false);
        for length in 0..file.len() {
            assert_eq!(parse(&file[..length - length % 8]), None);
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(places in prop::collection::vec((128usize..600, any::<u8>()), 0..8)) {
            let mut file = meta(false);
            for (place, value) in places {
                let place = place % file.len();
                file[place] = value;
            }
            let _ = parse(&file);
        }
    }
}
