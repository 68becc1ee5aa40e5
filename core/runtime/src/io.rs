//! What goes into a file's network and what comes out, whatever runtime holds it: pixels become the
//! first input's bytes here, the first output's bytes become logits, so that every runtime is given
//! and judged by the same numbers.

use pocketflow::affine::Affine;
use pocketflow::{Error, Result};
use pocketflow_export::tflite::model::DType;

/// A tensor that goes in or comes out.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorInfo {
    /// As the file has it.
    pub name: String,
    /// The batch first: 1.
    pub shape: Vec<usize>,
    /// The type of its values.
    pub dtype: DType,
    /// Where an integer tensor's values lie; `None` for floats and for integers that mean
    /// themselves.
    pub grid: Option<Affine>,
}

impl TensorInfo {
    /// Numbers in the tensor; `None` beyond what memory could hold.
    pub fn elements(&self) -> Option<usize> {
        self.shape.iter().try_fold(1_usize, |product, &dim| product.checked_mul(dim))
    }

    /// Bytes of the tensor; `None` beyond what memory could hold.
    pub fn bytes(&self) -> Option<usize> {
        self.elements()?.checked_mul(self.dtype.size())
    }
}

/// The grid of an integer tensor with this scale and zero point; `None` for other types.
pub(crate) fn grid(dtype: DType, scale: f32, zero_point: i64) -> Option<Affine> {
    let (min_code, max_code) = match dtype {
        DType::Int8 => (-128, 127),
        DType::Uint8 => (0, 255),
        DType::Float32 | DType::Int32 | DType::Int64 => return None,
    };
    let zero_point = i32::try_from(zero_point).ok()?;
    (scale.is_finite() && scale > 0.0).then_some(Affine { scale, zero_point, min_code, max_code })
}

/// Order of the dimensions of images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `[1, height, width, channels]`: .tflite.
    Nhwc,
    /// `[1, channels, height, width]`: .onnx.
    Nchw,
}

/// (pixel − mean) / std, of pixels 0 to 255; one number for all channels or one for each.
#[derive(Debug, Clone, PartialEq)]
pub struct Normalisation {
    /// In pixels, 0 to 255.
    pub mean: Vec<f32>,
    /// Positive.
    pub std: Vec<f32>,
}

impl Normalisation {
    /// Mean and standard deviation of a channel; `None` if there are numbers for other channels
    /// only.
    fn channel(&self, channel: usize) -> Option<(f32, f32)> {
        let pick = |values: &[f32]| if values.len() == 1 { Some(values[0]) } else { values.get(channel).copied() };
        let (mean, std) = (pick(&self.mean)?, pick(&self.std)?);
        (mean.is_finite() && std.is_finite() && std > 0.0).then_some((mean, std))
    }
}

/// How the pixels of one image become the bytes of the first input.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageInput {
    /// Rows of an image.
    pub height: usize,
    /// Pixels in a row.
    pub width: usize,
    /// 1 to 4.
    pub channels: usize,
    /// Whether channels come first or last.
    pub layout: Layout,
    /// `None`: pixels are taken as they are, or less 128 as int8. So it is for an integer file that
    /// says nothing of normalisation, and for a uint8 file whose normalisation comes to the pixels
    /// themselves within one code: the Task Library and the original's demo give such files the
    /// camera's bytes.
    pub normalisation: Option<Normalisation>,
    /// Whether the file states how its input is normalised; else it is assumed.
    pub is_stated: bool,
    /// By channel, the bytes of each of the 256 pixel values.
    table: Table,
}

#[derive(Debug, Clone, PartialEq)]
enum Table {
    Byte(Vec<[u8; 256]>),
    Float(Vec<[f32; 256]>),
}

/// The inputs and outputs of a file's network, in the file's order.
#[derive(Debug, Clone, PartialEq)]
pub struct Io {
    /// What the network reads.
    pub inputs: Vec<TensorInfo>,
    /// What the network gives.
    pub outputs: Vec<TensorInfo>,
    /// Where the network takes one image (a batch of one, 1 to 4 channels, bytes or floats).
    pub image: Option<ImageInput>,
}

impl Io {
    /// `stated` is the normalisation that the file states, `fallback` the data set's, for floats
    /// without one.
    ///
    /// # Errors
    /// A normalisation that does not fit the input's channels.
    pub fn new(
        inputs: Vec<TensorInfo>,
        outputs: Vec<TensorInfo>,
        layout: Layout,
        stated: Option<Normalisation>,
        fallback: &Normalisation,
    ) -> Result<Self> {
        let image = match inputs.as_slice() {
            [input] => ImageInput::new(input, layout, stated, fallback)?,
            _ => None,
        };
        Ok(Self { inputs, outputs, image })
    }

    /// The first input's bytes, from pixels `[height, width, channels]`, 0 to 255.
    ///
    /// # Errors
    /// A network that does not take one image; pixels of another size.
    pub fn encode(&self, pixels: &[u8]) -> Result<Vec<u8>> {
        let Some(image) = &self.image else {
            return Err(Error::failed(format!(
                "the file does not take one image: {}; it can only be run on raw tensors",
                describe(&self.inputs)
            )));
        };
        image.encode(pixels)
    }

    /// That there is one output, whose numbers are those of the classes.
    ///
    /// # Errors
    /// Names the outputs where there are several: which of them holds the classes is not guessed.
    pub fn expect_one_output(&self) -> Result<()> {
        match self.outputs.len() {
            0 => Err(Error::failed("the file has no output")),
            1 => Ok(()),
            count => Err(Error::config(format!(
                "the file has {count} outputs: {}. Which of them holds the classes is not known; convert the network \
                 again with that output alone",
                describe(&self.outputs)
            ))),
        }
    }

    /// The first output as real numbers: codes become scale · (code − zero point).
    ///
    /// # Errors
    /// Outputs that are not those of this network.
    pub fn decode(&self, outputs: &[Vec<u8>], logits: &mut Vec<f32>) -> Result<()> {
        let (Some(info), Some(bytes)) = (self.outputs.first(), outputs.first()) else {
            return Err(Error::failed("the file has no output"));
        };
        if info.bytes() != Some(bytes.len()) {
            return Err(Error::failed(format!(
                "the runtime gave {} bytes for {}",
                bytes.len(),
                describe(&self.outputs)
            )));
        }
        logits.clear();
        let value = |code: i32| info.grid.map_or(code as f32, |grid| grid.decode(code));
        match info.dtype {
            DType::Float32 => logits.extend(bytes.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b))),
            DType::Uint8 => logits.extend(bytes.iter().map(|&b| value(i32::from(b)))),
            DType::Int8 => logits.extend(bytes.iter().map(|&b| value(i32::from(b.cast_signed())))),
            DType::Int32 => logits.extend(bytes.as_chunks::<4>().0.iter().map(|&b| i32::from_le_bytes(b) as f32)),
            DType::Int64 => logits.extend(bytes.as_chunks::<8>().0.iter().map(|&b| i64::from_le_bytes(b) as f32)),
        }
        Ok(())
    }

    /// # Errors
    /// Another number of inputs than the network has, or another size.
    pub(crate) fn check_inputs(&self, inputs: &[&[u8]]) -> Result<()> {
        if inputs.len() != self.inputs.len() {
            return Err(Error::failed(format!("{} inputs given, the file has {}", inputs.len(), self.inputs.len())));
        }
        for (given, info) in inputs.iter().zip(&self.inputs) {
            if info.bytes() != Some(given.len()) {
                return Err(Error::failed(format!(
                    "input {} is {:?} of {:?}; {} bytes were given",
                    info.name,
                    info.shape,
                    info.dtype,
                    given.len()
                )));
            }
        }
        Ok(())
    }
}

impl ImageInput {
    fn new(
        input: &TensorInfo,
        layout: Layout,
        stated: Option<Normalisation>,
        fallback: &Normalisation,
    ) -> Result<Option<Self>> {
        let (&[1, a, b, c], true) = (input.shape.as_slice(), input.bytes().is_some()) else { return Ok(None) };
        let (height, width, channels) = match layout {
            Layout::Nhwc => (a, b, c),
            Layout::Nchw => (b, c, a),
        };
        if !(1..=4).contains(&channels) {
            return Ok(None);
        }
        let is_stated = stated.is_some();
        let (normalisation, table) = match input.dtype {
            DType::Float32 => {
                let normalisation = stated.unwrap_or_else(|| fallback.clone());
                let reals = reals(&normalisation, channels)?;
                (Some(normalisation), Table::Float(reals))
            }
            DType::Int8 | DType::Uint8 => {
                let codes = match (&stated, input.grid) {
                    (Some(stated), Some(grid)) => Some(codes(&reals(stated, channels)?, &grid)),
                    _ => None,
                };
                match codes.filter(|codes| input.dtype == DType::Int8 || !are_pixels(codes)) {
                    Some(codes) => (stated, Table::Byte(codes)),
                    None => (None, Table::Byte(vec![raw(input.dtype); channels])),
                }
            }
            DType::Int32 | DType::Int64 => return Ok(None),
        };
        Ok(Some(Self { height, width, channels, layout, normalisation, is_stated, table }))
    }

    /// What the pixels become, and who says so, for people.
    pub fn described(&self) -> String {
        let list = |numbers: &[f32]| numbers.iter().map(f32::to_string).collect::<Vec<_>>().join(", ");
        let how = match &self.normalisation {
            Some(Normalisation { mean, std }) => {
                format!("(pixel - mean) / std, mean {}, std {}", list(mean), list(std))
            }
            None => "the pixels as they are, 0 to 255".to_owned(),
        };
        let who = match (self.is_stated, &self.normalisation) {
            (true, _) => "as the file says",
            (false, Some(_)) => "assumed: the file does not say; --input-mean and --input-std for another",
            (false, None) => "assumed: the file does not say",
        };
        format!("{how}; {who}")
    }

    fn encode(&self, pixels: &[u8]) -> Result<Vec<u8>> {
        let area = self.height * self.width;
        if pixels.len() != area * self.channels {
            return Err(Error::failed(format!(
                "the file takes {}×{} pixels of {} channels, {} bytes; {} were given",
                self.height,
                self.width,
                self.channels,
                area * self.channels,
                pixels.len()
            )));
        }
        Ok(match &self.table {
            Table::Byte(table) => self.arranged(pixels, |channel, pixel| [table[channel][usize::from(pixel)]]),
            Table::Float(table) => {
                self.arranged(pixels, |channel, pixel| table[channel][usize::from(pixel)].to_le_bytes())
            }
        })
    }

    /// Looked up and put in the layout's order.
    fn arranged<const N: usize>(&self, pixels: &[u8], entry: impl Fn(usize, u8) -> [u8; N]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(pixels.len() * N);
        match self.layout {
            Layout::Nhwc => {
                for pixel in pixels.chunks_exact(self.channels) {
                    for (channel, &value) in pixel.iter().enumerate() {
                        bytes.extend_from_slice(&entry(channel, value));
                    }
                }
            }
            Layout::Nchw => {
                for channel in 0..self.channels {
                    for &value in pixels[channel..].iter().step_by(self.channels) {
                        bytes.extend_from_slice(&entry(channel, value));
                    }
                }
            }
        }
        bytes
    }
}

/// By channel, what each pixel value means.
fn reals(normalisation: &Normalisation, channels: usize) -> Result<Vec<[f32; 256]>> {
    let fits = |values: &[f32]| values.len() == 1 || values.len() == channels;
    let found = (0..channels).map(|channel| normalisation.channel(channel)).collect::<Option<Vec<_>>>();
    match found {
        Some(found) if fits(&normalisation.mean) && fits(&normalisation.std) => {
            let of_channel = |(mean, std)| std::array::from_fn(|pixel| (pixel as f32 - mean) / std);
            Ok(found.into_iter().map(of_channel).collect())
        }
        _ => Err(Error::failed(format!(
            "the normalisation (mean {:?}, std {:?}) does not fit an input of {channels} channels: one number, or one \
             for each channel, std above 0",
            normalisation.mean, normalisation.std
        ))),
    }
}

/// The codes of real values, as bytes.
fn codes(reals: &[[f32; 256]], grid: &Affine) -> Vec<[u8; 256]> {
    reals.iter().map(|channel| channel.map(|real| grid.encode(real) as u8)).collect()
}

/// The pixels themselves as codes: less 128 as int8.
fn raw(dtype: DType) -> [u8; 256] {
    let flip = if dtype == DType::Int8 { 0x80 } else { 0 };
    std::array::from_fn(|pixel| pixel as u8 ^ flip)
}

/// Whether uint8 codes are the pixels, give or take one.
fn are_pixels(codes: &[[u8; 256]]) -> bool {
    codes.iter().all(|channel| channel.iter().enumerate().all(|(pixel, &code)| pixel.abs_diff(code.into()) <= 1))
}

/// `input [1, 128, 128, 3] Uint8, …` for messages.
fn describe(tensors: &[TensorInfo]) -> String {
    let each: Vec<_> = tensors.iter().map(|t| format!("{} {:?} {:?}", t.name, t.shape, t.dtype)).collect();
    each.join(", ")
}

#[cfg(test)]
#[path = "io_tests.rs"]
mod tests;
