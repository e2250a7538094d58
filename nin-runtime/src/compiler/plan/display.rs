//! The plan as text: `nin show --stage plan`.

use std::fmt::{self, Write as _};

use nin_dsl::graph::Graph;

use super::{
    Algorithm, Algos, Buffer, BufferKey, Choice, ConvPlan, Extent, Gather, Holds, Pass, Plan,
    PreparedForm, Product, ProductPlan, ProductsBy, Reach, Spectrum, Step, View, Winograd,
    product_of,
};
use crate::compiler::Elem;
use crate::compiler::autodiff::TensorId;
use crate::compiler::fuse::Stage;
use crate::compiler::geometry::ConvGeometry;

impl Plan {
    /// Phases, blocks, steps, buffers and convolutions, a line each.
    pub fn display(&self, graph: &Graph) -> String {
        let mut text = String::new();
        self.write(graph, &mut text).expect("writing to a string cannot fail");
        text
    }

    fn write(&self, graph: &Graph, text: &mut String) -> fmt::Result {
        writeln!(text, "plan {}: batch {}, chunk {}", graph.name(), self.batch, self.chunk)?;
        writeln!(
            text,
            "  weights {} floats, prepared {} floats",
            self.weight_floats,
            floats(self.prepared_bytes)
        )?;
        if self.algos != Algos::default() {
            writeln!(text, "  algo {}", self.algos)?;
        }
        for conv in &self.convs {
            conv.write(self.training.is_some(), text)?;
        }
        for norm in &self.norms {
            write!(text, "  norm {} {} channels", norm.node, norm.channels)?;
            if let Some(offset) = norm.prepared {
                write!(text, " @{}", floats(offset))?;
            }
            let conv = self.convs.iter().find(|conv| conv.norm == Some(norm.node));
            if let Some(conv) = conv {
                write!(text, ", merged into {}", conv.node)?;
            }
            writeln!(text)?;
        }
        writeln!(
            text,
            "  entry prepare: a range of {} strips of the weights, arena {} floats",
            self.strips(),
            floats(self.preparing_bytes)
        )?;
        writeln!(
            text,
            "  entry infer: chunks of a range of images, arena {} floats",
            floats(self.inference.arena)
        )?;
        let meetings = self.inference.parts.iter().filter(|part| !part.follows).count();
        writeln!(text, "  threads that share an image meet {meetings} times")?;
        self.inference.write(graph, text)?;
        if let Some(training) = &self.training {
            writeln!(
                text,
                "  entry train: chunks of one of {} slices of {} images, arena {} floats",
                self.slices,
                self.slice_images(),
                floats(training.arena)
            )?;
            if let Some(ghost) = self.groups.and_then(|groups| groups.chunk) {
                writeln!(
                    text,
                    "  a chunk is a group of {ghost} images, the last of up to {}",
                    self.chunk
                )?;
            }
            if training.store > 0 {
                let store = floats(training.store);
                writeln!(text, "  store {store} floats, from phase to phase")?;
            }
            training.write(graph, text)?;
            writeln!(
                text,
                "  entry update: a range of {} strips, each: gradients of {} slices summed as a tree, weights, prepared forms",
                self.strips(),
                self.slices
            )?;
        }
        Ok(())
    }
}

impl ConvPlan {
    /// The convolution, and a line for each of its products: what it is made by, and why.
    fn write(&self, training: bool, text: &mut String) -> fmt::Result {
        let ConvGeometry { window, cin, cout, groups, depthwise, .. } = self.geometry;
        write!(text, "  conv {} {window} ", self.node)?;
        match (depthwise, groups) {
            (true, _) => writeln!(text, "depthwise {cout}")?,
            (false, 1) => writeln!(text, "{cin} -> {cout}")?,
            (false, _) => writeln!(text, "{groups} groups of {cin} -> {cout}")?,
        }
        for (name, product) in
            [("forward", Product::Forward), ("input gradient", Product::InputGrad)]
        {
            let plan = self.product(product);
            if plan.kernel.is_some() {
                product_line(text, name, plan)?;
            }
        }
        if training {
            product_line(text, "kernel gradient", self.product(Product::KernelGrad))?;
        }
        Ok(())
    }
}

/// A product: its algorithm, its tile, what it reads of the kernel, and its cost beside the direct algorithm's.
fn product_line(
    text: &mut String,
    name: &str,
    ProductPlan { choice, tile, kernel }: &ProductPlan,
) -> fmt::Result {
    let Choice { algorithm, cost, direct } = *choice;
    write!(text, "    {name:<15} ")?;
    match algorithm {
        Algorithm::Direct => write!(text, "direct")?,
        Algorithm::Winograd(Winograd { size, reach }) => write!(text, "{size} {reach}")?,
    }
    write!(text, ", tile {tile}")?;
    match kernel.as_ref().map(|kernel| &kernel.form) {
        None => {}
        Some(PreparedForm::Panels(offsets)) => {
            offsets.iter().try_for_each(|&at| write!(text, " @{}", floats(at)))?;
        }
        Some(PreparedForm::Spectrum(spectrum)) => write!(text, " @{}", floats(spectrum.offset))?,
    }
    match algorithm {
        Algorithm::Direct => write!(text, ", costs {}", thousands(direct))?,
        Algorithm::Winograd(_) => {
            let [total, products, transforms, weights, direct] =
                [cost.total(), cost.products, cost.transforms, cost.weights, direct].map(thousands);
            write!(
                text,
                ", costs {total} (products {products}, transforms {transforms}, weights {weights}) instead of {direct}"
            )?;
        }
    }
    writeln!(text)
}

/// Room, in floats.
fn floats(bytes: usize) -> usize {
    bytes.div_ceil(Elem::F32.bytes())
}

/// A number of multiply-adds, in thousands.
fn thousands(count: u64) -> String {
    format!("{} k", count.div_ceil(1000))
}

impl fmt::Display for Spectrum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Spectrum::Operand(Product::Forward) => "v",
            Spectrum::Result(Product::Forward) => "m",
            Spectrum::Operand(Product::InputGrad) => "dv",
            Spectrum::Result(Product::InputGrad) => "dm",
            Spectrum::Operand(Product::KernelGrad) => "kv",
            Spectrum::Grad => "kz",
            Spectrum::Result(Product::KernelGrad) => "kp",
        })
    }
}

impl Pass {
    fn write(&self, graph: &Graph, text: &mut String) -> fmt::Result {
        for (index, planned) in self.blocks.iter().enumerate() {
            let begins = self.phases.iter().position(|phase| phase.blocks.start == index);
            let list = |gathers: &[Gather]| {
                gathers.iter().map(Gather::to_string).collect::<Vec<_>>().join(", ")
            };
            if let Some(phase @ 1..) = begins {
                let gathered = list(&self.phases[phase - 1].gathers);
                writeln!(text, "    phase {phase}, after gathering {gathered}")?;
            }
            if !planned.gathers.is_empty() {
                writeln!(text, "    after gathering {} of the chunk", list(&planned.gathers))?;
            }
            writeln!(text, "    block {} ({})", planned.block.name, planned.block.domain)?;
            for step in &planned.steps {
                match step {
                    Step::Whole(stage) => {
                        writeln!(text, "      {}", planned.block.stages[*stage].display(graph))?;
                    }
                    Step::Banded { stages, rows, .. } => {
                        writeln!(text, "      by bands of {rows} rows")?;
                        for stage in &planned.block.stages[stages.clone()] {
                            writeln!(text, "        {}", stage.display(graph))?;
                        }
                    }
                    Step::DepthFirst { stages, rows } => {
                        let stages = &planned.block.stages[stages.clone()];
                        let saved = saved(graph, stages).div_ceil(1000);
                        writeln!(
                            text,
                            "      depth first by bands of {rows} rows: {saved} kB of maps stay in cache"
                        )?;
                        for stage in stages {
                            writeln!(text, "        {}", stage.display(graph))?;
                        }
                    }
                    Step::Transform { stage, spectrum } => {
                        let stage = &planned.block.stages[*stage];
                        let of = stage.reads[spectrum.operand()];
                        writeln!(text, "      {spectrum}{} = transform {of}", stage.node)?;
                    }
                    Step::Products { stage, by } => {
                        let stage = &planned.block.stages[*stage];
                        let result = Spectrum::Result(product_of(stage.op));
                        let shared = match by {
                            ProductsBy::Frequency => "",
                            ProductsBy::Row => ", shared by rows of tiles",
                            ProductsBy::Chunk => ", all images at once",
                        };
                        writeln!(text, "      {result}{} = products{shared}", stage.node)?;
                    }
                }
            }
        }
        for buffer in &self.buffers {
            writeln!(text, "    {buffer}")?;
        }
        let stages = self.blocks.iter().flat_map(|planned| &planned.block.stages);
        for stage in stages.filter(|stage| !stage.accumulates()) {
            let (TensorId::Value(node) | TensorId::Grad(node)) = stage.writes else { continue };
            let View { buffer, channel, pitch, .. } = self.view(stage.writes);
            let channels = graph.node(node).shape.channels();
            if channels < pitch {
                let end = channel + channels;
                writeln!(text, "    {} is channels {channel} to {end} of {buffer}", stage.writes)?;
            }
        }
        Ok(())
    }
}

/// Bytes of the maps between stages, of which no more than bands are kept.
fn saved(graph: &Graph, stages: &[Stage]) -> usize {
    let between = &stages[..stages.len() - 1];
    let elements = between.iter().map(|stage| graph.node(stage.node).shape.elements());
    elements.sum::<usize>() * Elem::F32.bytes()
}

impl fmt::Display for Gather {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Gather::Statistics(node) => write!(f, "statistics s{node}"),
            Gather::Gradients(node) => write!(f, "gradients of {node}"),
        }
    }
}

impl fmt::Display for BufferKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BufferKey::Value(id) => write!(f, "{id}"),
            BufferKey::Grad(id) => write!(f, "d{id}"),
            BufferKey::Spectrum(id, spectrum) => write!(f, "{spectrum}{id}"),
            BufferKey::Scratch => f.write_str("scratch"),
        }
    }
}

impl fmt::Display for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key.to_string();
        let extent = match (self.holds, self.key) {
            (Holds::Map { extent: Extent::Band(rows), .. }, _) => format!("{rows} rows"),
            (Holds::Map { extent: Extent::Image, .. }, _) => "image".to_owned(),
            (Holds::Map { extent: Extent::Chunk, .. }, _) => "chunk".to_owned(),
            (Holds::Map { extent: Extent::Batch, .. }, _) => "batch".to_owned(),
            (_, BufferKey::Spectrum(_, Spectrum::Result(Product::KernelGrad))) => {
                "slice".to_owned()
            }
            (Holds::Spectrum(layout), _) => match layout.reach {
                Reach::Band => "band".to_owned(),
                Reach::Image => "image".to_owned(),
                Reach::Chunk => "chunk".to_owned(),
            },
            (Holds::Scratch { .. }, _) => "band".to_owned(),
        };
        let (start, end) = (self.live.start(), self.live.end());
        let (offset, floats) = (floats(self.offset), floats(self.bytes));
        write!(
            f,
            "buffer {key:<5} {extent:<8} @{offset:<9} {floats:>9} floats, blocks {start} to {end}"
        )
    }
}
