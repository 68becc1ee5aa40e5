//! WebP, BMP and GIF files, of which a data set has few: decoded by the crate `image`, the first
//! picture of those that move.

use crate::decode::Picture;
use image::codecs::{bmp::BmpDecoder, gif::GifDecoder, webp::WebPDecoder};
use image::{DynamicImage, ImageDecoder, ImageResult, Limits};
use std::io::Cursor;

/// What a file is, by how it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    WebP,
    Bmp,
    Gif,
}

impl Kind {
    /// `None`: it is none of these.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let is_webp = bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP");
        match bytes {
            _ if is_webp => Some(Self::WebP),
            [b'B', b'M', ..] => Some(Self::Bmp),
            [b'G', b'I', b'F', b'8', ..] => Some(Self::Gif),
            _ => None,
        }
    }

    /// Width and height in pixels, from the header.
    ///
    /// # Errors
    /// What is wrong with the header.
    pub fn size(self, bytes: &[u8]) -> Result<(u32, u32), String> {
        let bytes = Cursor::new(bytes);
        let size = match self {
            Self::WebP => WebPDecoder::new(bytes).map(|decoder| decoder.dimensions()),
            Self::Bmp => BmpDecoder::new(bytes).map(|decoder| decoder.dimensions()),
            Self::Gif => GifDecoder::new(bytes).map(|decoder| decoder.dimensions()),
        };
        size.map_err(|error| error.to_string())
    }

    /// Decodes the whole image, within `most` bytes of memory.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn decode(self, bytes: &[u8], most: u64, picture: &mut Picture) -> Result<(), String> {
        let bytes = Cursor::new(bytes);
        let decoded = match self {
            Self::WebP => WebPDecoder::new(bytes).and_then(|decoder| within(decoder, most)),
            Self::Bmp => BmpDecoder::new(bytes).and_then(|decoder| within(decoder, most)),
            Self::Gif => GifDecoder::new(bytes).and_then(|decoder| within(decoder, most)),
        };
        // Opacity is passed over, as it is in a PNG file.
        let image = decoded.map_err(|error| error.to_string())?.into_rgb8();
        (picture.width, picture.height) = image.dimensions();
        picture.pixels = image.into_raw();
        Ok(())
    }
}

fn within(mut decoder: impl ImageDecoder, most: u64) -> ImageResult<DynamicImage> {
    let mut limits = Limits::default();
    limits.max_alloc = Some(most);
    decoder.set_limits(limits)?;
    DynamicImage::from_decoder(decoder)
}
