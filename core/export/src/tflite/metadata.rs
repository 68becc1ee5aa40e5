//! TensorFlow Lite Metadata: what an application must know of an image classifier's input and
//! output, in the model's own file, as the Task Library's ImageClassifier reads it.

use super::model::TfliteModel;
use super::schema::metadata_generated as table;
use flatbuffers::{FlatBufferBuilder, ForwardsUOffset, UnionWIPOffset, Vector, VerifierOptions, WIPOffset};
use pocketflow::error::{Error, Result};

/// The name of the buffer that holds it.
pub const BUFFER: &str = "TFLITE_METADATA";
/// The file of the labels, a line each.
pub const LABELS: &str = "labels.txt";
const IDENTIFIER: &str = "M001";
/// Readers from the first on understand all that is written here.
const MIN_PARSER_VERSION: &str = "1.0.0";

/// Describes a model with one image as its input and one vector of scores as its output.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ImageMetadata {
    /// The model's name.
    pub name: String,
    /// What the model does, for people.
    pub description: String,
    /// What a real value of the input means: (pixel − mean) / std, pixels 0 to 255; one for all
    /// channels or one for each. Of an integer model, real values are scale · (code − zero point).
    /// Empty if the file does not say.
    pub mean: Vec<f32>,
    /// Positive, as many as `mean`.
    pub std: Vec<f32>,
    /// Height and width of the image.
    pub size: Option<[usize; 2]>,
    /// The classes' names in the order of the scores; empty if unknown.
    pub labels: Vec<String>,
}

impl ImageMetadata {
    /// The contents of the buffer [`BUFFER`]; the labels themselves belong into a file [`LABELS`].
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut flat = FlatBufferBuilder::new();
        let (input, output) = (self.input(&mut flat), self.output(&mut flat));
        let args = table::SubGraphMetadataArgs {
            input_tensor_metadata: Some(flat.create_vector(&[input])),
            output_tensor_metadata: Some(flat.create_vector(&[output])),
            ..table::SubGraphMetadataArgs::default()
        };
        let subgraph = table::SubGraphMetadata::create(&mut flat, &args);
        let args = table::ModelMetadataArgs {
            name: Some(flat.create_string(&self.name)),
            description: Some(flat.create_string(&self.description)),
            subgraph_metadata: Some(flat.create_vector(&[subgraph])),
            min_parser_version: Some(flat.create_string(MIN_PARSER_VERSION)),
            ..table::ModelMetadataArgs::default()
        };
        let root = table::ModelMetadata::create(&mut flat, &args);
        flat.finish(root, Some(IDENTIFIER));
        flat.finished_data().to_vec()
    }

    fn input<'a>(&self, flat: &mut FlatBufferBuilder<'a>) -> WIPOffset<table::TensorMetadata<'a>> {
        let default_size = self.size.map(|[height, width]| {
            let args = table::ImageSizeArgs { width: width as u32, height: height as u32 };
            table::ImageSize::create(flat, &args)
        });
        let args = table::ImagePropertiesArgs { color_space: table::ColorSpaceType::RGB, default_size };
        let properties = table::ImageProperties::create(flat, &args).as_union_value();
        let content = content(flat, table::ContentProperties::ImageProperties, properties);
        let process_units = (!self.mean.is_empty()).then(|| {
            let args = table::NormalizationOptionsArgs {
                mean: Some(flat.create_vector(&self.mean)),
                std_: Some(flat.create_vector(&self.std)),
            };
            let options = table::NormalizationOptions::create(flat, &args).as_union_value();
            let args = table::ProcessUnitArgs {
                options_type: table::ProcessUnitOptions::NormalizationOptions,
                options: Some(options),
            };
            let unit = table::ProcessUnit::create(flat, &args);
            flat.create_vector(&[unit])
        });
        let of_pixel = |pixel: f32| {
            let channels = self.mean.iter().zip(&self.std);
            channels.map(move |(mean, std)| (pixel - mean) / std).collect::<Vec<f32>>()
        };
        let stats = (!self.mean.is_empty()).then(|| {
            let args = table::StatsArgs {
                max: Some(flat.create_vector(&of_pixel(255.0))),
                min: Some(flat.create_vector(&of_pixel(0.0))),
            };
            table::Stats::create(flat, &args)
        });
        let args = table::TensorMetadataArgs {
            name: Some(flat.create_string("image")),
            description: Some(flat.create_string("The image to classify.")),
            content: Some(content),
            process_units,
            stats,
            ..table::TensorMetadataArgs::default()
        };
        table::TensorMetadata::create(flat, &args)
    }

    fn output<'a>(&self, flat: &mut FlatBufferBuilder<'a>) -> WIPOffset<table::TensorMetadata<'a>> {
        let properties = table::FeatureProperties::create(flat, &table::FeaturePropertiesArgs {}).as_union_value();
        let content = content(flat, table::ContentProperties::FeatureProperties, properties);
        let associated_files = (!self.labels.is_empty()).then(|| {
            let args = table::AssociatedFileArgs {
                name: Some(flat.create_string(LABELS)),
                description: Some(flat.create_string("The names of the classes, a line each.")),
                type_: table::AssociatedFileType::TENSOR_AXIS_LABELS,
                locale: None,
            };
            let file = table::AssociatedFile::create(flat, &args);
            flat.create_vector(&[file])
        });
        let args = table::TensorMetadataArgs {
            name: Some(flat.create_string("scores")),
            description: Some(flat.create_string("One score for each class.")),
            content: Some(content),
            associated_files,
            ..table::TensorMetadataArgs::default()
        };
        table::TensorMetadata::create(flat, &args)
    }

    /// From the contents of the buffer [`BUFFER`] and the files behind the model.
    ///
    /// # Errors
    /// No metadata or damaged; a normalisation that is none; a labels file that is named and not
    /// there, or is no text.
    pub fn from_bytes(bytes: &[u8], files: &[(String, Vec<u8>)]) -> Result<Self> {
        let fail = |problem: &str| Error::failed(format!("its metadata {problem}"));
        if !table::model_metadata_buffer_has_identifier(bytes.get(..8).unwrap_or(&[0; 8])) {
            return Err(fail("lacks the identifier M001"));
        }
        let room = bytes.len().saturating_mul(8).saturating_add(1 << 16);
        let options = VerifierOptions {
            max_depth: 16,
            max_tables: room / 4,
            max_apparent_size: room,
            ..VerifierOptions::default()
        };
        let root = table::root_as_model_metadata_with_opts(&options, bytes).map_err(|_| fail("is damaged"))?;
        let subgraph = root.subgraph_metadata().and_then(first);
        let input = subgraph.and_then(|subgraph| subgraph.input_tensor_metadata()).and_then(first);
        let output = subgraph.and_then(|subgraph| subgraph.output_tensor_metadata()).and_then(first);
        let (mean, std) = input.map(|input| normalisation(&input)).unwrap_or_default();
        let sizes = mean.len() == std.len() && mean.iter().chain(&std).all(|value| value.is_finite());
        if !sizes || std.iter().any(|std| *std <= 0.0) {
            return Err(fail(&format!("normalises by the means {mean:?} and the deviations {std:?}")));
        }
        let labels = match output.and_then(|output| labels_file(&output)) {
            Some(name) => labels(&name, files)?,
            None => Vec::new(),
        };
        let size = input
            .and_then(|input| input.content()?.content_properties_as_image_properties()?.default_size())
            .map(|size| [size.height() as usize, size.width() as usize]);
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        Ok(Self { name: text(root.name()), description: text(root.description()), mean, std, size, labels })
    }

    /// What a model's file says; `None` if it says nothing.
    ///
    /// # Errors
    /// As [`ImageMetadata::from_bytes`].
    pub fn of(model: &TfliteModel) -> Result<Option<Self>> {
        let buffer = model.metadata.iter().find(|(name, _)| name == BUFFER);
        buffer.map(|(_, bytes)| Self::from_bytes(bytes, &model.files)).transpose()
    }
}

fn content<'a>(
    flat: &mut FlatBufferBuilder<'a>,
    kind: table::ContentProperties,
    properties: WIPOffset<UnionWIPOffset>,
) -> WIPOffset<table::Content<'a>> {
    let args = table::ContentArgs { content_properties_type: kind, content_properties: Some(properties), range: None };
    table::Content::create(flat, &args)
}

fn first<'a, T: flatbuffers::Follow<'a> + 'a>(list: Vector<'a, ForwardsUOffset<T>>) -> Option<T::Inner> {
    list.into_iter().next()
}

fn normalisation(input: &table::TensorMetadata<'_>) -> (Vec<f32>, Vec<f32>) {
    let units = input.process_units().into_iter().flatten();
    let options = units.filter_map(|unit| unit.options_as_normalization_options()).next();
    let values = |list: Option<Vector<'_, f32>>| list.into_iter().flatten().collect();
    options.map(|options| (values(options.mean()), values(options.std_()))).unwrap_or_default()
}

/// That of no language, if there are several.
fn labels_file(output: &table::TensorMetadata<'_>) -> Option<String> {
    let files = output.associated_files().into_iter().flatten();
    let mut files: Vec<_> =
        files.filter(|file| file.type_() == table::AssociatedFileType::TENSOR_AXIS_LABELS).collect();
    files.sort_by_key(|file| file.locale().is_some_and(|locale| !locale.is_empty()));
    files.first()?.name().map(str::to_owned)
}

fn labels(name: &str, files: &[(String, Vec<u8>)]) -> Result<Vec<String>> {
    let Some((_, contents)) = files.iter().find(|(file, _)| file == name) else {
        return Err(Error::failed(format!("its metadata names `{name}`, which is not packed behind it; was it cut?")));
    };
    let text = std::str::from_utf8(contents)
        .map_err(|error| Error::failed(format!("`{name}` behind the model is no UTF-8 text: {error}")))?;
    Ok(text.lines().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn image() -> ImageMetadata {
        ImageMetadata {
            name: "small".into(),
            description: "A classifier.".into(),
            mean: vec![125.3, 123.0, 113.9],
            std: vec![63.0, 62.1, 66.7],
            size: Some([32, 24]),
            labels: vec!["cat".into(), "dog, any".into()],
        }
    }

    #[test]
    fn comes_back() {
        let files = [(LABELS.to_owned(), b"cat\ndog, any\n".to_vec())];
        assert_eq!(ImageMetadata::from_bytes(&image().to_bytes(), &files).unwrap(), image());
        let bare = ImageMetadata::default();
        assert_eq!(ImageMetadata::from_bytes(&bare.to_bytes(), &[]).unwrap(), bare);
    }

    #[test]
    fn says_what_is_wrong() {
        let message = |bytes: &[u8], files: &[(String, Vec<u8>)]| {
            ImageMetadata::from_bytes(bytes, files).unwrap_err().to_string()
        };
        assert!(message(&image().to_bytes(), &[]).contains("`labels.txt`"));
        assert!(message(&image().to_bytes(), &[(LABELS.to_owned(), vec![0xff])]).contains("UTF-8"));
        assert!(message(b"", &[]).contains("M001"));
        let flat = ImageMetadata { std: vec![0.0; 3], ..image() };
        assert!(message(&flat.to_bytes(), &[]).contains("deviations"));
    }

    proptest! {
        #[test]
        fn damage_makes_errors(at in any::<prop::sample::Index>(), to: u8, cut in any::<prop::sample::Index>()) {
            let files = [(LABELS.to_owned(), b"cat\ndog\n".to_vec())];
            let mut bytes = image().to_bytes();
            let at = at.index(bytes.len());
            bytes[at] = to;
            let _ = ImageMetadata::from_bytes(&bytes, &files);
            bytes.truncate(cut.index(bytes.len()));
            let _ = ImageMetadata::from_bytes(&bytes, &files);
        }
    }
}
