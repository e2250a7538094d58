//! The network in burn, from what `nin check --json` says of it and nin's weights.

use std::error::Error;
use std::fs;
use std::path::Path;

use burn::module::Param;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{AvgPool2d, AvgPool2dConfig, MaxPool2d, MaxPool2dConfig};
use burn::nn::{Dropout, DropoutConfig, PaddingConfig2d};
use burn::prelude::*;
use burn::tensor::activation::{leaky_relu, relu};
use safetensors::SafeTensors;
use serde_json::Value;

/// A chain of layers.
#[derive(Module, Debug)]
pub struct Network {
    chain: Vec<Layer>,
}

/// A layer.
#[derive(Module, Debug)]
enum Layer {
    Conv(Conv2d),
    Relu(Slope),
    MaxPool(MaxPool2d),
    AvgPool(AvgPool2d),
    Dropout(Dropout),
    GlobalAveragePool(Gap),
}

/// A ReLU with a slope below zero, which may be none.
#[derive(Module, Debug)]
struct Slope {
    slope: f64,
}

/// [N, C, H, W] to [N, C].
#[derive(Module, Debug)]
struct Gap {}

impl Network {
    /// The network of these layers, with the weights of a file.
    pub fn new(
        layers: &[&Value],
        weights: &Path,
        device: &Device,
    ) -> Result<Network, Box<dyn Error>> {
        let bytes = fs::read(weights)?;
        let tensors = SafeTensors::deserialize(&bytes)?;
        let mut chain = Vec::new();
        for layer in layers {
            add(&mut chain, layer, &tensors, device)?;
        }
        Ok(Network { chain })
    }

    /// Logits [N, classes] of images [N, C, H, W].
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let last = self.chain.iter().fold(images, |x, layer| match layer {
            Layer::Conv(conv) => conv.forward(x),
            Layer::Relu(Slope { slope: 0.0 }) => relu(x),
            Layer::Relu(Slope { slope }) => leaky_relu(x, *slope),
            Layer::MaxPool(pool) => pool.forward(x),
            Layer::AvgPool(pool) => pool.forward(x),
            Layer::Dropout(dropout) => dropout.forward(x),
            Layer::GlobalAveragePool(_) => x.mean_dim(3).mean_dim(2),
        });
        last.flatten(1, 3)
    }
}

/// Adds what a layer of the language is in burn.
fn add(
    chain: &mut Vec<Layer>,
    layer: &Value,
    tensors: &SafeTensors<'_>,
    device: &Device,
) -> Result<(), Box<dyn Error>> {
    let args = &layer["args"];
    // A window is square here: all numbers of an argument are one.
    let number = |name: &str| args[name].get(0).unwrap_or(&args[name]).as_u64().unwrap_or(0) as usize;
    let (kernel, stride, pad) = (number("kernel"), number("stride"), number("pad"));
    let name = layer["name"].as_str().ok_or("a layer has no name")?;
    let padding = PaddingConfig2d::Explicit(pad, pad, pad, pad);
    let is_ceil = number("ceil") != 0;
    match layer["kind"].as_str().unwrap_or_default() {
        "input" | "softmax" => {}
        "conv" => chain.push(Layer::Conv(convolution(tensors, name, (stride, pad), device)?)),
        "mlpconv" => {
            let count = args["channels"].as_array().map_or(0, Vec::len);
            for index in 0..count {
                let (name, window) = match index {
                    0 => (format!("{name}.conv"), (stride, pad)),
                    _ => (format!("{name}.cccp{index}"), (1, 0)),
                };
                chain.push(Layer::Conv(convolution(tensors, &name, window, device)?));
                chain.push(Layer::Relu(Slope { slope: 0.0 }));
            }
        }
        "maxpool" => {
            let pool = MaxPool2dConfig::new([kernel; 2]).with_strides([stride; 2]);
            let pool = pool.with_padding(padding).with_ceil_mode(is_ceil);
            chain.push(Layer::MaxPool(pool.init()));
        }
        "avgpool" => {
            let pool = AvgPool2dConfig::new([kernel; 2]).with_strides([stride; 2]);
            let pool = pool.with_padding(padding).with_ceil_mode(is_ceil);
            chain.push(Layer::AvgPool(pool.with_count_include_pad(false).init()));
        }
        "dropout" => {
            let p = args["p"].as_f64().unwrap_or(0.5);
            chain.push(Layer::Dropout(DropoutConfig::new(p).init()));
        }
        "relu" => chain.push(Layer::Relu(Slope { slope: 0.0 })),
        "leaky_relu" => {
            chain.push(Layer::Relu(Slope { slope: args["slope"].as_f64().unwrap_or(0.0) }));
        }
        "gap" => chain.push(Layer::GlobalAveragePool(Gap {})),
        other => return Err(format!("the comparison knows no `{other}` layers").into()),
    }
    Ok(())
}

/// A convolution with nin's weights.
fn convolution(
    tensors: &SafeTensors<'_>,
    name: &str,
    (stride, pad): (usize, usize),
    device: &Device,
) -> Result<Conv2d, Box<dyn Error>> {
    let weight = tensors.tensor(&format!("{name}.weight"))?;
    let bias = tensors.tensor(&format!("{name}.bias")).ok();
    let &[outputs, inputs, height, width] = weight.shape() else {
        return Err(format!("{name} is no convolution").into());
    };
    let mut conv = Conv2dConfig::new([inputs, outputs], [height, width])
        .with_stride([stride; 2])
        .with_padding(PaddingConfig2d::Explicit(pad, pad, pad, pad))
        .with_bias(bias.is_some())
        .init(device);
    let shape = [outputs, inputs, height, width];
    conv.weight = Param::from_data(TensorData::new(floats(weight.data()), shape), device);
    conv.bias =
        bias.map(|bias| Param::from_data(TensorData::new(floats(bias.data()), [outputs]), device));
    Ok(conv)
}

/// Little-endian float32.
fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|&word| f32::from_le_bytes(word)).collect()
}

/// The three sizes of a map.
pub fn sizes(shape: &Value) -> Result<[usize; 3], Box<dyn Error>> {
    let sizes = shape.as_array().into_iter().flatten().filter_map(Value::as_u64);
    let sizes: Vec<usize> = sizes.map(|size| size as usize).collect();
    sizes.try_into().map_err(|_| "an input is a map of three sizes".into())
}
