//! Image files to RGB pixels, told by their contents and not by their names. The size is known and
//! checked before memory is asked for; CMYK and grey images become RGB as well.

use crate::jpeg;
use crate::other::Kind;
use std::io::Cursor;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

/// The largest image, in pixels: a bomb must not take more than 192 MB, and no camera's is larger.
const PIXELS_MAX: u64 = 64 << 20;
/// A progressive file's coefficients are held as well, four times the memory.
const PROGRESSIVE_PIXELS_MAX: u64 = 32 << 20;
/// Eight by eight pixels take a bit at the very least, so that no file of a few bytes has millions
/// of pixels. Written with room to spare: 1024 pixels a byte.
const PIXELS_PER_BYTE_MAX: u64 = 1024;

/// An image, `[height, width, 3]`. Its memory is used again by the next.
#[derive(Debug, Default)]
pub struct Picture {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// `[height, width, 3]`: red, green, blue, 0 to 255.
    pub pixels: Vec<u8>,
}

/// An encoded image of which the header has been read.
pub struct Encoded<'a> {
    file: File<'a>,
    width: u32,
    height: u32,
}

enum File<'a> {
    Jpeg(&'a mut [u8], jpeg::Header),
    Png(&'a [u8]),
    Other(&'a [u8], Kind),
}

impl<'a> Encoded<'a> {
    /// Reads the header and refuses what cannot be an image of a data set.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn open(bytes: &'a mut [u8]) -> Result<Self, String> {
        let length = bytes.len() as u64;
        let check = |width: u32, height: u32, most: u64| {
            let pixels = u64::from(width) * u64::from(height);
            match pixels > most || pixels / PIXELS_PER_BYTE_MAX > length {
                true => Err(format!(
                    "{width}x{height} pixels in {length} bytes are refused; at most {most} pixels are taken, and not more \
                     than {PIXELS_PER_BYTE_MAX} in a byte"
                )),
                false => Ok(()),
            }
        };
        if bytes.starts_with(&[0xff, 0xd8]) {
            let header = jpeg::header(bytes)?;
            let most = if header.progressive { PROGRESSIVE_PIXELS_MAX } else { PIXELS_MAX };
            check(header.width, header.height, most)?;
            if !jpeg::is_whole(bytes, &header) {
                return Err("the JPEG file is cut: its end marker is missing".into());
            }
            let (width, height) = (header.width, header.height);
            return Ok(Self { file: File::Jpeg(bytes, header), width, height });
        }
        if bytes.starts_with(b"\x89PNG") {
            let mut decoder = png::Decoder::new(Cursor::new(&*bytes));
            let info = decoder.read_header_info().map_err(|error| error.to_string())?;
            let (width, height) = (info.width, info.height);
            check(width, height, PIXELS_MAX)?;
            return Ok(Self { file: File::Png(bytes), width, height });
        }
        if let Some(kind) = Kind::of(bytes) {
            let (width, height) = kind.size(bytes)?;
            check(width, height, PIXELS_MAX)?;
            return Ok(Self { file: File::Other(bytes, kind), width, height });
        }
        Err(match bytes {
            [] => "the file is empty".into(),
            _ => "neither a JPEG nor a PNG, WebP, BMP or GIF file".into(),
        })
    }

    /// Width and height in pixels.
    pub fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// Decodes at least the first `rows` rows; those below may be missing in `picture`.
    ///
    /// # Errors
    /// What is wrong with the file. Damage that leaves a JPEG file decodable is not seen, as no
    /// JPEG decoder sees it.
    pub fn decode(self, rows: u32, picture: &mut Picture) -> Result<(), String> {
        let (width, height) = self.size();
        match self.file {
            File::Jpeg(bytes, header) => {
                let height = jpeg::keep_rows(bytes, &header, rows);
                decode_jpeg(bytes, (width, height), false, picture)
            }
            File::Png(bytes) => decode_png(bytes, (width, height), picture),
            File::Other(bytes, kind) => decode_other(bytes, kind, (width, height), picture),
        }
    }

    /// Decodes all of it and takes offence at what [`Encoded::decode`] passes over: for checking a
    /// data set.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn verify(self, picture: &mut Picture) -> Result<(), String> {
        let (width, height) = self.size();
        match self.file {
            File::Jpeg(bytes, _) => decode_jpeg(bytes, (width, height), true, picture),
            File::Png(bytes) => decode_png(bytes, (width, height), picture),
            File::Other(bytes, kind) => decode_other(bytes, kind, (width, height), picture),
        }
    }
}

fn decode_jpeg(bytes: &[u8], (width, height): (u32, u32), strict: bool, picture: &mut Picture) -> Result<(), String> {
    let options = DecoderOptions::default()
        .jpeg_set_out_colorspace(ColorSpace::RGB)
        .set_max_width(1 << 16)
        .set_max_height(1 << 16)
        .set_strict_mode(strict);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(|error| error.to_string())?;
    let found = decoder.info().map(|info| (u32::from(info.width), u32::from(info.height)));
    let size = width as usize * height as usize * 3;
    if found != Some((width, height)) || decoder.output_buffer_size() != Some(size) {
        return Err(
            "the JPEG file has two headers that contradict each other, or colours that are not supported".into()
        );
    }
    picture.pixels.resize(size, 0);
    decoder.decode_into(&mut picture.pixels).map_err(|error| error.to_string())?;
    (picture.width, picture.height) = (width, height);
    Ok(())
}

fn decode_png(bytes: &[u8], (width, height): (u32, u32), picture: &mut Picture) -> Result<(), String> {
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), png::Limits { bytes: PIXELS_MAX as usize * 8 });
    decoder.set_transformations(png::Transformations::EXPAND | png::Transformations::STRIP_16);
    let mut reader = decoder.read_info().map_err(|error| error.to_string())?;
    let size = reader.output_buffer_size().ok_or("the PNG image is too large")?;
    let mut samples = vec![0; size];
    let frame = reader.next_frame(&mut samples).map_err(|error| error.to_string())?;
    if (frame.width, frame.height) != (width, height) {
        return Err("the PNG file has two headers that contradict each other".into());
    }
    let channels = frame.color_type.samples();
    picture.pixels.clear();
    picture.pixels.reserve_exact(width as usize * height as usize * 3);
    for pixel in samples.chunks_exact(channels) {
        // Grey or colour, with or without opacity, which is passed over.
        let colour = if channels < 3 { [pixel[0]; 3] } else { [pixel[0], pixel[1], pixel[2]] };
        picture.pixels.extend_from_slice(&colour);
    }
    (picture.width, picture.height) = (width, height);
    Ok(())
}

fn decode_other(bytes: &[u8], kind: Kind, (width, height): (u32, u32), picture: &mut Picture) -> Result<(), String> {
    // Four bytes a pixel, and the picture before it was laid on the canvas of those that move.
    kind.decode(bytes, PIXELS_MAX * 8, picture)?;
    match (picture.width, picture.height) == (width, height) {
        true => Ok(()),
        false => Err("the file has two sizes that contradict each other".into()),
    }
}

#[cfg(test)]
mod tests;
