//! Files that people give in the place of weights, known by how they begin: what a download left
//! instead of the file, or the file in a wrapping.

use crate::error::WeightsError;

/// What a file is that begins with `front` and holds no weights; `None`: not known.
pub fn known(front: &[u8]) -> Option<WeightsError> {
    let other = |what, advice| Some(WeightsError::Other { what, advice });
    if front.is_empty() {
        return other("empty", "fetch it again");
    }
    let text = String::from_utf8_lossy(front);
    let text = text.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']).to_ascii_lowercase();
    if text.starts_with("<!doctype") || text.starts_with("<html") || text.starts_with("<?xml") {
        return other("a web page", "open its address in a browser and fetch the file itself");
    }
    if text.starts_with("version https://git-lfs") {
        return other("a pointer of Git LFS", "fetch the file that it stands for: git lfs pull");
    }
    let unpack = "unpack it and give the file in it";
    match front {
        [0x1f, 0x8b, ..] => other("compressed with gzip", unpack),
        [b'B', b'Z', b'h', ..] => other("compressed with bzip2", unpack),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => other("compressed with xz", unpack),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => other("compressed with zstd", unpack),
        [b'7', b'z', 0xbc, 0xaf, ..] => other("a 7z archive", unpack),
        [b'R', b'a', b'r', b'!', ..] => other("a RAR archive", unpack),
        [0x89, b'H', b'D', b'F', ..] => {
            other("an HDF5 file, as Keras writes", "convert the model to .tflite and give that")
        }
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => other("an array of NumPy", "save all weights as .safetensors"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_downloads_leave_is_named() {
        for (front, word) in [
            (&b""[..], "empty"),
            (b"<!DOCTYPE html><html>", "web page"),
            (b"\xef\xbb\xbf\n <HTML>", "web page"),
            (b"version https://git-lfs.github.com/spec/v1", "Git LFS"),
            (b"\x1f\x8b\x08\0", "gzip"),
            (b"\x89HDF\r\n", "Keras"),
        ] {
            let said = known(front).unwrap();
            assert!(said.to_string().contains(word), "{said}");
            assert!(!said.advice().is_empty());
        }
        assert!(known(b"no weights at all").is_none() && known(&[0x80, 2]).is_none());
    }
}
