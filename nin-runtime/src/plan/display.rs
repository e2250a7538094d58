//! The plan as text: `nin show --stage plan`.

use std::fmt::{self, Write as _};

use nin_dsl::graph::Graph;

use super::{Algorithm, Buffer, BufferKey, Extent, Gather, Pass, Plan, Step};

impl Plan {
    /// Phases, blocks, steps, buffers and convolutions, a line each.
    pub fn display(&self, graph: &Graph) -> String {
        let mut text = String::new();
        self.write(graph, &mut text).expect("writing to a string cannot fail");
        text
    }

    fn write(&self, graph: &Graph, text: &mut String) -> fmt::Result {
        writeln!(text, "plan {}: batch {}, chunk {}", graph.name, self.batch, self.chunk)?;
        writeln!(
            text,
            "  weights {} floats, prepared {} floats",
            self.weight_floats, self.prepared_floats
        )?;
        for conv in &self.convs {
            let geometry = conv.geometry;
            let Algorithm::Direct = conv.algorithm;
            let offsets: Vec<String> =
                conv.grad_panels.iter().map(|offset| format!("@{offset}")).collect();
            let mut gradients = String::new();
            if self.training.is_some() {
                write!(gradients, ", kernel gradient {}", conv.kernel_tile)?;
            }
            if !offsets.is_empty() {
                write!(gradients, ", input gradient {} {}", conv.grad_tile, offsets.join(" "))?;
            }
            writeln!(
                text,
                "  conv {} {}x{} s{} p{} {} -> {} direct, forward {} @{}{}",
                conv.node,
                geometry.kernel.0,
                geometry.kernel.1,
                geometry.stride,
                geometry.pad,
                geometry.cin,
                geometry.cout,
                conv.forward_tile,
                conv.forward_panels,
                gradients,
            )?;
        }
        for norm in &self.norms {
            let conv = self.convs.iter().find(|conv| conv.norm == Some(norm.node));
            let merged = conv.map_or(String::new(), |conv| format!(", merged into {}", conv.node));
            writeln!(
                text,
                "  norm {} {} channels @{}{merged}",
                norm.node, norm.channels, norm.prepared
            )?;
        }
        writeln!(text, "  entry prepare: {} parts, any order", self.preparations())?;
        writeln!(
            text,
            "  entry infer: chunks of a range of images, arena {} floats",
            self.inference.arena
        )?;
        self.inference.write(graph, text)?;
        if let Some(training) = &self.training {
            writeln!(
                text,
                "  entry train: chunks of one of {} slices of {} images, arena {} floats",
                self.slices,
                self.slice_images(),
                training.arena
            )?;
            if training.store > 0 {
                writeln!(text, "  store {} floats, from phase to phase", training.store)?;
            }
            training.write(graph, text)?;
            writeln!(
                text,
                "  entry update: a range of one weight, gradients of {} slices summed as a tree",
                self.slices
            )?;
        }
        Ok(())
    }
}

impl Pass {
    fn write(&self, graph: &Graph, text: &mut String) -> fmt::Result {
        for (index, planned) in self.blocks.iter().enumerate() {
            let begins = self.phases.iter().position(|phase| phase.blocks.start == index);
            if let Some(phase @ 1..) = begins {
                let gathered = match self.phases[phase - 1].gather {
                    Some(Gather::Statistics(node)) => format!("statistics s{node}"),
                    Some(Gather::Gradients(node)) => format!("gradients of {node}"),
                    None => unreachable!("a phase waits for something (a bug in nin)"),
                };
                writeln!(text, "    phase {phase}, after gathering {gathered}")?;
            }
            writeln!(text, "    block {} ({})", planned.block.name, planned.block.domain)?;
            for step in &planned.steps {
                match step {
                    Step::Whole(stage) => {
                        writeln!(text, "      {}", planned.block.stages[*stage].display(graph))?;
                    }
                    Step::Banded { stages, rows } => {
                        writeln!(text, "      by bands of {rows} rows")?;
                        for stage in &planned.block.stages[stages.clone()] {
                            writeln!(text, "        {}", stage.display(graph))?;
                        }
                    }
                }
            }
        }
        for buffer in &self.buffers {
            writeln!(text, "    {buffer}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = match self.key {
            BufferKey::Value(id) => id.to_string(),
            BufferKey::Grad(id) => format!("d{id}"),
        };
        let extent = match self.extent {
            Extent::Band(rows) => format!("{rows} rows"),
            Extent::Image => "image".to_owned(),
            Extent::Chunk => "chunk".to_owned(),
            Extent::Batch => "batch".to_owned(),
        };
        let (start, end) = (self.live.start(), self.live.end());
        let (offset, floats) = (self.offset, self.floats);
        write!(
            f,
            "buffer {key:<5} {extent:<8} @{offset:<9} {floats:>9} floats, blocks {start} to {end}"
        )
    }
}
