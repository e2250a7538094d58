//! The network in candle, from what `nin check --json` says of it and nin's weights.

use std::collections::HashMap;
use std::error::Error;
use std::path::Path;

use candle_core::{DType, Device, Result as Computed, Tensor};
use candle_nn::{Conv2d, Conv2dConfig, Module, ops};
use serde_json::Value;

/// A chain of layers, for inference.
pub struct Network {
    chain: Vec<Layer>,
}

/// A layer.
enum Layer {
    Conv(Conv2d),
    Relu,
    LeakyRelu(f64),
    MaxPool(Windows),
    /// With what turns a mean over a whole window into one over its part inside the map, [1, 1, H, W].
    AvgPool(Windows, Tensor),
    GlobalAveragePool,
}

/// Where a pool looks: candle's own pools neither pad nor round up.
struct Windows {
    kernel: usize,
    stride: usize,
    /// Rows above the map, and columns left of it.
    before: usize,
    /// Rows below the map, and columns right of it.
    after: [usize; 2],
}

impl Network {
    /// The network of these layers, with the weights of a file.
    pub fn new(layers: &[Value], weights: &Path) -> Result<Network, Box<dyn Error>> {
        let tensors = candle_core::safetensors::load(weights, &Device::Cpu)?;
        let mut chain = Vec::new();
        for layer in layers {
            add(&mut chain, layer, &tensors)?;
        }
        Ok(Network { chain })
    }

    /// Logits [N, classes] of images [N, C, H, W].
    pub fn forward(&self, images: &Tensor) -> Computed<Tensor> {
        let last = self.chain.iter().try_fold(images.clone(), |x, layer| match layer {
            Layer::Conv(conv) => conv.forward(&x),
            Layer::Relu => x.relu(),
            Layer::LeakyRelu(slope) => ops::leaky_relu(&x, *slope),
            Layer::MaxPool(windows) => windows.max(&x),
            Layer::AvgPool(windows, scale) => windows.mean(&x)?.broadcast_mul(scale),
            Layer::GlobalAveragePool => x.mean_keepdim((2, 3)),
        })?;
        last.flatten_from(1)
    }
}

impl Windows {
    fn of(layer: &Value) -> Result<Windows, Box<dyn Error>> {
        let [kernel, stride, before] = ["kernel", "stride", "pad"].map(|name| number(layer, name));
        let [_, height, width] = sizes(&layer["input"])?;
        let [_, rows, columns] = sizes(&layer["output"])?;
        let after = [(height, rows), (width, columns)]
            .map(|(input, output)| ((output - 1) * stride + kernel).saturating_sub(before + input));
        Ok(Windows { kernel, stride, before, after })
    }

    /// An edge that is repeated outside of the map never changes a maximum: the window has the edge in it.
    fn max(&self, x: &Tensor) -> Computed<Tensor> {
        let x = x.pad_with_same(2, self.before, self.after[0])?;
        let x = x.pad_with_same(3, self.before, self.after[1])?;
        x.max_pool2d_with_stride(self.kernel, self.stride)
    }

    /// Means over whole windows, with zeros outside of the map.
    fn mean(&self, x: &Tensor) -> Computed<Tensor> {
        let x = x.pad_with_zeros(2, self.before, self.after[0])?;
        let x = x.pad_with_zeros(3, self.before, self.after[1])?;
        x.avg_pool2d_with_stride(self.kernel, self.stride)
    }
}

/// Adds what a layer of the language is in candle.
fn add(
    chain: &mut Vec<Layer>,
    layer: &Value,
    tensors: &HashMap<String, Tensor>,
) -> Result<(), Box<dyn Error>> {
    let args = &layer["args"];
    let window = (number(layer, "stride"), number(layer, "pad"));
    let name = layer["name"].as_str().ok_or("a layer has no name")?;
    match layer["kind"].as_str().unwrap_or_default() {
        // Inference drops nothing.
        "input" | "softmax" | "dropout" => {}
        "conv" => chain.push(Layer::Conv(convolution(tensors, name, window)?)),
        "mlpconv" => {
            let count = args["channels"].as_array().map_or(0, Vec::len);
            for index in 0..count {
                let (name, window) = match index {
                    0 => (format!("{name}.conv"), window),
                    _ => (format!("{name}.cccp{index}"), (1, 0)),
                };
                chain.push(Layer::Conv(convolution(tensors, &name, window)?));
                chain.push(Layer::Relu);
            }
        }
        "maxpool" => chain.push(Layer::MaxPool(Windows::of(layer)?)),
        "avgpool" => {
            let windows = Windows::of(layer)?;
            let [_, height, width] = sizes(&layer["input"])?;
            let ones = Tensor::ones((1, 1, height, width), DType::F32, &Device::Cpu)?;
            let scale = windows.mean(&ones)?.recip()?;
            chain.push(Layer::AvgPool(windows, scale));
        }
        "relu" => chain.push(Layer::Relu),
        "leaky_relu" => chain.push(Layer::LeakyRelu(args["slope"].as_f64().unwrap_or(0.0))),
        "gap" => chain.push(Layer::GlobalAveragePool),
        other => return Err(format!("the comparison knows no `{other}` layers").into()),
    }
    Ok(())
}

/// A convolution with nin's weights.
fn convolution(
    tensors: &HashMap<String, Tensor>,
    name: &str,
    (stride, padding): (usize, usize),
) -> Result<Conv2d, Box<dyn Error>> {
    let weight = tensors.get(&format!("{name}.weight")).ok_or("a convolution has no weights")?;
    let bias = tensors.get(&format!("{name}.bias")).cloned();
    let config = Conv2dConfig { padding, stride, ..Default::default() };
    Ok(Conv2d::new(weight.clone(), bias, config))
}

/// An argument of a layer; zero without it.
fn number(layer: &Value, name: &str) -> usize {
    let arg = &layer["args"][name];
    // A window is square here: all numbers of an argument are one.
    arg.get(0).unwrap_or(arg).as_u64().unwrap_or(0) as usize
}

/// The three sizes of a map.
pub fn sizes(shape: &Value) -> Result<[usize; 3], Box<dyn Error>> {
    let sizes = shape.as_array().into_iter().flatten().filter_map(Value::as_u64);
    let sizes: Vec<usize> = sizes.map(|size| size as usize).collect();
    sizes.try_into().map_err(|_| "an input is a map of three sizes".into())
}
